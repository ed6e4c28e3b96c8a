//! The reference: what a supervisor owes its children, told by who lives, who is wanted and who waits.
//!
//! There are no phases here and no numbers of lives. After every event it is looked at afresh what is amiss
//! between those who should live and those who do, and what follows from that is all there is to do. It is told
//! only of events of present lives and waits: whoever tells it knows which they are.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[path = "settle.rs"]
mod settle;

/// So many lives may block a thread and be left behind.
const BEARABLE: usize = 8;

#[derive(Default)]
pub(super) struct Reference {
    policy: RestartPolicy,
    known: BTreeMap<Id, Role>,
    wanted: BTreeSet<Id>,
    lives: BTreeMap<Id, Life>,
    up_since: BTreeMap<Id, Instant>,
    /// Those whose backoff is running.
    waits: BTreeSet<Id>,
    /// Restarts in a row.
    rows: BTreeMap<Id, u32>,
    /// Every restart that was ever counted.
    restarts: Vec<Instant>,
    group: Option<Group>,
    left_behind: usize,
    closing: bool,
}

/// A life that has not ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Life {
    Starting(Wisher),
    Up,
    Asked,
    Killed,
}

/// Who wants a start; all but the supervisor are told if it fails, and then it is not tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wisher {
    Supervisor,
    Adder,
    Operator,
}

/// All children from one on: they have lost one they cannot do without.
#[derive(Clone, Copy)]
struct Group {
    from: Id,
    leader: Id,
    attempt: u32,
    delay: Duration,
    /// Was there a moment at which none of them lived?
    is_still: bool,
}

/// What the end of a life means.
enum Fate {
    Leaves,
    HasDoneItsWork,
    ReturnsWithItsGroup,
    Crashed,
}

impl Reference {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A new child, with its first life unless it skipped that.
    pub(super) fn add(&mut self, child: Id, role: Role, life: Option<Life>, now: Instant) {
        self.known.insert(child, role);
        if let Some(life) = life {
            self.wanted.insert(child);
            self.lives.insert(child, life);
        }
        if life == Some(Life::Up) {
            self.up_since.insert(child, now);
        }
    }

    /// Was it down for good, and is now unknown?
    pub(super) fn delete(&mut self, child: Id) -> bool {
        self.standing(child) == Some(Standing::Stopped) && self.known.remove(&child).is_some()
    }

    pub(super) fn standing(&self, child: Id) -> Option<Standing> {
        self.known.get(&child)?;
        Some(match self.lives.get(&child) {
            Some(Life::Starting(_)) => Standing::Restarting,
            Some(_) => Standing::Running,
            None if self.wanted.contains(&child) => Standing::Restarting,
            None => Standing::Stopped,
        })
    }

    pub(super) fn known(&self) -> impl Iterator<Item = Id> {
        self.known.keys().copied()
    }

