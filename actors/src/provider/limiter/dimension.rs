//! One limit of a provider and what was used of it: requests, or tokens of one kind.
//!
//! Two rules can hold, alone or together. A sliding sum keeps a limit in every period, wherever it begins: for
//! what the operator promised, and for guesses. A leaky bucket (GCRA, ITU-T I.371) spreads a limit over its
//! period, as the providers refill theirs. Which dimensions a call touches is decided in the parent module.

use std::time::Duration;

use super::super::sliding::{Nanos, SlidingSum};
use crate::call::Allowance;

/// No single amount and no limit is taken to be larger than this.
pub(super) const MOST: u64 = 1_000_000_000_000;
/// The share of a limit that is spread that may be used at once.
const BURST: f64 = 1.0 / 6.0;
/// A limit that was cut grows by this share of what it was, each period.
const REGROWTH: f64 = 0.05;
/// Where nothing at all is known, the first guess begins at this many a period, or at the present pace.
const FIRST_GUESS: f64 = 60.0;
/// A reset later than this does not belong to a limit per minute.
const LATEST_RESET: Duration = Duration::from_secs(120);
/// Of rounding, in requests or tokens.
const TOLERANCE: f64 = 1e-6;
/// Who waits as told must not be a hair too early.
const ROUNDING: Nanos = 1_000;

/// One limit.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    pub(super) name: &'static str,
    /// What the operator allows in a period.
    configured: Option<u64>,
    /// What the provider says that it allows.
    told: Option<u64>,
    /// The smaller of them.
    known: Option<f64>,
    /// What refusals without an explanation have taught.
    guess: Option<Guess>,
    /// May a period's worth come at once?
    at_once: bool,
    used: SlidingSum,
    owed: f64,
    drained: Nanos,
    /// When the provider last counted more than we did.
    taught: Nanos,
}

impl Dimension {
    /// A limit that is spread over its period.
    pub(super) fn spread(name: &'static str, period: Duration) -> Self {
        Self {
            name,
            configured: None,
            told: None,
            known: None,
            guess: None,
            at_once: false,
            used: SlidingSum::new(period),
            owed: 0.0,
            drained: 0,
            taught: 0,
        }
    }

    /// A limit that holds in any period, and may be used up at once.
    pub(super) fn at_once(name: &'static str, period: Duration) -> Self {
        Self { at_once: true, ..Self::spread(name, period) }
    }

    pub(super) fn configure(&mut self, limit: Option<u64>) {
        self.configured = limit;
        self.know();
    }

    fn know(&mut self) {
        let least = [self.configured, self.told].into_iter().flatten().min();
        self.known = least.map(|limit| limit as f64);
    }

    pub(super) fn set_period(&mut self, period: Duration) {
        self.used.set_period(period);
    }

    /// The limit that holds now; none: everything passes.
    pub(super) fn limit(&self, now: Nanos) -> Option<f64> {
        match (self.known, self.guess(now)) {
            (Some(known), Some(guess)) => Some(known.min(guess)),
            (known, guess) => known.or(guess),
        }
    }

    fn guess(&self, now: Nanos) -> Option<f64> {
        self.guess.map(|guess| guess.limit(now))
    }

    /// What no period may exceed.
    fn bound(&self, now: Nanos) -> Option<f64> {
        if self.at_once { self.limit(now) } else { self.guess(now) }
    }

    /// What is spread over a period.
    fn pace(&self, now: Nanos) -> Option<f64> {
        if self.at_once { self.guess(now) } else { self.limit(now) }
    }

    pub(super) fn used(&mut self, now: Nanos) -> u64 {
        self.used.sum(now)
    }

    pub(super) fn owed(&self) -> f64 {
        self.owed
    }

    /// How long until so much may be used; more than the limit counts as all of it.
    pub(super) fn wait(&mut self, demand: u64, now: Nanos) -> Nanos {
        if demand == 0 {
            return 0;
        }
        self.drain(now);
        let paced = self.pace(now).map(|pace| self.wait_for_pace(demand as f64, pace));
        let bound = self.bound(now).map(|bound| self.used.until(bound - (demand as f64).min(bound), now));
        paced.max(bound).unwrap_or_default()
    }

    fn wait_for_pace(&self, demand: f64, pace: f64) -> Nanos {
        let burst = pace * BURST;
        let excess = self.owed.min(pace) + demand.min(burst) - burst;
        match excess > TOLERANCE {
            true => (excess / pace * self.used.period() as f64) as Nanos + ROUNDING,
            false => 0,
        }
    }

