//! The actor that carries out what [`decision`](super::decision) decides, and tells the world.
//!
//! Starting, waiting and ending happen in tasks that report back; the supervisor itself never waits. Only its
//! own start is a wait: children are started in order before it is up, and if one fails, those before it are
//! stopped in reverse and the start has failed.

use std::{sync::Arc, time::Duration};

use super::{
    child::{ChildSpec, Ended, Running, Timing},
    decision::{Action, Decision, Event, RestartPolicy},
    slot::{Handle, SlotState, slot},
};
use crate::{
    commons::Commons,
    event::EventKind,
    mode::board::{Concern, Health, Reporter},
    shell::{Behavior, Cx, Exit, Failure},
};

/// What a supervisor is told, by its own tasks only.
pub struct ChildNews(News);

enum News {
    /// A new life runs.
    Started(usize, u64, Running, Ended),
    /// A life ended, or could not be started.
    Exited(usize, u64, Exit),
    /// A wait is over: for a backoff, or for a child to end.
    Waited(Event),
}

/// A supervisor of a fixed list of children, one for one.
pub struct Supervisor {
    path: Arc<str>,
    children: Arc<Vec<ChildSpec>>,
    reporters: Arc<Vec<Reporter>>,
    policy: RestartPolicy,
    chance: fastrand::Rng,
    decision: Option<Decision>,
    running: Vec<Option<Running>>,
    last_exit: Option<String>,
    gave_up: bool,
}

impl Supervisor {
    /// The spec of a supervisor at `path` over `children`, in start order.
    pub fn spec(
        path: &str,
        policy: RestartPolicy,
        children: Vec<ChildSpec>,
        commons: &Commons,
    ) -> (ChildSpec, Handle<ChildNews>) {
        let reporter = |child: &ChildSpec| commons.health.reporter(child.path(), "actor", Concern::Own);
        let reporters = Arc::new(children.iter().map(reporter).collect::<Vec<_>>());
        let children = Arc::new(children);
        let path: Arc<str> = path.into();
        let (commons, place) = (commons.clone(), path.clone());
        let (slot, handle) = slot();
        let spec = ChildSpec::at(slot, path, children.clone(), move |_| Self {
            path: place.clone(),
            reporters: reporters.clone(),
            running: children.iter().map(|_| None).collect(),
            children: children.clone(),
            policy,
            chance: commons.chance(&place),
            decision: None,
            last_exit: None,
            gave_up: false,
        });
        // A supervisor starts and stops when all its children have: they bring their own limits.
        let unhurried = Timing { start: Duration::from_secs(120), shutdown: Duration::from_secs(120) };
        (spec.timing(unhurried), handle)
    }

    async fn start_all(&mut self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let mut lives = Vec::with_capacity(self.children.len());
        for child in 0..self.children.len() {
            let incarnation = self.children[child].next_incarnation();
            match self.children[child].launch(Some(cx.cell()), cx.commons(), incarnation).await {
                Ok((running, ended)) => self.adopt(child, incarnation, running, ended, cx),
                Err(exit) => {
                    self.stop_all().await;
                    return Err(Failure(format!("{}: {exit}", self.children[child].path())));
                }
            }
            lives.push(incarnation);
        }
        self.decision = Some(Decision::all_up(self.policy, &lives, cx.commons().now()));
        Ok(())
    }

    async fn stop_all(&mut self) {
        for (child, running) in self.running.iter().enumerate().rev() {
            let Some(running) = running else { continue };
            let spec = &self.children[child];
            running.stop();
            if tokio::time::timeout(spec.timing.shutdown, running.gone()).await.is_err() {
                running.kill();
            }
            // Whether there is another life is for whoever hears of the failed start to say.
            spec.publish(SlotState::ShuttingDown);
        }
    }

    fn adopt(&mut self, child: usize, incarnation: u64, running: Running, ended: Ended, cx: &Cx<ChildNews>) {
        cx.spawn(async move { ChildNews(News::Exited(child, incarnation, ended.await)) });
        self.running[child] = Some(running);
        self.reporters[child].clear();
        cx.commons().events.publish(EventKind::ActorUp { actor: self.path_of(child), incarnation });
    }

    fn path_of(&self, child: usize) -> Arc<str> {
        self.children[child].path().clone()
    }

    fn decide(&mut self, event: Event, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let chance = self.chance.f64();
        let now = cx.commons().now();
        let actions = self.decision.as_mut().map(|d| d.on(event, now, chance)).unwrap_or_default();
        actions.into_iter().try_for_each(|action| self.act(action, cx))
    }

