//! What a supervisor decides, without any actor, task or clock.
//!
//! A child that ended is started again after a backoff, alone or with its group; the others are left alone.
//! More than `restarts` within `within`, failed starts included, and the supervisor gives up: it stops its
//! children and ends, so that its own parent decides (Erlang/OTP's restart intensity). Groups are stopped in
//! reverse order and started in order, one at a time. Events of an earlier life of a child change nothing.
//! First starts, and who is told of anything, are not decided here.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeBounds,
    time::{Duration, Instant},
};

use super::policy::{AutoShutdown, Restart, RestartPolicy, Strategy};

/// Which of a supervisor's children; the numbers follow the order of start and are never used again.
pub(crate) type Id = u64;

/// More lives than this that block a thread and cannot be killed, and the supervisor gives up.
const ZOMBIES: u32 = 8;

/// How a life ended, as far as decisions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, in order.
    Normal,
    /// By a failure, a panic, a kill; or it did not even start.
    Abnormal,
    /// It did not want to start.
    Skipped,
}

/// What a supervisor learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A started child is ready.
    Started { child: Id, incarnation: u64 },
    /// A child ended, or was not started.
    Exited { child: Id, incarnation: u64, ending: Ending },
    /// The backoff of a child is over.
    BackoffOver { child: Id, incarnation: u64 },
    /// A child that was asked to end, or was killed, has had its time.
    Overdue { child: Id, incarnation: u64 },
    /// A handler of a child hangs, and its life was killed.
    Hung { child: Id, incarnation: u64 },
    /// An operator wants a child to end and stay down.
    Terminate { child: Id },
    /// An operator wants a child that is down to run again.
    Revive { child: Id },
    /// All shall end.
    Shutdown,
}

/// What the supervisor is to do about it, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Say that the child is down, and report back when `delay` is over.
    AwaitBackoff { child: Id, incarnation: u64, attempt: u32, delay: Duration },
    /// Say that the child is down along with another one, whose backoff it shares.
    HoldBack { child: Id, attempt: u32, delay: Duration },
    /// Start this life of the child.
    Start { child: Id, incarnation: u64 },
    /// Bring the child to its end, and report back when it is overdue.
    Stop { child: Id, incarnation: u64 },
    /// End the child by force, and report back when even that is overdue.
    Kill { child: Id, incarnation: u64 },
    /// The child does not even die: go on without it.
    Abandon { child: Id },
    /// Say that the child is down and stays so.
    StayDown { child: Id },
    /// The same, and nothing is left to know of it.
    Forget { child: Id },
    /// Say that this child's crash was one too many.
    GiveUp { child: Id },
    /// Every child is gone: end.
    Finish,
}

/// What decisions need to know of a child's spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
}

/// How a child is, for those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Restarting,
    Stopped,
}

/// Who wanted a start: whoever asked for it is told of its failure, and nothing is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Supervisor,
    Adder,
    Operator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting(By),
    Up,
    Waiting,
    Stopping { killed: bool },
    Down,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    role: Role,
    phase: Phase,
    /// Should it run? What is not wanted ends, and stays down.
    wanted: bool,
    incarnation: u64,
    /// Since when the present life is up, until it is over.
    up_since: Option<Instant>,
    in_a_row: u32,
}

/// A group under way to its next life: all children from `from` on.
#[derive(Clone, Copy, Debug)]
struct Regroup {
    from: Id,
    leader: Id,
    attempt: u32,
    delay: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Stopping,
    Waiting,
    Starting,
}

/// The state of one supervisor.
#[derive(Debug)]
pub(crate) struct Decision {
    policy: RestartPolicy,
    children: BTreeMap<Id, Child>,
    next: Id,
    recent: VecDeque<Instant>,
    regroup: Option<Regroup>,
    abandoned: u32,
    closing: bool,
}