    /// Uses so much, and says what was counted.
    pub(super) fn take(&mut self, demand: u64, now: Nanos) -> u64 {
        let charged = self.limit(now).map_or(demand.min(MOST), |limit| demand.min(limit as u64));
        self.charge(charged, now);
        charged
    }

    /// Puts right what was counted at `at`: an estimate that was too high is given back, one that was too low
    /// is owed, though never more than a period's worth.
    pub(super) fn correct(&mut self, charged: u64, actual: u64, at: Nanos, now: Nanos) {
        if actual > charged {
            self.charge((actual - charged).min(MOST), now);
        } else if actual < charged {
            self.drain(now);
            self.used.take_back(charged - actual, at);
            self.owed = (self.owed - (charged - actual) as f64).max(0.0);
        }
    }

    fn charge(&mut self, amount: u64, now: Nanos) {
        if amount > 0 {
            self.drain(now);
            self.used.add(amount, now);
            self.owed += amount as f64;
        }
    }

    fn drain(&mut self, now: Nanos) {
        if self.drained == now {
            return;
        }
        let periods = (now - self.drained) as f64 / self.used.period() as f64;
        self.owed = self.pace(now).map_or(0.0, |pace| (self.owed.min(pace) - pace * periods).max(0.0));
        self.drained = now;
    }

    /// Takes in what the provider says about a call of `at`. Where it would have left less for that call than
    /// we thought, with `owed` before it, others use the same limit: the difference is owed too, once for the
    /// calls of one round trip.
    pub(super) fn learn(&mut self, told: Told, owed: f64, at: Nanos, now: Nanos) {
        self.drain(now);
        if let Some(limit) = told.limit() {
            self.told = Some(limit);
            self.know();
        }
        if let (Some(limit), Some(left)) = (self.limit(now), told.left())
            && at >= self.taught
        {
            let unseen = limit * BURST - left as f64 - owed;
            if unseen > TOLERANCE {
                self.owed += unseen;
                self.taught = now;
            }
        }
    }

    /// The limit was hit: from now on it is taken for this share of what we thought, and kept in any period.
    pub(super) fn cut(&mut self, share: f64, now: Nanos) {
        let base = self.limit(now).unwrap_or_else(|| self.used.pace(now).max(FIRST_GUESS));
        self.guess = Some(Guess::new(base, share, self.used.period(), now));
    }

    /// Nothing is left, not even what was refused.
    pub(super) fn empty(&mut self, refused: u64, now: Nanos) {
        self.drain(now);
        let burst = self.pace(now).unwrap_or_default() * BURST;
        self.owed = self.owed.max(burst).max(refused as f64);
    }
}

/// What the provider says about one dimension, for one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    allowance: Allowance,
    /// What of the call is no longer in `remaining`.
    counted: u64,
}

impl Told {
    pub(super) fn new(allowance: Allowance, counted: u64) -> Self {
        Self { allowance, counted }
    }

    fn limit(self) -> Option<u64> {
        self.allowance.limit.filter(|_| self.is_plausible())
    }

    /// What was left before the call.
    fn left(self) -> Option<u64> {
        let remaining = self.allowance.remaining.filter(|_| self.limit().is_some());
        remaining.map(|remaining| remaining.saturating_add(self.counted))
    }

    /// Does that explain why so much was refused?
    pub(super) fn explains(self, demand: u64) -> bool {
        self.left().is_some_and(|left| left < demand)
    }

    fn is_plausible(self) -> bool {
        let Allowance { limit, remaining, reset } = self.allowance;
        limit.is_some_and(|limit| (1..=MOST).contains(&limit) && remaining.unwrap_or(0) <= 2 * limit)
            && reset.is_none_or(|reset| reset <= LATEST_RESET)
    }
}

/// A limit that nobody told: cut by refusals, growing with time.
#[derive(Clone, Copy, Debug)]
struct Guess {
    cut_to: f64,
    /// Per nanosecond.
    growth: f64,
    since: Nanos,
}

impl Guess {
    fn new(base: f64, share: f64, period: Nanos, now: Nanos) -> Self {
        Self { cut_to: (base * share).max(1.0), growth: base * REGROWTH / period as f64, since: now }
    }

    fn limit(self, now: Nanos) -> f64 {
        self.cut_to + self.growth * (now - self.since) as f64
    }
}
