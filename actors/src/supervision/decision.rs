//! What a supervisor decides, without any actor, task or clock.
//!
//! A child that ended is started again after a backoff, alone or with its group; the others are left alone.
//! More than `restarts` within `within`, failed starts included, and the supervisor gives up: it stops its
//! children and ends, so that its own parent decides (Erlang/OTP's restart intensity). Groups are stopped in
//! reverse order and started in order, one at a time. Events of an earlier life of a child change nothing.
//! First starts, and who is told of anything, are not decided here.
//!
//! Here is what happens to one child; [`restarts`] says whether and when it comes back, [`groups`] what is done
//! one child at a time, [`operator`] what can be asked; [`words`] are the events and actions.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

pub(crate) use self::words::{Action, Ending, Event, Id, Role, Standing};
use self::{groups::Regroup, looked_at::LookedAt};
use super::policy::{AutoShutdown, Restart, RestartPolicy};

mod groups;
mod looked_at;
mod operator;
mod restarts;
mod words;

/// More lives than this that block a thread and cannot be killed, and the supervisor gives up.
const ZOMBIES: u32 = 8;

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

/// The state of one supervisor.
#[derive(Debug)]
pub(crate) struct Decision {
    policy: RestartPolicy,
    children: BTreeMap<Id, LookedAt<Child>>,
    next: Id,
    recent: VecDeque<Instant>,
    regroup: Option<Regroup>,
    abandoned: u32,
    closing: bool,
    /// While it is closing: all children from this one on are down.
    down_from: Id,
}

impl Decision {
    /// A supervisor without children.
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        let (children, recent) = (BTreeMap::new(), VecDeque::new());
        let (next, down_from) = (0, Id::MAX);
        Self { policy, children, next, recent, regroup: None, abandoned: 0, closing: false, down_from }
    }

    /// Takes in a child that was just started in the given life, or skipped its start.
    pub(crate) fn adopt(&mut self, role: Role, incarnation: u64, up_since: Option<Instant>) -> Id {
        let phase = if up_since.is_some() { Phase::Up } else { Phase::Down };
        self.insert(role, incarnation, phase, up_since)
    }

    fn insert(&mut self, role: Role, incarnation: u64, phase: Phase, up_since: Option<Instant>) -> Id {
        let (id, wanted) = (self.next, phase != Phase::Down);
        self.next += 1;
        let child = Child { role, phase, wanted, incarnation, up_since, in_a_row: 0 };
        self.children.insert(id, LookedAt(child));
        id
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
        if event.life().is_some_and(|(child, life)| self.incarnation(child) != Some(life)) {
            return Vec::new();
        }
        match event {
            Event::Shutdown => self.close(),
            Event::Terminate { child } => self.terminate(child),
            Event::Revive { child } => self.revive(child),
            Event::Started { child, .. } => self.started(child, now),
            Event::Exited { child, ending, .. } => self.exited(child, ending, now, chance),
            Event::BackoffOver { child, .. } => self.backoff_over(child),
            Event::Overdue { child, .. } => self.overdue(child, now, chance),
            Event::Hung { child, .. } => self.hung(child),
        }
    }

    fn started(&mut self, child: Id, now: Instant) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        if !matches!(it.phase, Phase::Starting(_)) {
            return Vec::new();
        }
        (it.phase, it.up_since) = (Phase::Up, Some(now));
        let stops = if self.closing { self.policy.stop_together } else { !it.wanted };
        if stops { self.stop(child) } else { self.advance() }
    }

    fn exited(&mut self, child: Id, ending: Ending, now: Instant, chance: f64) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        if matches!(it.phase, Phase::Down | Phase::Waiting) {
            return Vec::new();
        }
        let (role, wanted) = (it.role, it.wanted);
        let lived = std::mem::replace(&mut it.phase, Phase::Down);
        let reset_after = self.policy.reset_after;
        if it.up_since.take().is_some_and(|since| now.saturating_duration_since(since) >= reset_after) {
            it.in_a_row = 0;
        }
        if ending == Ending::Skipped {
            // Nothing has failed: also of a child that was just added, the spec is kept.
            return self.ended(child, Phase::Down);
        }
        if self.closing || !wanted || matches!(lived, Phase::Starting(By::Adder | By::Operator)) {
            return self.ended(child, lived);
        }
        if self.is_stopped_with_its_group(child) {
            let stays = role.restart == Restart::Temporary;
            return if stays { self.ended(child, lived) } else { self.advance() };
        }
        if role.comes_back(ending) {
            self.restart(child, lived, now, chance)
        } else {
            self.left(child, lived)
        }
    }

    /// It ended for good; where it was significant, that may be the end of all. Whoever was asked to end is not
    /// wanted, or in a group: so this is its own end, be it that it hung.
    fn left(&mut self, child: Id, lived: Phase) -> Vec<Action> {
        let significant = self.children.get(&child).is_some_and(|it| it.role.significant);
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

    fn stop(&mut self, child: Id) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        it.phase = Phase::Stopping { killed: false };
        vec![Action::Stop { child, incarnation: it.incarnation }]
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
        match it.phase {
            Phase::Stopping { killed: false } => {
                it.phase = Phase::Stopping { killed: true };
                vec![Action::Kill { child, incarnation: it.incarnation }]
            }
            Phase::Stopping { killed: true } => self.abandon(child, now, chance),
            _ => Vec::new(),
        }
    }

    fn abandon(&mut self, child: Id, now: Instant, chance: f64) -> Vec<Action> {
        self.abandoned += 1;
        let mut actions = vec![Action::Abandon { child }];
        if self.abandoned > ZOMBIES && !self.closing {
            actions.extend(self.give_up(child));
        }
        actions.extend(self.exited(child, Ending::Abnormal, now, chance));
        actions
    }
}

#[cfg(test)]
mod tests;
