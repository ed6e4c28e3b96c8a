//! The settings of one chain, each with its unit, its default and what happens at the limit.

use std::time::Duration;

use crate::backoff::{Backoff, Jitter};

/// How far a call goes before it gives up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChainPolicy {
    /// How many times each target may be asked again after its first attempt. Default 2; 0 means never.
    pub retries: u32,
    /// How long to wait before asking targets again. Failing over to the next target never waits.
    /// Default 250 ms, doubling to 8 s, full jitter.
    pub backoff: Backoff,
    /// How many attempts one call may make over all retries and targets. Default 4, at least 1 (PC14).
    pub max_attempts: u32,
}

impl ChainPolicy {
    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.max_attempts {
            0 => Err("`max_attempts` must be at least 1"),
            _ => self.backoff.check(),
        }
    }
}

impl Default for ChainPolicy {
    fn default() -> Self {
        let backoff =
            Backoff { min: Duration::from_millis(250), max: Duration::from_secs(8), jitter: Jitter::Full };
        Self { retries: 2, backoff, max_attempts: 4 }
    }
}
