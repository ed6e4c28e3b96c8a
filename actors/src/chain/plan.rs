//! Whom to ask next, as a pure rule.
//!
//! Targets are asked in order, each once, without waiting: failing over is free. Only when every target has
//! been asked or refused does the plan wait and go through those again that may be retried. One cap holds over
//! all of it, whatever the chain (PC14). One target may be put first: a provider that waits for its probe would
//! never get one while those before it answer. Asking, waiting and measuring are not done here.

use std::time::Duration;

use super::policy::ChainPolicy;
use crate::error::{Class, FallOver};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Ask this target.
    Try(usize),
    /// Wait, then ask for the next step.
    Wait(Duration),
    /// There is nobody left to ask.
    GiveUp,
}

#[derive(Clone, Copy, Default)]
struct Asked {
    times: u32,
    again: bool,
    /// Did its last turn end in a failure, and not in a refusal?
    failed: bool,
    /// What is left of the wait it asked for.
    hint: Duration,
    /// The last round in which it had its turn.
    turn: Option<u32>,
}

/// The state of one call.
pub(super) struct Plan {
    policy: ChainPolicy,
    targets: Vec<Asked>,
    first: Option<usize>,
    round: u32,
    made: u32,
    over: bool,
}

impl Plan {
    pub(super) fn new(policy: ChainPolicy, targets: usize) -> Self {
        let asked = Asked { again: true, ..Asked::default() };
        Self { policy, targets: vec![asked; targets], first: None, round: 0, made: 0, over: false }
    }

    /// Asks `target` before all others.
    pub(super) fn first(mut self, target: Option<usize>) -> Self {
        self.first = target;
        self
    }

    /// The next step; `chance` is uniform in `[0, 1)` and drawn only for a wait.
    pub(super) fn next(&mut self, chance: impl FnOnce() -> f64) -> Step {
        if self.over || self.made >= self.policy.max_attempts {
            return Step::GiveUp;
        }
        let mut in_order = self.first.take().into_iter().chain(0..self.targets.len());
        if let Some(target) = in_order.find(|&target| self.has_turn(target)) {
            let asked = &mut self.targets[target];
            (asked.turn, asked.failed) = (Some(self.round), false);
            return Step::Try(target);
        }
        self.next_round(chance)
    }

    /// The target was asked and failed.
    pub(super) fn failed(&mut self, target: usize, class: Class, hint: Option<Duration>) {
        let asked = &mut self.targets[target];
        asked.times += 1;
        asked.failed = true;
        asked.hint = hint.unwrap_or_default();
        asked.again = class.retry && asked.hint <= self.policy.backoff.max;
        self.made += 1;
        self.over = class.fall_over != FallOver::Yes;
    }

    fn has_turn(&self, target: usize) -> bool {
        let asked = &self.targets[target];
        asked.turn != Some(self.round) && asked.hint.is_zero() && self.may_be_asked(asked)
    }

    fn may_be_asked(&self, asked: &Asked) -> bool {
        asked.again && asked.times <= self.policy.retries
    }

    /// Waiting is worth it only for a target that was asked and may be asked again soon: one that refused
    /// us, or asks for a longer wait than our longest, is left to the caller's next call.
    fn next_round(&mut self, chance: impl FnOnce() -> f64) -> Step {
        let retries = self.targets.iter().filter(|asked| asked.failed && self.may_be_asked(asked));
        let Some(hint) = retries.map(|asked| asked.hint).min() else { return Step::GiveUp };
        let delay = self.policy.backoff.delay(self.round, chance()).max(hint);
        self.targets.iter_mut().for_each(|asked| asked.hint = asked.hint.saturating_sub(delay));
        self.round += 1;
        Step::Wait(delay)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
