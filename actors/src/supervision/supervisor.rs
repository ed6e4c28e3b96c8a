//! The actor that carries out what [`decision`](super::decision) decides, and tells the world.
//!
//! Starting, waiting and ending happen in tasks that report back; the supervisor itself never waits, but for its
//! own [`first_start`]. [`kid`] is what it keeps of one child, [`telling`] what it tells of it, [`orders`] what can
//! be asked of it by name.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use self::kid::Kid;
use super::{
    admin::{AdminError, BadSpec, Children, Order},
    below::Below,
    child::ChildSpec,
    decision::{Action, Decision, Ending, Event, Id},
    life::Running,
    policy::{RestartPolicy, Shutdown},
    slot::{Reply, SlotState, slot},
    tree::Node,
};
use crate::{
    commons::{Commons, Timer},
    event::EventKind,
    mode::board::Health,
    shell::{Behavior, Cx, Exit, Failure, Start},
};

mod first_start;
mod kid;
mod orders;
mod telling;

/// A restart whose start takes longer than this is no instant one.
const SLOW_START: Duration = Duration::from_millis(50);

/// What a supervisor is told: by its own tasks, and through [`Children`].
pub struct ChildNews(pub(super) News);

pub(super) enum News {
    /// A new life runs.
    Started(Id, u64, Running),
    /// A start takes long.
    Delayed(Id, u64),
    /// A life ended, or could not be started.
    Exited(Id, u64, Exit),
    /// A wait is over: for a backoff, or for a child to end.
    Waited(Event),
    /// It is time to look for handlers that hang.
    Sweep,
    /// An operator wants something.
    Asked(Order, Answer),
}

pub(super) type Answer = Reply<Result<(), AdminError>>;

/// A supervisor: it starts its children in order, restarts them as its policy says, and stops them in reverse.
pub struct Supervisor {
    path: Arc<str>,
    policy: RestartPolicy,
    below: Arc<Below>,
    chance: fastrand::Rng,
    decision: Decision,
    kids: BTreeMap<Id, Kid>,
    /// By path.
    ids: BTreeMap<Arc<str>, Id>,
    sweep: Option<Timer>,
    /// Whose end is the reason for what is done now, and how it ended.
    blamed: Arc<str>,
    /// Why it gave up, if it did.
    gave_up: Option<Arc<str>>,
}

impl Supervisor {
    /// The spec of a supervisor at `path` over `children`, in start order; more can be added through
    /// [`Children`] while it runs, for its present life or for further ones too.
    pub fn spec(
        path: &str,
        policy: RestartPolicy,
        children: Vec<ChildSpec>,
        commons: &Commons,
    ) -> Result<(ChildSpec, Children), BadSpec> {
        BadSpec::check_all(path, &policy, &children)?;
        children.iter().for_each(|child| child.enlist(commons));
        let node = Node::supervisor(path.into());
        let below = Arc::new(Below::new(node.clone(), children));
        below.begin();
        let (commons, (slot, handle)) = (commons.clone(), slot());
        let (place, seat) = (node.path.clone(), below.clone());
        let spec = ChildSpec::at(slot, node.clone(), Some(below), move |_| Self {
            path: place.clone(),
            policy,
            below: seat.clone(),
            chance: commons.chance(&place),
            decision: Decision::new(policy),
            kids: BTreeMap::new(),
            ids: BTreeMap::new(),
            sweep: None,
            blamed: "stopped".into(),
            gave_up: None,
        });
        // It starts and stops when all its children have: they bring their own limits.
        let spec = spec.shutdown(Shutdown::Infinity).start_within(Duration::from_secs(120));
        Ok((spec, Children::new(handle, node)))
    }

    fn adopt(&mut self, child: Id, incarnation: u64, running: Running, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get_mut(&child) else { return };
        (kid.beat, kid.ping) = ((running.beats(), cx.commons().now()), (0, cx.commons().now()));
        (kid.running, kid.lived, kid.untold) = (Some(running), true, None);
        kid.spec.report(Health::Ok, "");
        kid.answer(true, None);
        cx.commons().events.publish(EventKind::ActorUp { actor: kid.spec.path().clone(), incarnation });
    }

    fn decide(&mut self, event: Event, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let chance = self.chance.f64();
        let actions = self.decision.on(event, cx.commons().now(), chance);
        let over = actions.iter().find_map(Action::over_at_once);
        actions.into_iter().try_for_each(|action| self.act(action, cx))?;
        over.map_or(Ok(()), |over| self.decide(over, cx))
    }

    fn act(&mut self, action: Action, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match action {
            Action::AwaitBackoff { child, incarnation, attempt, delay } => {
                self.blame(child);
                self.say_restarting(child, attempt, delay, cx);
                if !delay.is_zero() {
                    self.wait(child, delay, Event::BackoffOver { child, incarnation }, cx);
                }
            }
            Action::HoldBack { child, attempt, delay } => self.say_restarting(child, attempt, delay, cx),
            Action::Start { child, incarnation } => self.start(child, incarnation, cx),
            Action::Stop { child, incarnation } => self.stop(child, incarnation, cx),
            Action::Kill { child, incarnation } => {
                tracing::warn!(actor = %self.path_of(child), "did not stop in time: killed");
                self.running(child).for_each(Running::kill);
                self.wait(child, Shutdown::GRACE, Event::Overdue { child, incarnation }, cx);
            }
            Action::Abandon { child } => self.abandon(child),
            Action::StayDown { child } => self.say_down(child, cx),
            Action::Forget { child } => self.forget(child, cx),
            Action::GiveUp { child } => {
                self.blame(child);
                self.say_given_up(child, cx);
            }
            Action::Finish => return self.finish(cx),
        }
        Ok(())
    }

