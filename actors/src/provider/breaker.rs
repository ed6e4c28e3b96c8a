//! When to stop asking a provider, and when to try again: the circuit breaker, as a pure rule.
//!
//! Closed, it counts failures in a row; open, it waits; half-open, it lets exactly one probe through, whose
//! outcome decides. Each transition begins a new generation, and an outcome of an older one never moves the
//! state: with calls of a minute and open times of seconds, late outcomes are the normal case. There is no
//! clock, no timer and no counting of callers here. Source of the pattern: M. Nygard, "Release It!", 2007.

use std::time::{Duration, Instant};

use super::policy::BreakerPolicy;
use crate::error::Verdict;

/// Where the circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused until then.
    Open {
        /// When a probe may pass.
        until: Instant,
    },
    /// One probe may pass.
    HalfOpen,
}

impl State {
    /// The names of all states, for metrics.
    pub const NAMES: [&'static str; 3] = ["closed", "open", "half_open"];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The circuit of one provider; plain data, so that one life of its actor can leave it to the next.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    generation: u64,
    failures: u32,
    /// Of the next open time.
    step: u32,
    open_time: Duration,
    closed_at: Option<Instant>,
}

impl Breaker {
    /// A closed circuit.
    pub fn new(policy: BreakerPolicy) -> Self {
        let (state, generation) = (State::Closed, 1);
        let open_time = policy.open.min;
        Self { policy, state, generation, failures: 0, step: 0, open_time, closed_at: None }
    }

    /// A closed circuit in place of this one: what was admitted by this one no longer counts.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { generation: self.generation + 1, ..Self::new(self.policy) }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The present generation: permits carry it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes in an outcome; true if the state changed. `chance` is uniform in `[0, 1)`.
    pub fn record(&mut self, generation: u64, verdict: Verdict, now: Instant, chance: f64) -> bool {
        if generation != self.generation {
            return false;
        }
        match (self.state, verdict) {
            (State::Closed, Verdict::Failing) => {
                self.failures += 1;
                let trips = self.failures >= self.policy.failures;
                if trips {
                    self.open(now, chance);
                }
                trips
            }
            (State::Closed, Verdict::Healthy) => {
                self.failures = 0;
                false
            }
            (State::HalfOpen, Verdict::Failing) => {
                self.failures += 1;
                self.open(now, chance);
                true
            }
            (State::HalfOpen, Verdict::Healthy) => {
                self.failures = 0;
                self.closed_at = Some(now);
                self.enter(State::Closed);
                true
            }
            (State::Open { .. }, _) | (_, Verdict::Neutral) => false,
        }
    }

    /// Lets a probe through once the open time is over; true if the state changed.
    pub fn wake(&mut self, now: Instant) -> bool {
        let due = matches!(self.state, State::Open { until } if now >= until);
        if due {
            self.enter(State::HalfOpen);
        }
        due
    }

    /// Offers another probe in place of one that told nothing, or that was never heard of again.
    pub fn renew_probe(&mut self) {
        if self.state == State::HalfOpen {
            self.enter(State::HalfOpen);
        }
    }

    fn open(&mut self, now: Instant, chance: f64) {
        self.forget_while_healthy(now);
        self.open_time = self.policy.open.delay(self.step, chance);
        self.step = self.policy.open.longer(self.step);
        self.enter(State::Open { until: now + self.open_time });
    }

    /// The open time shrinks again by one step for each open time that was spent closed.
    fn forget_while_healthy(&mut self, now: Instant) {
        let Some(since) = self.closed_at.take() else { return };
        let healthy = now.saturating_duration_since(since).as_millis();
        let steps = healthy / self.open_time.as_millis().max(1);
        self.step = self.step.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
