//! Whom to ask next, as a pure rule.
//!
//! Targets are asked in order, each once, without waiting: failing over is free. Whoever refused and would give in
//! to someone who has nobody else is then asked insistently, once in a call. Only after that does the plan wait and go through those
//! again that may be retried. One cap holds over all of it, whatever the chain (PC14). One target may be put first: a
//! provider that waits for its probe would never get one while those before it answer. A prompt that is too long, or
//! that a content policy refused, goes on to targets of their own, or nowhere (PC4). Asking, waiting and measuring are
//! not done here.

use std::time::Duration;

use super::policy::ChainPolicy;
use crate::error::{Class, FallOver};

/// When a target is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// First of all, and whenever one before it failed.
    #[default]
    Usual,
    /// When the prompt did not fit into the model's context.
    LargerContext,
    /// When a content policy refused the prompt.
    Filtered,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Ask this target.
    Try(usize),
    /// Ask this target although it refused: nobody else is left.
    Insist(usize),
    /// Wait, then ask for the next step.
    Wait(Duration),
    /// There is nobody left to ask.
    GiveUp,
}

#[derive(Clone, Copy, Default)]
struct Asked {
    lane: Lane,
    times: u32,
    /// Did it fail in a way that another try cannot mend?
    lost: bool,
    /// Did its last turn end in a failure, and not in a refusal?
    failed: bool,
    /// Did it refuse, and may give in?
    soft: bool,
    /// Was it asked insistently?
    insisted: bool,
    /// What is left of the wait it asked for.
    hint: Duration,
    /// The last round in which it had its turn.
    turn: Option<u32>,
}

/// The state of one call.
pub(super) struct Plan {
    policy: ChainPolicy,
    targets: Vec<Asked>,
    lane: Lane,
    first: Option<usize>,
    round: u32,
    made: u32,
    over: bool,
}

impl Plan {
    pub(super) fn new(policy: ChainPolicy, lanes: impl IntoIterator<Item = Lane>) -> Self {
        let targets = lanes.into_iter().map(|lane| Asked { lane, ..Asked::default() }).collect();
        Self { policy, targets, lane: Lane::Usual, first: None, round: 0, made: 0, over: false }
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
        let lane = self.lane;
        if let Some(target) = self.targets.iter().position(|asked| asked.lane == lane && asked.soft) {
            let asked = &mut self.targets[target];
            (asked.soft, asked.insisted) = (false, true);
            return Step::Insist(target);
        }
        self.next_round(chance)
    }

    /// The target refused to be asked; `soft`: it may give in to someone who has nobody else. Nobody insists twice.
    pub(super) fn refused(&mut self, target: usize, soft: bool) {
        let asked = &mut self.targets[target];
        asked.soft = soft && !asked.insisted;
    }

    /// The target was asked and failed.
    pub(super) fn failed(&mut self, target: usize, class: Class, hint: Option<Duration>) {
        let asked = &mut self.targets[target];
        asked.times += 1;
        asked.failed = true;
        asked.hint = hint.unwrap_or_default();
        asked.lost = !class.retry || asked.hint > self.policy.backoff.max;
        self.made += 1;
        match class.fall_over {
            FallOver::Yes => {}
            FallOver::No => self.over = true,
            FallOver::LargerContext => self.change_over(Lane::LargerContext),
            FallOver::IfAllowed => self.change_over(Lane::Filtered),
        }
    }

    /// Who was no help there is none here either: from one lane to another, and never back.
    fn change_over(&mut self, lane: Lane) {
        self.over = self.lane != Lane::Usual;
        self.lane = lane;
    }

    fn has_turn(&self, target: usize) -> bool {
        let asked = &self.targets[target];
        asked.turn != Some(self.round) && asked.hint.is_zero() && self.may_be_asked(asked)
    }

    fn may_be_asked(&self, asked: &Asked) -> bool {
        asked.lane == self.lane && !asked.lost && asked.times <= self.policy.retries
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
