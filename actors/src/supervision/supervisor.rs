//! The actor that carries out what [`decision`](super::decision) decides, and tells the world.
//!
//! Starting, waiting and ending happen in tasks that report back; the supervisor itself never waits. Only its
//! own start is a wait: children are started in order before it is up, and if one fails, those before it are
//! stopped in reverse and the start has failed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    admin::{AdminError, BadSpec, Children, Order},
    child::{Below, ChildSpec, Ended, Running, locked},
    decision::{Action, Decision, Ending, Event, Id, Standing},
    policy::{Restart, RestartPolicy, Shutdown},
    slot::{Reply, SlotState, slot},
    tree::Node,
};
use crate::{
    commons::{Commons, Timer},
    event::EventKind,
    mode::board::Health,
    shell::{Behavior, Cx, Exit, Failure, Start},
};

/// How often handlers are looked at that might hang.
const SWEEP: Duration = Duration::from_secs(1);

/// What a supervisor is told: by its own tasks, and through [`Children`].
pub struct ChildNews(pub(super) News);

pub(super) enum News {
    /// A new life runs.
    Started(Id, u64, Running, Ended),
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

/// Who is told when a child has reached the state that was asked for.
enum Waiter {
    Up(Answer),
    Down(Answer),
}

struct Kid {
    spec: Arc<ChildSpec>,
    running: Option<Running>,
    /// Since when its beat has not changed.
    beat: (u64, Instant),
    /// How many pings were sent, and when the last one.
    ping: (u64, Instant),
    last_exit: Option<Exit>,
    waiters: Vec<Waiter>,
}

/// A supervisor: it starts its children in order, restarts them as its policy says, and stops them in reverse.
pub struct Supervisor {
    path: Arc<str>,
    node: Arc<Node>,
    fixed: Arc<Vec<Arc<ChildSpec>>>,
    below: Below,
    chance: fastrand::Rng,
    decision: Decision,
    kids: BTreeMap<Id, Kid>,
    sweep: Option<Timer>,
    last_exit: Option<String>,
    /// Why it gave up, if it did.
    gave_up: Option<Arc<str>>,
}

impl Supervisor {
    /// The spec of a supervisor at `path` over `children`, in start order; more can be added through
    /// [`Children`] while it runs, and last as long as its present life.
    pub fn spec(
        path: &str,
        policy: RestartPolicy,
        children: Vec<ChildSpec>,
        commons: &Commons,
    ) -> Result<(ChildSpec, Children), BadSpec> {
        BadSpec::check_policy(path, &policy)?;
        children.iter().try_for_each(BadSpec::check)?;
        BadSpec::check_names(&children)?;
        children.iter().for_each(|child| child.enlist(commons));
        let fixed = Arc::new(children.into_iter().map(Arc::new).collect::<Vec<_>>());
        let below: Below = Arc::new(Mutex::new(fixed.to_vec()));
        let node = Node::supervisor(path.into(), fixed.iter().map(|child| child.node.clone()).collect());
        let (commons, (slot, handle)) = (commons.clone(), slot());
        let (place, seat) = (node.clone(), below.clone());
        let spec = ChildSpec::at(slot, node.clone(), Some(below), move |_| Self {
            path: place.path.clone(),
            node: place.clone(),
            fixed: fixed.clone(),
            below: seat.clone(),
            chance: commons.chance(&place.path),
            decision: Decision::new(policy),
            kids: BTreeMap::new(),
            sweep: None,
            last_exit: None,
            gave_up: None,
        });
        // It starts and stops when all its children have: they bring their own limits.
        let spec = spec.shutdown(Shutdown::Infinity).start_within(Duration::from_secs(120));
        Ok((spec, Children::new(handle, node)))
    }