    fn act(&mut self, action: Action, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match action {
            Action::AwaitBackoff { child, incarnation, attempt, delay } => {
                self.say_restarting(child, attempt, delay, cx);
                self.wait(delay, Event::BackoffOver { child, incarnation }, cx);
            }
            Action::Start { child, incarnation } => self.start(child, incarnation, cx),
            Action::Stop { child, incarnation } => {
                self.children[child].publish(SlotState::ShuttingDown);
                self.running[child].iter().for_each(Running::stop);
                self.wait(self.children[child].timing.shutdown, Event::Overdue { child, incarnation }, cx);
            }
            Action::Kill { child, incarnation } => {
                tracing::warn!(actor = %self.path_of(child), "did not stop in time: killed");
                self.running[child].iter().for_each(Running::kill);
                self.wait(self.children[child].timing.shutdown, Event::Overdue { child, incarnation }, cx);
            }
            Action::Abandon { child } => {
                tracing::error!(actor = %self.path_of(child), "blocks its thread and cannot be killed: abandoned");
            }
            Action::GiveUp { child } => self.say_given_up(child, cx),
            Action::Finish => return self.finish(cx),
        }
        Ok(())
    }

    fn wait(&self, delay: Duration, then: Event, cx: &Cx<ChildNews>) {
        // Whoever is not concerned any more when the wait is over is told by the incarnation.
        cx.spawn(async move {
            tokio::time::sleep(delay).await;
            ChildNews(News::Waited(then))
        });
    }

    fn start(&self, child: usize, incarnation: u64, cx: &Cx<ChildNews>) {
        self.children[child].publish(SlotState::Starting);
        let (children, commons) = (self.children.clone(), cx.commons().clone());
        let parent = cx.cell();
        cx.spawn(async move {
            ChildNews(match children[child].launch(Some(parent), &commons, incarnation).await {
                Ok((running, ended)) => News::Started(child, incarnation, running, ended),
                Err(exit) => News::Exited(child, incarnation, exit),
            })
        });
    }

    fn exited(
        &mut self,
        child: usize,
        incarnation: u64,
        exit: Exit,
        cx: &Cx<ChildNews>,
    ) -> Result<(), Failure> {
        if self.decision.as_ref().is_none_or(|d| d.incarnation(child) != incarnation) {
            return Ok(());
        }
        self.running[child] = None;
        self.last_exit = Some(format!("{} {exit}", self.path_of(child)));
        self.children[child].node.exited(exit);
        let decided = self.decide(Event::Exited { child, incarnation }, cx);
        if self.decision.as_ref().is_some_and(|d| d.is_gone(child)) {
            // After giving up, it is the parent's to say whether this is for good.
            self.children[child].publish(if self.gave_up {
                SlotState::ShuttingDown
            } else {
                SlotState::Down
            });
            cx.commons().events.publish(EventKind::ActorStopped { actor: self.path_of(child) });
        }
        decided
    }

    fn say_restarting(&self, child: usize, attempt: u32, delay: Duration, cx: &Cx<ChildNews>) {
        let actor = self.path_of(child);
        let reason: Arc<str> = self.last_exit.as_deref().unwrap_or("stopped").into();
        let restart_in_ms = delay.as_millis() as u64;
        let at_unix_ms = (cx.commons().clock.unix_time() + delay).as_millis() as u64;
        self.children[child].publish(SlotState::Restarting { attempt, at_unix_ms });
        metrics::counter!("mainstay_actor_restarts_total", "child" => actor.to_string()).increment(1);
        let text = format!("{reason}; it restarts in {restart_in_ms} ms and callers keep its last decision");
        self.reporters[child].report(Health::Degraded, &text, None);
        cx.commons().events.publish(EventKind::ActorRestarting { actor, reason, restart_in_ms });
    }

    fn say_given_up(&mut self, child: usize, cx: &Cx<ChildNews>) {
        let reason: Arc<str> = self.last_exit.as_deref().unwrap_or("stopped").into();
        tracing::error!(supervisor = %self.path, %reason, "gave up: too many restarts");
        let text = format!("{} gave up after too many restarts; last: {reason}", self.path);
        self.reporters[child].report(Health::Failed, &text, None);
        cx.commons().events.publish(EventKind::SupervisorGaveUp { actor: self.path.clone(), reason });
        self.gave_up = true;
    }

    /// Ends by itself when asked to, and as a failure after giving up: then the parent decides.
    fn finish(&self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        if self.gave_up {
            let last = self.last_exit.as_deref().unwrap_or("stopped");
            return Err(Failure(format!("gave up after too many restarts; last: {last}")));
        }
        cx.stop();
        Ok(())
    }
}

impl Behavior for Supervisor {
    type Msg = ChildNews;

    async fn started(&mut self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        self.start_all(cx).await
    }

    async fn handle(&mut self, news: ChildNews, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match news.0 {
            News::Started(child, incarnation, running, ended) => {
                self.adopt(child, incarnation, running, ended, cx);
                self.decide(Event::Started { child, incarnation }, cx)
            }
            News::Exited(child, incarnation, exit) => self.exited(child, incarnation, exit, cx),
            News::Waited(event) => self.decide(event, cx),
        }
    }

    fn shutdown(&mut self, cx: &Cx<ChildNews>) {
        // It fails only after giving up, and then it is closing already and nothing is decided.
        let _ = self.decide(Event::Shutdown, cx);
    }
}