    pub(super) fn wants(&self, child: Id) -> bool {
        self.wanted.contains(&child)
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = Id> {
        self.wanted.iter().copied().filter(|child| !self.lives.contains_key(child))
    }

    pub(super) fn life(&self, child: Id) -> Option<Life> {
        self.lives.get(&child).copied()
    }

    pub(super) fn waits(&self, child: Id) -> bool {
        self.waits.contains(&child)
    }

    pub(super) fn strategy(&self) -> Strategy {
        self.policy.strategy
    }

    pub(super) fn stops_together(&self) -> bool {
        self.policy.stop_together
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Does everybody live who should, and nobody else?
    pub(super) fn is_whole(&self) -> bool {
        self.lives.values().all(|life| matches!(life, Life::Up)) && self.lives.keys().eq(&self.wanted)
    }

    /// What is to be done after an event; in all of it the number of a life is 0.
    pub(super) fn on(&mut self, event: Event, now: Instant, chance: f64) -> Vec<Action> {
        match event {
            Event::Started { child, .. } => self.started(child, now),
            Event::Exited { child, ending, .. } => self.ended(child, ending, now, chance),
            Event::BackoffOver { child, .. } => self.waited(child),
            Event::Overdue { child, .. } => self.overdue(child, now, chance),
            Event::Hung { child, .. } => self.hung(child),
            Event::Terminate { child } => self.dismiss(child),
            Event::Revive { child } => self.revive(child),
            Event::Shutdown => self.close(),
        }
    }

    fn started(&mut self, child: Id, now: Instant) -> Vec<Action> {
        self.lives.insert(child, Life::Up);
        self.up_since.insert(child, now);
        match self.closing || self.wants(child) {
            true => self.settle(),
            false => vec![self.ask(child)],
        }
    }

    fn ended(&mut self, child: Id, ending: Ending, now: Instant, chance: f64) -> Vec<Action> {
        let Some(life) = self.lives.remove(&child) else { return vec![] };
        if self.up_since.remove(&child).is_some_and(|since| now - since >= self.policy.reset_after) {
            self.rows.remove(&child);
        }
        let role = self.known[&child];
        match self.fate(child, life, ending) {
            Fate::ReturnsWithItsGroup => self.settle(),
            Fate::Crashed => self.crashed(child, now, chance),
            Fate::HasDoneItsWork => {
                let left = self.leaves(child, false);
                let over = role.significant && self.is_over();
                [vec![left], if over { self.close() } else { self.settle() }].concat()
            }
            Fate::Leaves => {
                let never_was = life == Life::Starting(Wisher::Adder) && ending != Ending::Skipped;
                [vec![self.leaves(child, never_was)], self.settle()].concat()
            }
        }
    }

    fn fate(&self, child: Id, life: Life, ending: Ending) -> Fate {
        let is_bystander = self.group.is_some_and(|group| !group.is_still && group.from <= child);
        match (self.known[&child].restart, ending) {
            _ if self.closing || !self.wants(child) => Fate::Leaves,
            _ if matches!(life, Life::Starting(Wisher::Adder | Wisher::Operator)) => Fate::Leaves,
            (_, Ending::Skipped) => Fate::Leaves,
            (Restart::Temporary, _) if is_bystander => Fate::Leaves,
            _ if is_bystander => Fate::ReturnsWithItsGroup,
            (Restart::Temporary, _) | (Restart::Transient, Ending::Normal) => Fate::HasDoneItsWork,
            _ => Fate::Crashed,
        }
    }

    /// It is down and stays so; what cannot come back is forgotten.
    fn leaves(&mut self, child: Id, never_was: bool) -> Action {
        self.wanted.remove(&child);
        if never_was || self.known[&child].restart == Restart::Temporary {
            self.known.remove(&child);
            return Action::Forget { child };
        }
        Action::StayDown { child }
    }

    /// Was the significant child that has just done its work one that ends all?
    fn is_over(&self) -> bool {
        match self.policy.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self.wanted.iter().any(|other| self.known[other].significant),
        }
    }

    fn crashed(&mut self, child: Id, now: Instant, chance: f64) -> Vec<Action> {
        self.restarts.push(now);
        let within = self.restarts.iter().filter(|at| now - **at < self.policy.within);
        if within.count() > self.policy.restarts {
            return self.give_up(child);
        }
        let row = self.rows.entry(child).or_default();
        *row += 1;
        let (attempt, delay) = (*row, self.policy.backoff.delay(*row - 1, chance));
        let first = match self.policy.strategy {
            Strategy::OneForOne if self.is_exhausted(attempt) => return vec![self.leaves(child, false)],
            _ if self.is_exhausted(attempt) => return self.give_up(child),
            Strategy::OneForOne => return vec![self.wait(child, attempt, delay)],
            Strategy::OneForAll => 0,
            Strategy::RestForOne => child,
        };
        let from = self.group.map_or(first, |group| group.from.min(first));
        self.group = Some(Group { from, leader: child, attempt, delay, is_still: false });
        self.waits.clear();
        self.settle()
    }

    fn is_exhausted(&self, row: u32) -> bool {
        self.policy.in_a_row.is_some_and(|limit| row > limit)
    }

    fn wait(&mut self, child: Id, attempt: u32, delay: Duration) -> Action {
        self.waits.insert(child);
        Action::AwaitBackoff { child, incarnation: 0, attempt, delay }
    }

    fn waited(&mut self, child: Id) -> Vec<Action> {
        self.waits.remove(&child);
        match self.policy.strategy {
            Strategy::OneForOne => vec![self.start(child, Wisher::Supervisor)],
            _ => self.settle(),
        }
    }

    fn overdue(&mut self, child: Id, now: Instant, chance: f64) -> Vec<Action> {
        if self.life(child) == Some(Life::Asked) {
            self.lives.insert(child, Life::Killed);
            return vec![Action::Kill { child, incarnation: 0 }];
        }
        self.left_behind += 1;
        let is_unbearable = self.left_behind > BEARABLE && !self.closing;
        let given_up = if is_unbearable { self.give_up(child) } else { vec![] };
        [vec![Action::Abandon { child }], given_up, self.ended(child, Ending::Abnormal, now, chance)].concat()
    }

    fn hung(&mut self, child: Id) -> Vec<Action> {
        if self.life(child) != Some(Life::Up) {
            return vec![];
        }
        self.lives.insert(child, Life::Killed);
        vec![Action::Kill { child, incarnation: 0 }]
    }

    fn dismiss(&mut self, child: Id) -> Vec<Action> {
        if self.closing || !self.wanted.remove(&child) {
            return vec![];
        }
        self.waits.remove(&child);
        match self.life(child) {
            Some(Life::Up) => vec![self.ask(child)],
            Some(_) => vec![],
            None => [vec![self.leaves(child, false)], self.settle()].concat(),
        }
    }

    fn revive(&mut self, child: Id) -> Vec<Action> {
        if self.closing || self.standing(child) != Some(Standing::Stopped) {
            return vec![];
        }
        self.rows.remove(&child);
        self.wanted.insert(child);
        vec![self.start(child, Wisher::Operator)]
    }

    fn give_up(&mut self, child: Id) -> Vec<Action> {
        [vec![Action::GiveUp { child }], self.close()].concat()
    }

    /// Whoever should live and does not will not any more.
    fn close(&mut self) -> Vec<Action> {
        if self.closing {
            return vec![];
        }
        (self.closing, self.group) = (true, None);
        self.waits.clear();
        let missing: Vec<Id> = self.missing().collect();
        let left: Vec<Action> = missing.into_iter().map(|child| self.leaves(child, false)).collect();
        [left, self.settle()].concat()
    }
}
