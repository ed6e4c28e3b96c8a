//! Whom to ask next, as a pure rule.
//!
//! Targets are asked in order, each once, without waiting: failing over is free. Whoever refused and would give in
//! to someone who has nobody else is then asked insistently, once in a call. Only after that does the plan wait and go through those
//! again that may be retried. One cap holds over all of it, whatever the chain (PC14). One target may be put first: a
//! provider that waits for its probe would never get one while those before it answer. A prompt that is too long, or
//! that a content policy refused, goes on to targets of their own, or nowhere (PC4). What nobody else would answer
//! otherwise stays with its target, which is asked again if it says so itself (PC13). Asking, waiting and measuring
//! are not done here.

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
    /// The only one that is still worth asking, whatever its lane: others would answer alike.
    only: Option<usize>,
    first: Option<usize>,
    round: u32,
    made: u32,
}

impl Plan {
    pub(super) fn new(policy: ChainPolicy, lanes: impl IntoIterator<Item = Lane>) -> Self {
        let targets = lanes.into_iter().map(|lane| Asked { lane, ..Asked::default() }).collect();
        Self { policy, targets, lane: Lane::Usual, only: None, first: None, round: 0, made: 0 }
    }

    /// Asks `target` before all others.
    pub(super) fn first(mut self, target: Option<usize>) -> Self {
        self.first = target;
        self
    }

    /// The next step; `chance` is uniform in `[0, 1)` and drawn only for a wait.
    pub(super) fn next(&mut self, chance: impl FnOnce() -> f64) -> Step {
        if self.made >= self.policy.max_attempts {
            return Step::GiveUp;
        }
        let mut in_order = self.first.take().into_iter().chain(0..self.targets.len());
        if let Some(target) = in_order.find(|&target| self.has_turn(target)) {
            let asked = &mut self.targets[target];
            (asked.turn, asked.failed) = (Some(self.round), false);
            return Step::Try(target);
        }
        if let Some(target) = (0..self.targets.len()).find(|&at| self.targets[at].soft && self.is_meant(at)) {
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

    /// The target cannot do what is asked, and was not asked: that is no attempt.
    pub(super) fn unable(&mut self, target: usize) {
        self.targets[target].lost = true;
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
            FallOver::No => self.only = Some(target),
            FallOver::LargerContext => self.change_over(target, Lane::LargerContext),
            FallOver::IfAllowed => self.change_over(target, Lane::Filtered),
        }
    }

    /// Who was no help there is none here either: from one lane to another, and never back.
    fn change_over(&mut self, target: usize, lane: Lane) {
        match self.leads_to(lane) {
            true => (self.lane, self.only) = (lane, None),
            false => self.only = Some(target),
        }
    }

    /// Would a failure that names this lane be answered there?
    pub(super) fn leads_to(&self, lane: Lane) -> bool {
        self.lane == Lane::Usual && self.targets.iter().any(|asked| asked.lane == lane)
    }

    fn has_turn(&self, target: usize) -> bool {
        let asked = &self.targets[target];
        asked.turn != Some(self.round) && asked.hint.is_zero() && self.may_be_asked(target)
    }

    fn may_be_asked(&self, target: usize) -> bool {
        let asked = &self.targets[target];
        self.is_meant(target) && !asked.lost && asked.times <= self.policy.retries
    }

    fn is_meant(&self, target: usize) -> bool {
        self.only.map_or(self.targets[target].lane == self.lane, |only| only == target)
    }

    /// Waiting is worth it only for a target that was asked and may be asked again soon: one that refused
    /// us, or asks for a longer wait than our longest, is left to the caller's next call.
    fn next_round(&mut self, chance: impl FnOnce() -> f64) -> Step {
        let retries = (0..self.targets.len()).filter(|&at| self.targets[at].failed && self.may_be_asked(at));
        let Some(hint) = retries.map(|at| self.targets[at].hint).min() else { return Step::GiveUp };
        let delay = self.policy.backoff.delay(self.round, chance()).max(hint);
        self.targets.iter_mut().for_each(|asked| asked.hint = asked.hint.saturating_sub(delay));
        self.round += 1;
        Step::Wait(delay)
    }
}

#[cfg(test)]
#[path = "plan_properties.rs"]
mod properties;
#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
