//! The settings of one provider, each with its unit, its default and what happens at the limit.

use std::time::Duration;

use crate::backoff::{Backoff, Jitter};

/// The largest bulkhead: beyond it the limit would protect nobody.
const MAX_CONCURRENT: usize = 100_000;

/// How one provider is protected. Each part may be left out, and then does nothing (PC1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProviderPolicy {
    /// How long each phase of an attempt may take; `None`: as long as the caller waits.
    pub timeouts: Option<Timeouts>,
    /// When to stop asking; `None`: never.
    pub breaker: Option<BreakerPolicy>,
    /// How many attempts may run at once; one more is refused at once as `busy` and the chain moves on.
    /// Default 20, at least 1; `None`: as many as come.
    pub max_concurrent: Option<usize>,
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
    /// No protection at all, to begin a policy of single parts with.
    pub const NONE: Self = Self { timeouts: None, breaker: None, max_concurrent: None };

    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        self.timeouts.map_or(Ok(()), Timeouts::check)?;
        self.breaker.map_or(Ok(()), BreakerPolicy::check)?;
        match self.max_concurrent {
            Some(max) if !(1..=MAX_CONCURRENT).contains(&max) => {
                Err("`max_concurrent` must be from 1 to 100000")
            }
            _ => Ok(()),
        }
    }
}

impl Timeouts {
    /// Stands for no timeouts: longer than any process runs.
    pub(crate) const ENDLESS: Self = {
        let years = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        Self { connect: years, first_token: years, idle: years, total: years }
    };

    fn check(self) -> Result<(), &'static str> {
        let Self { connect, first_token, idle, total } = self;
        match [connect, first_token, idle, total].contains(&Duration::ZERO) {
            true => Err("each timeout must be longer than 0"),
            false => Ok(()),
        }
    }
}

impl BreakerPolicy {
    fn check(self) -> Result<(), &'static str> {
        match self.failures {
            0 => Err("`breaker.failures` must be at least 1"),
            _ => self.open.check(),
        }
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
        let (timeouts, breaker) = (Timeouts::default(), BreakerPolicy::default());
        Self { timeouts: Some(timeouts), breaker: Some(breaker), max_concurrent: Some(20) }
    }
}