impl Decision {
    /// A supervisor without children.
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        let (children, recent) = (BTreeMap::new(), VecDeque::new());
        Self { policy, children, next: 0, recent, regroup: None, abandoned: 0, closing: false }
    }

    /// Takes in a child that was just started in the given life, or skipped its start.
    pub(crate) fn adopt(&mut self, role: Role, incarnation: u64, up_since: Option<Instant>) -> Id {
        let phase = if up_since.is_some() { Phase::Up } else { Phase::Down };
        self.insert(role, incarnation, phase, up_since)
    }

    /// Takes in a child that is to be started; if that fails, nothing of it stays.
    pub(crate) fn add(&mut self, role: Role, incarnation: u64) -> (Id, Action) {
        let child = self.insert(role, incarnation, Phase::Starting(By::Adder), None);
        (child, Action::Start { child, incarnation })
    }

    fn insert(&mut self, role: Role, incarnation: u64, phase: Phase, up_since: Option<Instant>) -> Id {
        let (id, wanted) = (self.next, phase != Phase::Down);
        self.next += 1;
        self.children.insert(id, Child { role, phase, wanted, incarnation, up_since, in_a_row: 0 });
        id
    }

    /// Forgets a child that is down; false if it is not.
    pub(crate) fn delete(&mut self, child: Id) -> bool {
        let down = self.standing(child) == Some(Standing::Stopped);
        down && self.children.remove(&child).is_some()
    }

    /// How a child is, if it is known.
    pub(crate) fn standing(&self, child: Id) -> Option<Standing> {
        let it = self.children.get(&child)?;
        Some(match it.phase {
            Phase::Up | Phase::Stopping { .. } => Standing::Running,
            Phase::Down if !it.wanted || self.closing => Standing::Stopped,
            Phase::Starting(_) | Phase::Waiting | Phase::Down => Standing::Restarting,
        })
    }

    /// Is an end under way from which nobody comes back?
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Which life of `child` is the present one.
    pub(crate) fn incarnation(&self, child: Id) -> Option<u64> {
        self.children.get(&child).map(|it| it.incarnation)
    }

    /// Takes in one event; `chance` is uniform in `[0, 1)`.
    pub(crate) fn on(&mut self, event: Event, now: Instant, chance: f64) -> Vec<Action> {
        match event {
            Event::Shutdown => self.close(),
            Event::Terminate { child } => self.terminate(child),
            Event::Revive { child } => self.revive(child),
            Event::Started { child, incarnation } if self.is_current(child, incarnation) => {
                self.started(child, now)
            }
            Event::Exited { child, incarnation, ending } if self.is_current(child, incarnation) => {
                self.exited(child, ending, now, chance)
            }
            Event::BackoffOver { child, incarnation } if self.is_current(child, incarnation) => {
                self.backoff_over(child)
            }
            Event::Overdue { child, incarnation } if self.is_current(child, incarnation) => {
                self.overdue(child, now, chance)
            }
            Event::Hung { child, incarnation } if self.is_current(child, incarnation) => self.hung(child),
            _ => Vec::new(),
        }
    }

    fn is_current(&self, child: Id, incarnation: u64) -> bool {
        self.incarnation(child) == Some(incarnation)
    }

    fn started(&mut self, child: Id, now: Instant) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        if !matches!(it.phase, Phase::Starting(_)) {
            return Vec::new();
        }
        (it.phase, it.up_since) = (Phase::Up, Some(now));
        if it.wanted || self.closing { self.advance() } else { self.stop(child) }
    }

    fn exited(&mut self, child: Id, ending: Ending, now: Instant, chance: f64) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        let mut lived = it.phase;
        if matches!(lived, Phase::Down | Phase::Waiting) {
            return Vec::new();
        }
        it.phase = Phase::Down;
        let reset_after = self.policy.reset_after;
        if it.up_since.take().is_some_and(|since| now.saturating_duration_since(since) >= reset_after) {
            it.in_a_row = 0;
        }
        if ending == Ending::Skipped {
            // Nothing has failed: also of a child that was just added, the spec is kept.
            lived = Phase::Down;
        }
        if self.closing
            || !it.wanted
            || ending == Ending::Skipped
            || matches!(lived, Phase::Starting(By::Adder | By::Operator))
        {
            return self.ended(child, lived);
        }
        if self.regroup.is_some_and(|group| group.stage == Stage::Stopping && child >= group.from) {
            return if it.role.restart == Restart::Temporary {
                self.ended(child, lived)
            } else {
                self.advance()
            };
        }
        let again = match it.role.restart {
            Restart::Permanent => true,
            Restart::Transient => ending == Ending::Abnormal,
            Restart::Temporary => false,
        };
        if again {
            return self.restart(child, lived, now, chance);
        }
        // Whoever was asked to end is not wanted, or in a group: so this is its own end, be it that it hung.
        let significant = it.role.significant;
        let mut actions = self.leave(child, lived);
        let over = significant && self.ends_with_significant();
        actions.extend(if over { self.close() } else { self.advance() });
        actions
    }

    fn ended(&mut self, child: Id, lived: Phase) -> Vec<Action> {
        let mut actions = self.leave(child, lived);
        actions.extend(self.advance());
        actions
    }

    /// The child is down and stays so; what cannot come back is forgotten.
    fn leave(&mut self, child: Id, lived: Phase) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        it.wanted = false;
        if it.role.restart == Restart::Temporary || lived == Phase::Starting(By::Adder) {
            self.children.remove(&child);
            return vec![Action::Forget { child }];
        }
        vec![Action::StayDown { child }]
    }

    fn ends_with_significant(&self) -> bool {
        match self.policy.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => {
                !self.children.values().any(|it| it.role.significant && it.wanted)
            }
        }
    }

    fn restart(&mut self, child: Id, lived: Phase, now: Instant, chance: f64) -> Vec<Action> {
        if self.one_too_many(now) {
            return self.give_up(child);
        }
        let policy = self.policy;
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        let delay = policy.backoff.delay(it.in_a_row, chance);
        it.in_a_row += 1;
        let attempt = it.in_a_row;
        let exhausted = policy.in_a_row.is_some_and(|limit| attempt > limit);
        match policy.strategy {
            Strategy::OneForOne if exhausted => self.ended(child, lived),
            _ if exhausted => self.give_up(child),
            Strategy::OneForOne => {
                self.renew(child..=child);
                vec![self.wait(child, attempt, delay)]
            }
            Strategy::OneForAll => self.regroup(0, child, attempt, delay),
            Strategy::RestForOne => self.regroup(child, child, attempt, delay),
        }
    }

    fn one_too_many(&mut self, now: Instant) -> bool {
        let within = self.policy.within;
        self.recent.push_back(now);
        self.recent.retain(|at| now.saturating_duration_since(*at) < within);
        self.recent.len() > self.policy.restarts
    }

    fn give_up(&mut self, child: Id) -> Vec<Action> {
        let mut actions = vec![Action::GiveUp { child }];
        actions.extend(self.close());
        actions
    }

    fn wait(&mut self, child: Id, attempt: u32, delay: Duration) -> Action {
        let Some(it) = self.children.get_mut(&child) else { return Action::StayDown { child } };
        it.phase = Phase::Waiting;
        Action::AwaitBackoff { child, incarnation: it.incarnation, attempt, delay }
    }

    fn regroup(&mut self, from: Id, leader: Id, attempt: u32, delay: Duration) -> Vec<Action> {
        let from = self.regroup.map_or(from, |group| group.from.min(from));
        // Whoever led the group before waits along with it now.
        let waiting = self.children.values_mut().filter(|it| it.phase == Phase::Waiting);
        waiting.for_each(|it| it.phase = Phase::Down);
        self.regroup = Some(Regroup { from, leader, attempt, delay, stage: Stage::Stopping });
        self.advance()
    }

    /// Goes on with what is done one child at a time: closing, or a group on its way to its next life.
    fn advance(&mut self) -> Vec<Action> {
        if self.closing {
            return self.stop_last(0).unwrap_or_else(|| vec![Action::Finish]);
        }
        let Some(group) = self.regroup else { return Vec::new() };
        match group.stage {
            Stage::Stopping => self.stop_last(group.from).unwrap_or_else(|| self.hold_back(group)),
            Stage::Waiting => Vec::new(),
            Stage::Starting => self.start_first(group.from),
        }
    }

    fn hold_back(&mut self, group: Regroup) -> Vec<Action> {
        let Regroup { from, leader, attempt, delay, .. } = group;
        self.renew(from..);
        if self.children.get(&leader).is_none_or(|it| !it.wanted) {
            // The operator took it out meanwhile; the others need not wait.
            self.regroup = Some(Regroup { stage: Stage::Starting, ..group });
            return self.start_first(from);
        }
        self.regroup = Some(Regroup { stage: Stage::Waiting, ..group });
        let mut actions = vec![self.wait(leader, attempt, delay)];
        let others = self.children.range(from..).filter(|(id, it)| **id != leader && it.wanted);
        actions.extend(others.map(|(child, _)| Action::HoldBack { child: *child, attempt, delay }));
        actions
    }

    /// Those who should live are to have a new life: what is still told of their last one is old.
    fn renew(&mut self, children: impl RangeBounds<Id>) {
        let wanted = self.children.range_mut(children).filter(|(_, it)| it.wanted);
        wanted.for_each(|(_, it)| it.incarnation += 1);
    }

    /// The first child that should run and does not is started next; one at a time keeps the order.
    fn start_first(&mut self, from: Id) -> Vec<Action> {
        for (child, it) in self.children.range_mut(from..) {
            match it.phase {
                Phase::Down if it.wanted => {
                    it.phase = Phase::Starting(By::Supervisor);
                    return vec![Action::Start { child: *child, incarnation: it.incarnation }];
                }
                Phase::Starting(_) | Phase::Stopping { .. } => return Vec::new(),
                _ => {}
            }
        }
        self.regroup = None;
        Vec::new()
    }

    /// The last child that is still there ends next; `None` when nobody is.
    fn stop_last(&mut self, from: Id) -> Option<Vec<Action>> {
        let (mut actions, mut left) = (Vec::new(), false);
        for (child, it) in self.children.range_mut(from..).rev() {
            match it.phase {
                Phase::Down | Phase::Waiting => continue,
                Phase::Up => {
                    it.phase = Phase::Stopping { killed: false };
                    actions.push(Action::Stop { child: *child, incarnation: it.incarnation });
                }
                Phase::Starting(_) | Phase::Stopping { .. } => {}
            }
            left = true;
            if !self.policy.stop_together {
                break;
            }
        }
        left.then_some(actions)
    }

    fn stop(&mut self, child: Id) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        it.phase = Phase::Stopping { killed: false };
        vec![Action::Stop { child, incarnation: it.incarnation }]
    }

    fn backoff_over(&mut self, child: Id) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child).filter(|it| it.phase == Phase::Waiting) else {
            return Vec::new();
        };
        if let Some(group) = self.regroup.as_mut().filter(|group| group.leader == child) {
            it.phase = Phase::Down;
            group.stage = Stage::Starting;
            return self.advance();
        }
        it.phase = Phase::Starting(By::Supervisor);
        vec![Action::Start { child, incarnation: it.incarnation }]
    }

    /// It ends, or it is overdue: then it is abandoned.
    fn hung(&mut self, child: Id) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        match it.phase {
            Phase::Up => {
                it.phase = Phase::Stopping { killed: true };
                vec![Action::Kill { child, incarnation: it.incarnation }]
            }
            _ => Vec::new(),
        }
    }

    fn overdue(&mut self, child: Id, now: Instant, chance: f64) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        let incarnation = it.incarnation;
        match it.phase {
            Phase::Stopping { killed: false } => {
                it.phase = Phase::Stopping { killed: true };
                vec![Action::Kill { child, incarnation }]
            }
            Phase::Stopping { killed: true } => {
                self.abandoned += 1;
                let mut actions = vec![Action::Abandon { child }];
                if self.abandoned > ZOMBIES && !self.closing {
                    actions.extend(self.give_up(child));
                }
                actions.extend(self.exited(child, Ending::Abnormal, now, chance));
                actions
            }
            _ => Vec::new(),
        }
    }

    fn terminate(&mut self, child: Id) -> Vec<Action> {
        let closing = self.closing;
        // While all end, each one's turn comes: nobody goes before those that build on it.
        let Some(it) = self.children.get_mut(&child).filter(|it| it.wanted && !closing) else {
            return Vec::new();
        };
        it.wanted = false;
        match it.phase {
            Phase::Up => self.stop(child),
            // It ends when it has started, or has ended already.
            Phase::Starting(_) | Phase::Stopping { .. } => Vec::new(),
            Phase::Waiting | Phase::Down => {
                let lived = it.phase;
                it.phase = Phase::Down;
                let led = self
                    .regroup
                    .as_mut()
                    .filter(|group| group.leader == child && group.stage == Stage::Waiting);
                led.into_iter().for_each(|group| group.stage = Stage::Starting);
                self.ended(child, lived)
            }
        }
    }

    fn revive(&mut self, child: Id) -> Vec<Action> {
        let closing = self.closing;
        let Some(it) =
            self.children.get_mut(&child).filter(|it| it.phase == Phase::Down && !it.wanted && !closing)
        else {
            return Vec::new();
        };
        (it.wanted, it.in_a_row, it.phase) = (true, 0, Phase::Starting(By::Operator));
        it.incarnation += 1;
        vec![Action::Start { child, incarnation: it.incarnation }]
    }

    /// Those that run end one after the other; those that only wait for a next life have none any more.
    fn close(&mut self) -> Vec<Action> {
        if self.closing {
            return Vec::new();
        }
        self.closing = true;
        self.regroup = None;
        let mut actions = Vec::new();
        for (child, it) in &mut self.children {
            if it.phase == Phase::Waiting || it.phase == Phase::Down && it.wanted {
                (it.phase, it.wanted) = (Phase::Down, false);
                actions.push(Action::StayDown { child: *child });
            }
        }
        actions.extend(self.advance());
        actions
    }
}

#[cfg(test)]
#[path = "edge_tests.rs"]
mod edge_tests;
#[cfg(test)]
#[path = "model_tests.rs"]
mod model_tests;
#[cfg(test)]
#[path = "strategy_tests.rs"]
mod strategy_tests;
#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
