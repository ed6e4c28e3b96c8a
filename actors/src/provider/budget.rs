//! What may be asked beyond first attempts, of one provider or of all together, so that an outage is not answered by a
//! multiple of the load.
//!
//! It counts requests, never concurrency: failures are fast and streams are long. The parts of a request are added
//! up as they come; nothing is rounded to whole ones. A pure rule; who pays, and to whom, is decided elsewhere.
//! Source of the idea: retry budgets of Finagle (RetryBudget), with a floor that suits a few calls a second.

use std::time::{Duration, Instant};

use super::sliding::{Nanos, SlidingSum, Timeline};

/// What was earned longer ago is forgotten.
const WINDOW: Duration = Duration::from_secs(60);
/// Ten tenths are a whole.
const TOLERANCE: f64 = 1e-6;

/// How much may be tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetPolicy {
    /// Extra attempts per first attempt, from 0 to 1; 0: the floor alone counts. Default 0.1: a total outage costs the provider at most a
    /// tenth more than its usual load, and failures of up to a tenth of the calls are all tried again.
    pub share: f64,
    /// Extra attempts per second where that would be less, from 0 to 1000; 0: a few calls earn no retry. Default 0.1: also a provider that is
    /// asked once a minute gets its retries.
    pub floor: f64,
    /// How many of the floor may be saved up, from 0 to 1000. Default 3: the very first calls may be retried.
    pub burst: u32,
}

impl BudgetPolicy {
    /// For all providers of a system together: a tenth of all calls, as for each of them, and what five providers
    /// with few calls get, so that one that is out does not spend what the others need.
    pub const OVERALL: Self = Self { share: 0.1, floor: 0.5, burst: 10 };

    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self { share, .. } if !(0.0..=1.0).contains(share) => {
                Err("`budget.share` must be from 0 to 1 extra attempts per call")
            }
            Self { floor, .. } if !(0.0..=1000.0).contains(floor) => {
                Err("`budget.floor` must be from 0 to 1000 extra attempts a second")
            }
            Self { burst: 1001.., .. } => Err("`budget.burst` must be from 0 to 1000"),
            _ => Ok(()),
        }
    }
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self { share: 0.1, floor: 0.1, burst: 3 }
    }
}

/// What was paid for one extra attempt, and from what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Withdrawal {
    earned: f64,
    floor: f64,
}

/// What is left for extra attempts; plain data, so that one life of its owner can leave it to the next.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    policy: BudgetPolicy,
    /// First attempts of the window.
    firsts: SlidingSum,
    /// Earned by first attempts, less what was spent; the floor lends up to its burst.
    earned: f64,
    /// What the floor still gives.
    floor: f64,
    timeline: Timeline,
    latest: Nanos,
}

impl RetryBudget {
    /// Only the floor's burst to begin with.
    pub fn new(policy: BudgetPolicy, now: Instant) -> Self {
        let (firsts, timeline) = (SlidingSum::new(WINDOW), Timeline::new(now));
        Self { policy, firsts, earned: 0.0, floor: policy.burst.into(), timeline, latest: 0 }
    }

    /// Puts other settings in force; what was earned stays.
    pub fn configure(&mut self, policy: BudgetPolicy) {
        self.policy = policy;
    }

    /// Earns a first attempt's share.
    pub fn deposit(&mut self, now: Instant) {
        self.forward(now);
        self.firsts.add(1, self.latest);
        self.earned += self.policy.share;
    }

    /// Could an extra attempt be paid?
    pub fn affords(&mut self, now: Instant) -> bool {
        self.left(now) >= 1
    }

    /// Pays for an extra attempt; nothing: there must be none. It is taken from the share and from the floor,
    /// so that they do not add up.
    pub fn withdraw(&mut self, now: Instant) -> Option<Withdrawal> {
        let (earned, floor) = self.affords(now).then_some((self.earned, self.floor))?;
        self.earned = (earned - 1.0).max(-f64::from(self.policy.burst));
        self.floor = (floor - 1.0).max(0.0);
        Some(Withdrawal { earned: earned - self.earned, floor: floor - self.floor })
    }

    /// Takes back what was paid for an attempt that was not made.
    pub fn give_back(&mut self, Withdrawal { earned, floor }: Withdrawal) {
        self.earned += earned;
        self.floor = (self.floor + floor).min(self.policy.burst.into());
    }

    /// How many extra attempts could be paid now.
    pub fn left(&mut self, now: Instant) -> u64 {
        self.forward(now);
        (self.earned.max(self.floor) + TOLERANCE) as u64
    }

    fn forward(&mut self, now: Instant) {
        let before = self.latest;
        self.latest = self.timeline.at(now);
        let seconds = (self.latest - before) as f64 / 1e9;
        self.floor = (self.floor + self.policy.floor * seconds).min(self.policy.burst.into());
        let earnable = self.policy.share * self.firsts.sum(self.latest) as f64;
        self.earned = self.earned.min(earnable);
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