    fn running(&self, child: Id) -> impl Iterator<Item = &Running> {
        self.kids.get(&child).into_iter().filter_map(|kid| kid.running.as_ref())
    }

    fn path_of(&self, child: Id) -> Arc<str> {
        self.kids.get(&child).map_or_else(|| self.path.clone(), |kid| kid.spec.path().clone())
    }

    /// One wait a child: the next one, and its end, are the end of the last.
    fn wait(&mut self, child: Id, delay: Duration, then: Event, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get_mut(&child) else { return };
        kid.wait = Some(cx.after(delay, ChildNews(News::Waited(then))));
    }

    fn start(&self, child: Id, incarnation: u64, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get(&child) else { return };
        kid.spec.publish(SlotState::Starting);
        let (spec, commons, parent, me) = (kid.spec.clone(), cx.commons().clone(), cx.cell(), cx.mailbox());
        cx.spawn(async move {
            let launch = spec.launch(Some(parent), commons, incarnation);
            let delayed = || me.tell(ChildNews(News::Delayed(child, incarnation)));
            let exit = match tell_if_slow(launch, delayed).await {
                Ok((running, ended)) => {
                    me.tell(ChildNews(News::Started(child, incarnation, running)));
                    ended.exit().await
                }
                Err(exit) => exit,
            };
            ChildNews(News::Exited(child, incarnation, exit))
        });
    }

    fn stop(&mut self, child: Id, incarnation: u64, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get(&child) else { return };
        kid.spec.publish(SlotState::ShuttingDown);
        self.running(child).for_each(|running| kid.spec.end(running));
        if let Some(patience) = kid.spec.patience() {
            self.wait(child, patience, Event::Overdue { child, incarnation }, cx);
        }
    }

    fn abandon(&mut self, child: Id) {
        let Some(kid) = self.kids.get_mut(&child) else { return };
        tracing::error!(actor = %kid.spec.path(), "blocks its thread and cannot be killed: abandoned");
        metrics::counter!("mainstay_actors_abandoned_total", "child" => kid.spec.path().to_string())
            .increment(1);
        kid.spec.abandon();
        kid.last_exit = kid.running.take().map(|running| running.exit_so_far());
    }

    fn started(
        &mut self,
        child: Id,
        incarnation: u64,
        life: Running,
        cx: &Cx<ChildNews>,
    ) -> Result<(), Failure> {
        if !self.is_current(child, incarnation) {
            life.kill();
            return Ok(());
        }
        self.adopt(child, incarnation, life, cx);
        self.decide(Event::Started { child, incarnation }, cx)
    }

    fn exited(&mut self, child: Id, incarnation: u64, exit: Exit, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let current = self.is_current(child, incarnation);
        let Some(kid) = self.kids.get_mut(&child).filter(|_| current) else { return Ok(()) };
        let ending = match exit {
            Exit::Normal => Ending::Normal,
            Exit::Skipped => Ending::Skipped,
            _ => Ending::Abnormal,
        };
        (kid.running, kid.wait) = (None, None);
        kid.last_exit = Some(exit.clone());
        kid.spec.node.exited(exit);
        self.decide(Event::Exited { child, incarnation, ending }, cx)
    }

    fn waited(&mut self, event: Event, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match event.life() {
            Some((child, incarnation)) if !self.is_current(child, incarnation) => Ok(()),
            _ => self.decide(event, cx),
        }
    }

    /// Is this news of the life that there is now? News that come late change nothing, and are counted: some are
    /// ordinary, many tell of lives that do not end.
    fn is_current(&self, child: Id, incarnation: u64) -> bool {
        let current = self.decision.incarnation(child) == Some(incarnation);
        if !current {
            tracing::debug!(supervisor = %self.path, child, incarnation, "news of a life that is over");
            metrics::counter!("mainstay_late_news_total", "supervisor" => self.path.to_string()).increment(1);
        }
        current
    }

    /// Ends by itself when asked to, and as a failure after giving up: then the parent decides.
    fn finish(&self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        if let Some(reason) = &self.gave_up {
            return Err(Failure(format!("gave up after too many restarts; last: {reason}")));
        }
        cx.stop();
        Ok(())
    }
}

/// A start that is done at once sets no timer.
async fn tell_if_slow<T>(start: impl Future<Output = T>, delayed: impl FnOnce()) -> T {
    let mut start = pin!(start);
    match tokio::time::timeout(SLOW_START, &mut start).await {
        Ok(done) => done,
        Err(_) => {
            delayed();
            start.await
        }
    }
}

impl Behavior for Supervisor {
    type Msg = ChildNews;

    async fn started(&mut self, cx: &Cx<ChildNews>) -> Result<Start, Failure> {
        self.start_all(cx).await?;
        Ok(Start::Ready)
    }

    async fn handle(&mut self, news: ChildNews, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match news.0 {
            News::Started(child, incarnation, life) => self.started(child, incarnation, life, cx),
            News::Delayed(child, incarnation) => {
                self.delayed(child, incarnation);
                Ok(())
            }
            News::Exited(child, incarnation, exit) => self.exited(child, incarnation, exit, cx),
            News::Waited(event) => self.waited(event, cx),
            News::Sweep => self.sweep(cx),
            News::Asked(order, answer) => self.asked(order, answer, cx),
        }
    }

    fn shutdown(&mut self, cx: &Cx<ChildNews>) {
        // It fails only after giving up, and then it is closing already and nothing is decided.
        let _ = self.decide(Event::Shutdown, cx);
    }
}
