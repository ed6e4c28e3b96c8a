//! How many calls a provider can carry at once, found by its refusals: an adaptive limit on concurrency.
//!
//! Additive increase, multiplicative decrease, as a pure rule: losses alone move it, because the latency of an answer
//! says more about its length than about the provider. The limit that was hit last is remembered: below it
//! growth is fast, at it slow, so that the limit stays near it and seldom beyond. Callers are neither counted nor
//! kept waiting here. Sources: V. Jacobson, "Congestion Avoidance and Control", 1988; for the plateau S. Ha, I.
//! Rhee, L. Xu, "CUBIC", 2008.

use std::time::Instant;

use crate::error::ErrorKind;

/// A refusal cuts the limit to this share of itself.
const CUT: f64 = 0.7;
/// Well below the limit that was hit last it grows by one for as many successes as it is, but at most this many.
const FAST: f64 = 10.0;
/// Near it, by one for so many: no more than one call in a hundred is refused to learn that it still stands.
const SLOW: f64 = 100.0;
/// Near means: less than this share below it, or less than one.
const NEAR: f64 = 0.1;
/// The largest limit: beyond it the limit would protect nobody.
const MOST: usize = 100_000;

/// Between which bounds the limit moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptivePolicy {
    /// Calls at once that are always allowed, however often the provider refuses; 1 to `max`. Default 1.
    pub min: usize,
    /// Calls at once that are never exceeded, `min` to 100000. Default 256.
    pub max: usize,
    /// Calls at once before anything is known, `min` to `max`. Default 16: lower ones delay the first callers, higher
    /// ones cost a weak provider some refusals.
    pub start: usize,
}

impl AdaptivePolicy {
    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { min, max, start } = *self;
        match () {
            () if min == 0 => Err("`adaptive.min` must be at least 1"),
            () if !(min..=MOST).contains(&max) => Err("`adaptive.max` must be from `min` to 100000"),
            () if !(min..=max).contains(&start) => Err("`adaptive.start` must be from `min` to `max`"),
            () => Ok(()),
        }
    }
}

impl Default for AdaptivePolicy {
    fn default() -> Self {
        Self { min: 1, max: 256, start: 16 }
    }
}

/// What an ended attempt says about how much its provider can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    Carried,
    TooMuch,
    Nothing,
}

impl Sample {
    fn of(failure: Option<ErrorKind>) -> Self {
        use ErrorKind::{
            ConnectTimeout, FirstTokenTimeout, IdleTimeout, Overloaded, RateLimited, TotalTimeout,
        };
        match failure {
            None => Self::Carried,
            Some(RateLimited | Overloaded) => Self::TooMuch,
            Some(ConnectTimeout | FirstTokenTimeout | IdleTimeout | TotalTimeout) => Self::TooMuch,
            Some(_) => Self::Nothing,
        }
    }
}

/// The limit; plain data, so that one life of its owner can leave it to the next.
#[derive(Clone, Debug)]
pub struct AdaptiveLimit {
    policy: AdaptivePolicy,
    limit: f64,
    /// The limit that was hit last; none while it grows by one with every success.
    ceiling: Option<f64>,
    last_cut: Instant,
}

impl AdaptiveLimit {
    /// Nothing is known yet.
    pub fn new(policy: AdaptivePolicy, now: Instant) -> Self {
        Self { policy, limit: policy.start as f64, ceiling: None, last_cut: now }
    }

    /// Puts other bounds in force; what was learnt stays, as far as it lies within them.
    pub fn configure(&mut self, policy: AdaptivePolicy) {
        self.policy = policy;
        self.set(self.limit);
    }

    /// How many calls may be in flight.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Takes in how an attempt ended that began at `started`; so many are in flight, itself included. One
    /// round trip cuts once: what began before the last cut tells nothing new. What is not half used does not
    /// grow. Cancelled calls, local refusals and faults of other kinds are no samples.
    pub fn record(&mut self, failure: Option<ErrorKind>, started: Instant, in_flight: usize, now: Instant) {
        match Sample::of(failure) {
            Sample::TooMuch if started >= self.last_cut => self.cut(now),
            Sample::Carried if in_flight as f64 >= self.limit / 2.0 => self.grow(),
            _ => {}
        }
    }

    fn cut(&mut self, now: Instant) {
        (self.ceiling, self.last_cut) = (Some(self.limit), now);
        self.set(self.limit * CUT);
    }

    fn grow(&mut self) {
        let successes = match self.ceiling {
            None => 1.0,
            Some(ceiling) if self.limit < ceiling - (ceiling * NEAR).max(1.0) => self.limit.min(FAST),
            Some(_) => SLOW,
        };
        self.set(self.limit + 1.0 / successes);
        self.ceiling = self.ceiling.filter(|ceiling| self.limit < ceiling + 1.0);
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(self.policy.min as f64, self.policy.max as f64);
    }
}

#[cfg(test)]
#[path = "adaptive_tests.rs"]
mod tests;
