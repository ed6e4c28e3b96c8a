//! What a supervisor decides, without any actor, task or clock.
//!
//! One-for-one: a child that ends is started again after a backoff; the others are left alone. More than
//! `restarts` of them within `within`, failed starts included, and the supervisor gives up: it stops its
//! children in reverse order and ends, so that its own parent decides (Erlang/OTP's restart intensity).
//! Events of an earlier life of a child change nothing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::backoff::{Backoff, Jitter};

/// How patient a supervisor is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartPolicy {
    /// More restarts than this within `within` and the supervisor gives up. Default 10.
    pub restarts: usize,
    /// The period the restarts are counted over. Default 60 s.
    pub within: Duration,
    /// How long a child stays down, by the number of restarts in a row. Default 100 ms, doubling to 10 s,
    /// ± 20 %.
    pub backoff: Backoff,
    /// A life of at least this length ends the row: the next restart is fast again. Default 10 s.
    pub reset_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        let backoff = Backoff {
            min: Duration::from_millis(100),
            max: Duration::from_secs(10),
            jitter: Jitter::Spread(0.2),
        };
        Self { restarts: 10, within: Duration::from_secs(60), backoff, reset_after: Duration::from_secs(10) }
    }
}

/// What a supervisor learns. `child` is its place in start order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A started child is ready.
    Started { child: usize, incarnation: u64 },
    /// A child ended, or could not be started.
    Exited { child: usize, incarnation: u64 },
    /// The backoff of a child is over.
    BackoffOver { child: usize, incarnation: u64 },
    /// A child that was asked to end, or was killed, has had its time.
    Overdue { child: usize, incarnation: u64 },
    /// All shall end.
    Shutdown,
}

/// What the supervisor is to do about it, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Say that the child is down, and report back when `delay` is over.
    AwaitBackoff { child: usize, incarnation: u64, attempt: u32, delay: Duration },
    /// Start this life of the child.
    Start { child: usize, incarnation: u64 },
    /// Ask the child to end, and report back when it is overdue.
    Stop { child: usize, incarnation: u64 },
    /// End the child by force, and report back when even that is overdue.
    Kill { child: usize, incarnation: u64 },
    /// The child does not even die: go on without it.
    Abandon { child: usize },
    /// Say that this child's crash was one too many.
    GiveUp { child: usize },
    /// Every child is gone: end.
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Up { since: Instant },
    Waiting,
    Stopping { killed: bool },
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    phase: Phase,
    incarnation: u64,
    in_a_row: u32,
}

/// The state of one supervisor.
#[derive(Debug)]
pub(crate) struct Decision {
    policy: RestartPolicy,
    children: Vec<Child>,
    recent: VecDeque<Instant>,
    closing: bool,
}

impl Decision {
    /// A supervisor whose children have all just been started, each in the given life.
    pub(crate) fn all_up(policy: RestartPolicy, incarnations: &[u64], now: Instant) -> Self {
        let up = |&incarnation| Child { phase: Phase::Up { since: now }, incarnation, in_a_row: 0 };
        let children = incarnations.iter().map(up).collect();
        Self { policy, children, recent: VecDeque::new(), closing: false }
    }

    /// Did `child` end without another life to come?
    pub(crate) fn is_gone(&self, child: usize) -> bool {
        self.children[child].phase == Phase::Gone
    }

    /// Which life of `child` is the present one.
    pub(crate) fn incarnation(&self, child: usize) -> u64 {
        self.children[child].incarnation
    }

    /// Takes in one event; `chance` is uniform in `[0, 1)`.
    pub(crate) fn on(&mut self, event: Event, now: Instant, chance: f64) -> Vec<Action> {
        match event {
            Event::Shutdown => self.close(),
            Event::Started { child, incarnation } if self.is_current(child, incarnation) => {
                self.started(child, now)
            }
            Event::Exited { child, incarnation } if self.is_current(child, incarnation) => {
                self.exited(child, now, chance)
            }
            Event::BackoffOver { child, incarnation } if self.is_current(child, incarnation) => {
                self.backoff_over(child)
            }
            Event::Overdue { child, incarnation } if self.is_current(child, incarnation) => {
                self.overdue(child)
            }
            _ => Vec::new(),
        }
    }

    fn is_current(&self, child: usize, incarnation: u64) -> bool {
        self.children[child].incarnation == incarnation
    }

    fn started(&mut self, child: usize, now: Instant) -> Vec<Action> {
        self.children[child].phase = Phase::Up { since: now };
        if self.closing { self.stop_next() } else { Vec::new() }
    }

    fn exited(&mut self, child: usize, now: Instant, chance: f64) -> Vec<Action> {
        let lived = self.children[child].phase;
        if lived == Phase::Gone {
            return Vec::new();
        }
        self.children[child].phase = Phase::Gone;
        if self.closing {
            return self.stop_next();
        }
        if self.one_too_many(now) {
            let mut actions = vec![Action::GiveUp { child }];
            actions.extend(self.close());
            return actions;
        }
        vec![self.restart(child, lived, now, chance)]
    }

    fn one_too_many(&mut self, now: Instant) -> bool {
        let within = self.policy.within;
        self.recent.push_back(now);
        self.recent.retain(|at| now.saturating_duration_since(*at) < within);
        self.recent.len() > self.policy.restarts
    }

    fn restart(&mut self, child: usize, lived: Phase, now: Instant, chance: f64) -> Action {
        let policy = &self.policy;
        let it = &mut self.children[child];
        if let Phase::Up { since } = lived
            && now.saturating_duration_since(since) >= policy.reset_after
        {
            it.in_a_row = 0;
        }
        let delay = policy.backoff.delay(it.in_a_row, chance);
        it.in_a_row += 1;
        it.incarnation += 1;
        it.phase = Phase::Waiting;
        Action::AwaitBackoff { child, incarnation: it.incarnation, attempt: it.in_a_row, delay }
    }

    fn backoff_over(&mut self, child: usize) -> Vec<Action> {
        let it = &mut self.children[child];
        if self.closing || it.phase != Phase::Waiting {
            return Vec::new();
        }
        it.phase = Phase::Starting;
        vec![Action::Start { child, incarnation: it.incarnation }]
    }

    fn overdue(&mut self, child: usize) -> Vec<Action> {
        let it = &mut self.children[child];
        match it.phase {
            Phase::Stopping { killed: false } => {
                it.phase = Phase::Stopping { killed: true };
                vec![Action::Kill { child, incarnation: it.incarnation }]
            }
            Phase::Stopping { killed: true } => {
                it.phase = Phase::Gone;
                let mut actions = vec![Action::Abandon { child }];
                actions.extend(self.stop_next());
                actions
            }
            _ => Vec::new(),
        }
    }

    fn close(&mut self) -> Vec<Action> {
        if self.closing {
            return Vec::new();
        }
        self.closing = true;
        self.stop_next()
    }

    /// The last child that is still there ends next; one at a time keeps the reverse order.
    fn stop_next(&mut self) -> Vec<Action> {
        for (child, it) in self.children.iter_mut().enumerate().rev() {
            match it.phase {
                Phase::Gone => {}
                Phase::Waiting => it.phase = Phase::Gone,
                Phase::Up { .. } => {
                    it.phase = Phase::Stopping { killed: false };
                    return vec![Action::Stop { child, incarnation: it.incarnation }];
                }
                Phase::Starting | Phase::Stopping { .. } => return Vec::new(),
            }
        }
        vec![Action::Finish]
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