    async fn start_all(&mut self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        self.forget_added();
        for spec in self.fixed.clone().iter() {
            let incarnation = spec.next_incarnation();
            let launched = spec.launch(Some(cx.cell()), cx.commons(), incarnation).await;
            let up = launched.is_ok().then(|| cx.commons().now());
            let child = self.decision.adopt(spec.role, incarnation, up);
            self.kids.insert(child, Kid::new(spec.clone(), cx));
            match launched {
                Ok((running, ended)) => self.adopt(child, incarnation, running, ended, cx),
                Err(Exit::Skipped) => spec.publish(SlotState::Down),
                Err(exit) => {
                    self.stop_all().await;
                    return Err(Failure(format!("{}: {exit}", spec.path())));
                }
            }
        }
        self.look_for_hangs(cx);
        Ok(())
    }

    /// What was added to an earlier life is not there in this one.
    fn forget_added(&self) {
        locked(&self.below).drain(self.fixed.len()..).for_each(|spec| spec.publish(SlotState::Down));
        self.show_children();
    }

    fn show_children(&self) {
        self.node.set_children(locked(&self.below).iter().map(|spec| spec.node.clone()).collect());
    }

    async fn stop_all(&mut self) {
        for kid in self.kids.values().rev() {
            let Some(running) = &kid.running else { continue };
            running.stop();
            let limit = kid.spec.patience().unwrap_or(Duration::MAX);
            if tokio::time::timeout(limit, running.gone()).await.is_err() {
                running.kill();
            }
            // Whether there is another life is for whoever hears of the failed start to say.
            kid.spec.publish(SlotState::ShuttingDown);
        }
    }

    fn adopt(&mut self, child: Id, incarnation: u64, running: Running, ended: Ended, cx: &Cx<ChildNews>) {
        cx.spawn(async move { ChildNews(News::Exited(child, incarnation, ended.await)) });
        let Some(kid) = self.kids.get_mut(&child) else { return };
        (kid.beat, kid.ping) = ((running.beats(), cx.commons().now()), (0, cx.commons().now()));
        kid.running = Some(running);
        kid.spec.report(Health::Ok, "");
        kid.answer(true, None);
        cx.commons().events.publish(EventKind::ActorUp { actor: kid.spec.path().clone(), incarnation });
    }

    fn decide(&mut self, event: Event, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let chance = self.chance.f64();
        let actions = self.decision.on(event, cx.commons().now(), chance);
        actions.into_iter().try_for_each(|action| self.act(action, cx))
    }

