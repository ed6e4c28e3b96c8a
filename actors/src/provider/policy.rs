//! The settings of one provider, each with its unit, its default and what happens at the limit.

use std::time::Duration;

use crate::backoff::{Backoff, Jitter};

/// The largest bulkhead: beyond it the limit would protect nobody.
const MAX_CONCURRENT: usize = 100_000;

/// How one provider is protected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProviderPolicy {
    /// How long each phase of an attempt may take.
    pub timeouts: Timeouts,
    /// When to stop asking.
    pub breaker: BreakerPolicy,
    /// How many attempts may run at once; one more is refused at once as `busy` and the chain moves on.
    /// Default 20, at least 1.
    pub max_concurrent: usize,
}

/// Four limits, because one number cannot fit an answer that is written word by word (PC18).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeouts {
    /// Until the connection stands. Default 5 s. Enforced by the adapter, which alone sees it.
    pub connect: Duration,
    /// Streams: until the first content. Default 20 s.
    pub first_token: Duration,
    /// Streams: the longest silence after that; keep-alives do not count as progress. Default 15 s.
    pub idle: Duration,
    /// The whole attempt, to the last byte. Default 120 s.
    pub total: Duration,
}

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// This many failures in a row open the circuit. Default 5, at least 1.
    pub failures: u32,
    /// How long it stays open: each reopening without a recovery between doubles it.
    /// Default 5 s, doubling to 120 s, ± 20 %.
    pub open: Backoff,
}

impl ProviderPolicy {
    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        let Timeouts { connect, first_token, idle, total } = self.timeouts;
        if [connect, first_token, idle, total].contains(&Duration::ZERO) {
            return Err("each timeout must be longer than 0");
        }
        if self.breaker.failures == 0 {
            return Err("`breaker.failures` must be at least 1");
        }
        if !(1..=MAX_CONCURRENT).contains(&self.max_concurrent) {
            return Err("`max_concurrent` must be from 1 to 100000");
        }
        self.breaker.open.check()
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(20),
            idle: Duration::from_secs(15),
            total: Duration::from_secs(120),
        }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        let open = Backoff {
            min: Duration::from_secs(5),
            max: Duration::from_secs(120),
            jitter: Jitter::Spread(0.2),
        };
        Self { failures: 5, open }
    }
}

impl Default for ProviderPolicy {
    fn default() -> Self {
        Self { timeouts: Timeouts::default(), breaker: BreakerPolicy::default(), max_concurrent: 20 }
    }
}