    fn act(&mut self, action: Action, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match action {
            Action::AwaitBackoff { child, incarnation, attempt, delay } => {
                self.say_restarting(child, attempt, delay, cx);
                self.wait(delay, Event::BackoffOver { child, incarnation }, cx);
            }
            Action::HoldBack { child, attempt, delay } => self.say_restarting(child, attempt, delay, cx),
            Action::Start { child, incarnation } => self.start(child, incarnation, cx),
            Action::Stop { child, incarnation } => self.stop(child, incarnation, cx),
            Action::Kill { child, incarnation } => {
                tracing::warn!(actor = %self.path_of(child), "did not stop in time: killed");
                self.running(child).for_each(Running::kill);
                self.wait(Shutdown::GRACE, Event::Overdue { child, incarnation }, cx);
            }
            Action::Abandon { child } => self.abandon(child),
            Action::StayDown { child } => self.say_down(child, cx),
            Action::Forget { child } => self.forget(child, cx),
            Action::GiveUp { child } => self.say_given_up(child, cx),
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

    fn wait(&self, delay: Duration, then: Event, cx: &Cx<ChildNews>) {
        // Whoever is not concerned any more when the wait is over is told by the incarnation.
        cx.spawn(async move {
            tokio::time::sleep(delay).await;
            ChildNews(News::Waited(then))
        });
    }

    fn start(&self, child: Id, incarnation: u64, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get(&child) else { return };
        kid.spec.publish(SlotState::Starting);
        let (spec, commons, parent) = (kid.spec.clone(), cx.commons().clone(), cx.cell());
        cx.spawn(async move {
            ChildNews(match spec.launch(Some(parent), &commons, incarnation).await {
                Ok((running, ended)) => News::Started(child, incarnation, running, ended),
                Err(exit) => News::Exited(child, incarnation, exit),
            })
        });
    }

    fn stop(&self, child: Id, incarnation: u64, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get(&child) else { return };
        kid.spec.publish(SlotState::ShuttingDown);
        match kid.spec.shutdown {
            Shutdown::Brutal => self.running(child).for_each(Running::kill),
            _ => self.running(child).for_each(Running::stop),
        }
        if let Some(patience) = kid.spec.patience() {
            self.wait(patience, Event::Overdue { child, incarnation }, cx);
        }
    }

    fn abandon(&mut self, child: Id) {
        let Some(kid) = self.kids.get_mut(&child) else { return };
        tracing::error!(actor = %kid.spec.path(), "blocks its thread and cannot be killed: abandoned");
        metrics::counter!("mainstay_actors_abandoned_total", "child" => kid.spec.path().to_string())
            .increment(1);
        kid.spec.abandon();
        kid.running = None;
    }

    fn started(
        &mut self,
        child: Id,
        incarnation: u64,
        life: (Running, Ended),
        cx: &Cx<ChildNews>,
    ) -> Result<(), Failure> {
        if self.decision.incarnation(child) != Some(incarnation) {
            life.0.kill();
            return Ok(());
        }
        self.adopt(child, incarnation, life.0, life.1, cx);
        self.decide(Event::Started { child, incarnation }, cx)
    }

    fn exited(&mut self, child: Id, incarnation: u64, exit: Exit, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let current = self.decision.incarnation(child) == Some(incarnation);
        let Some(kid) = self.kids.get_mut(&child).filter(|_| current) else { return Ok(()) };
        let ending = match exit {
            Exit::Normal => Ending::Normal,
            Exit::Skipped => Ending::Skipped,
            _ => Ending::Abnormal,
        };
        kid.running = None;
        kid.last_exit = Some(exit.clone());
        self.last_exit = Some(format!("{} {exit}", kid.spec.path()));
        kid.spec.node.exited(exit);
        self.decide(Event::Exited { child, incarnation, ending }, cx)
    }

    fn say_restarting(&mut self, child: Id, attempt: u32, delay: Duration, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get(&child) else { return };
        let actor = kid.spec.path().clone();
        let reason: Arc<str> = self.last_exit.as_deref().unwrap_or("stopped").into();
        let restart_in_ms = delay.as_millis() as u64;
        let at_unix_ms = (cx.commons().clock.unix_time() + delay).as_millis() as u64;
        kid.spec.publish(SlotState::Restarting { attempt, at_unix_ms });
        metrics::counter!("mainstay_actor_restarts_total", "child" => actor.to_string()).increment(1);
        let text = format!("{reason}; it restarts in {restart_in_ms} ms and callers keep its last decision");
        kid.spec.report(Health::Degraded, &text);
        cx.commons().events.publish(EventKind::ActorRestarting { actor, reason, restart_in_ms });
    }

    /// A failure without another life is a trouble; an end in order, or one that was asked for, is not. After
    /// giving up, it is the parent's to say whether it is for good, and the trouble that led to it stays.
    fn say_down(&mut self, child: Id, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get_mut(&child) else { return };
        kid.spec.publish(if self.gave_up.is_some() { SlotState::ShuttingDown } else { SlotState::Down });
        match kid.last_exit.as_ref().filter(|_| !self.decision.is_closing() && !kid.is_expected_down()) {
            Some(exit) if !matches!(exit, Exit::Normal | Exit::Skipped) => {
                let text = format!("{} {exit}; it is not started again", kid.spec.path());
                kid.spec.report(Health::Degraded, &text);
            }
            _ if self.gave_up.is_some() => {}
            _ => kid.spec.report(Health::Ok, ""),
        }
        kid.answer(false, None);
        let exit = kid.last_exit.clone().filter(|exit| *exit != Exit::Skipped);
        kid.answer(true, exit);
        cx.commons().events.publish(EventKind::ActorStopped { actor: kid.spec.path().clone() });
    }

    fn forget(&mut self, child: Id, cx: &Cx<ChildNews>) {
        self.say_down(child, cx);
        if let Some(kid) = self.kids.remove(&child) {
            kid.spec.report(Health::Ok, "");
            self.take_out(&kid.spec);
        }
    }

    fn take_out(&self, spec: &Arc<ChildSpec>) {
        locked(&self.below).retain(|known| !Arc::ptr_eq(known, spec));
        self.show_children();
    }

    fn say_given_up(&mut self, child: Id, cx: &Cx<ChildNews>) {
        let reason: Arc<str> = self.last_exit.as_deref().unwrap_or("stopped").into();
        tracing::error!(supervisor = %self.path, %reason, "gave up: too many restarts");
        let text = format!("{} gave up after too many restarts; last: {reason}", self.path);
        self.kids.get(&child).into_iter().for_each(|kid| kid.spec.report(Health::Failed, &text));
        self.gave_up = Some(reason.clone());
        cx.commons().events.publish(EventKind::SupervisorGaveUp { actor: self.path.clone(), reason });
    }

    /// Ends by itself when asked to, and as a failure after giving up: then the parent decides.
    fn finish(&self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        if let Some(reason) = &self.gave_up {
            return Err(Failure(format!("gave up after too many restarts; last: {reason}")));
        }
        cx.stop();
        Ok(())
    }

    fn asked(&mut self, order: Order, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match order {
            Order::Start(spec) => self.add(*spec, answer, cx),
            Order::Terminate(name) => self.terminate(&name, answer, cx),
            Order::Restart(name) => self.revive(&name, answer, cx),
            Order::Delete(name) => {
                answer.send(self.delete(&name));
                Ok(())
            }
        }
    }

    fn find(&self, name: &str) -> Result<(Id, Standing), AdminError> {
        let found = self.kids.iter().find(|(_, kid)| kid.spec.name() == name).map(|(child, _)| *child);
        let found = found.and_then(|child| Some((child, self.decision.standing(child)?)));
        found.ok_or_else(|| AdminError::NotFound(name.into()))
    }

    fn add(&mut self, spec: ChildSpec, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let refused = match self.find(spec.name()) {
            Ok((_, Standing::Stopped)) => Some(AdminError::AlreadyPresent(spec.name().into())),
            Ok(_) => Some(AdminError::AlreadyStarted(spec.name().into())),
            Err(_) if self.decision.is_closing() => Some(AdminError::ShuttingDown),
            Err(_) => BadSpec::check(&spec).err().map(AdminError::BadSpec),
        };
        if let Some(refused) = refused {
            answer.send(Err(refused));
            return Ok(());
        }
        spec.enlist(cx.commons());
        let spec = Arc::new(spec);
        locked(&self.below).push(spec.clone());
        self.show_children();
        let (child, start) = self.decision.add(spec.role, spec.next_incarnation());
        let mut kid = Kid::new(spec, cx);
        kid.waiters.push(Waiter::Up(answer));
        self.kids.insert(child, kid);
        self.look_for_hangs(cx);
        self.act(start, cx)
    }

    fn terminate(&mut self, name: &str, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match self.find(name) {
            Ok((child, Standing::Running | Standing::Restarting)) => {
                self.kids.entry(child).and_modify(|kid| kid.waiters.push(Waiter::Down(answer)));
                self.decide(Event::Terminate { child }, cx)
            }
            done => {
                answer.send(done.map(|_| ()));
                Ok(())
            }
        }
    }

    fn revive(&mut self, name: &str, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match self.find(name) {
            Ok((child, Standing::Stopped)) if !self.decision.is_closing() => {
                self.kids.entry(child).and_modify(|kid| kid.waiters.push(Waiter::Up(answer)));
                return self.decide(Event::Revive { child }, cx);
            }
            Ok((_, Standing::Stopped)) => answer.send(Err(AdminError::ShuttingDown)),
            Ok((_, Standing::Running)) => answer.send(Err(AdminError::Running(name.into()))),
            Ok((_, Standing::Restarting)) => answer.send(Err(AdminError::Restarting(name.into()))),
            Err(unknown) => answer.send(Err(unknown)),
        }
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<(), AdminError> {
        match self.find(name)? {
            (child, Standing::Stopped) => {
                self.decision.delete(child);
                self.kids.remove(&child).into_iter().for_each(|kid| self.take_out(&kid.spec));
                Ok(())
            }
            (_, Standing::Running) => Err(AdminError::Running(name.into())),
            (_, Standing::Restarting) => Err(AdminError::Restarting(name.into())),
        }
    }

    fn look_for_hangs(&mut self, cx: &Cx<ChildNews>) {
        let watched = |kid: &Kid| kid.spec.hang_after.is_some() || kid.spec.answer_within.is_some();
        let watched = self.kids.values().any(watched);
        if watched && self.sweep.is_none() {
            self.sweep = Some(cx.after(SWEEP, ChildNews(News::Sweep)));
        }
    }

    fn sweep(&mut self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let now = cx.commons().now();
        let hung = self.kids.iter_mut().filter_map(|(child, kid)| kid.hangs(now).then_some(*child));
        let hung: Vec<_> = hung.collect();
        for child in hung {
            tracing::error!(actor = %self.path_of(child), "it hangs: its life is killed");
            let Some(incarnation) = self.decision.incarnation(child) else { continue };
            self.decide(Event::Hung { child, incarnation }, cx)?;
        }
        self.sweep = None;
        self.look_for_hangs(cx);
        Ok(())
    }
}

impl Kid {
    fn new(spec: Arc<ChildSpec>, cx: &Cx<ChildNews>) -> Self {
        let never = (0, cx.commons().now());
        Self { spec, running: None, beat: never, ping: never, last_exit: None, waiters: Vec::new() }
    }

    /// Tells those who wait for it to be up, or down; a failure if it is not what they waited for.
    fn answer(&mut self, up: bool, failed: Option<Exit>) {
        let (told, rest) =
            std::mem::take(&mut self.waiters).into_iter().partition(|w| matches!(w, Waiter::Up(_)) == up);
        self.waiters = rest;
        let told: Vec<Waiter> = told;
        for Waiter::Up(answer) | Waiter::Down(answer) in told {
            answer.send(failed.clone().map_or(Ok(()), |exit| Err(AdminError::Failed(exit))));
        }
    }

    /// A temporary child, or one that somebody waits for, may be down without being a trouble.
    fn is_expected_down(&self) -> bool {
        self.spec.role.restart == Restart::Temporary || !self.waiters.is_empty()
    }

    /// Has one handler run, or one ping waited, for too long? Then its life is killed.
    fn hangs(&mut self, now: Instant) -> bool {
        let Some(running) = &self.running else { return false };
        let beats = running.beats();
        if beats != self.beat.0 || beats.is_multiple_of(2) {
            self.beat = (beats, now);
        }
        if running.pongs() == self.ping.0 && self.spec.answer_within.is_some() {
            self.ping = (self.ping.0 + 1, now);
            running.ping();
        }
        let over = |limit: Option<Duration>, since: Instant| {
            let waited = now.saturating_duration_since(since);
            limit.is_some_and(|limit| waited >= limit).then_some(waited)
        };
        let hung = over(self.spec.hang_after, self.beat.1).or(over(self.spec.answer_within, self.ping.1));
        hung.into_iter().for_each(|waited| running.kill_hung(waited));
        hung.is_some()
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
            News::Started(child, incarnation, running, ended) => {
                self.started(child, incarnation, (running, ended), cx)
            }
            News::Exited(child, incarnation, exit) => self.exited(child, incarnation, exit, cx),
            News::Waited(event) => self.decide(event, cx),
            News::Sweep => self.sweep(cx),
            News::Asked(order, answer) => self.asked(order, answer, cx),
        }
    }

    fn shutdown(&mut self, cx: &Cx<ChildNews>) {
        // It fails only after giving up, and then it is closing already and nothing is decided.
        let _ = self.decide(Event::Shutdown, cx);
    }
}
