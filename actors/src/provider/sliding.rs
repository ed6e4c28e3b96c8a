//! How much happened within the last period, in bounded memory and in few nanoseconds.
//!
//! Amounts that come close together share an entry and leave with the last of them: never early, and at most a
//! 64th of the period late. So a limit on this sum holds in every period, wherever it begins. Time is counted in
//! nanoseconds along a [`Timeline`]: sums of it are cheap and exact.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// An entry takes in what comes within this part of the period.
const GRAINS: Nanos = 64;

/// Nanoseconds along a [`Timeline`], or between two points of it: enough for 500 years.
pub(super) type Nanos = u64;

pub(super) fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

/// Time that never runs backwards: callers read the clock before they come to a rule, so the times they bring may be
/// a little out of order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    start: Instant,
    latest: Nanos,
}

impl Timeline {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, latest: 0 }
    }

    pub(super) fn at(&mut self, now: Instant) -> Nanos {
        self.latest = self.latest.max(nanos(now.saturating_duration_since(self.start)));
        self.latest
    }
}

/// A sum over the last period.
#[derive(Clone, Debug)]
pub(super) struct SlidingSum {
    period: Nanos,
    entries: VecDeque<Entry>,
    sum: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    first: Nanos,
    last: Nanos,
    amount: u64,
}

impl SlidingSum {
    pub(super) fn new(period: Duration) -> Self {
        Self { period: nanos(period), entries: VecDeque::new(), sum: 0 }
    }

    pub(super) fn period(&self) -> Nanos {
        self.period
    }

    /// Counts over another period from now on; what has left does not come back.
    pub(super) fn set_period(&mut self, period: Duration) {
        self.period = nanos(period);
    }

    /// What was added within the last period.
    pub(super) fn sum(&mut self, now: Nanos) -> u64 {
        while let Some(entry) = self.entries.front()
            && entry.last + self.period <= now
        {
            self.sum = self.sum.saturating_sub(entry.amount);
            self.entries.pop_front();
        }
        self.sum
    }

    pub(super) fn add(&mut self, amount: u64, now: Nanos) {
        self.sum = self.sum(now).saturating_add(amount);
        match self.entries.back_mut() {
            Some(entry) if now - entry.first < self.period / GRAINS => {
                entry.last = now;
                entry.amount = entry.amount.saturating_add(amount);
            }
            _ => self.entries.push_back(Entry { first: now, last: now, amount }),
        }
    }

    /// Takes back some of what was added at `at`, unless it has left already.
    pub(super) fn take_back(&mut self, amount: u64, at: Nanos) {
        let entry = self.entries.iter_mut().rev().find(|entry| entry.first <= at);
        if let Some(entry) = entry.filter(|entry| at <= entry.last) {
            let amount = amount.min(entry.amount);
            entry.amount -= amount;
            self.sum = self.sum.saturating_sub(amount);
        }
    }

    /// How long until no more than `most` is left of the sum.
    pub(super) fn until(&mut self, most: f64, now: Nanos) -> Nanos {
        let mut left = self.sum(now);
        let mut leaves = now;
        for entry in &self.entries {
            if left as f64 <= most {
                break;
            }
            (left, leaves) = (left.saturating_sub(entry.amount), entry.last + self.period);
        }
        leaves - now
    }

    /// What a period would hold if it went on as since the oldest entry; a burst counts as a sixth of a period.
    pub(super) fn pace(&mut self, now: Nanos) -> f64 {
        let sum = self.sum(now) as f64;
        let oldest = self.entries.front().map_or(now, |entry| entry.first);
        let age = (now - oldest).clamp(self.period / 6, self.period);
        sum * self.period as f64 / age as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const SECOND: Nanos = 1_000_000_000;
    const PERIOD: Nanos = 64 * SECOND;

    fn sum_over_a_period() -> SlidingSum {
        SlidingSum::new(Duration::from_nanos(PERIOD))
    }

    #[test]
    fn what_came_at_once_leaves_exactly_a_period_later() {
        let mut sum = sum_over_a_period();
        (0..100).for_each(|_| sum.add(1, SECOND));
        assert_eq!(sum.sum(SECOND + PERIOD - 1), 100);
        assert_eq!(sum.sum(SECOND + PERIOD), 0);
    }

    #[test]
    fn the_pace_of_a_burst_and_of_a_steady_flow() {
        let mut sum = sum_over_a_period();
        assert_eq!(sum.pace(0), 0.0);
        sum.add(10, 0);
        assert!((sum.pace(0) - 60.0).abs() < 0.01);
        (1..640).for_each(|n| sum.add(10, n * SECOND));
        assert!((sum.pace(640 * SECOND) - 640.0).abs() < 20.0);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    fn time_never_runs_backwards() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        assert_eq!(timeline.at(start + Duration::from_secs(2)), 2 * SECOND);
        assert_eq!(timeline.at(start + Duration::from_secs(1)), 2 * SECOND);
        assert_eq!(timeline.at(start + Duration::from_secs(3)), 3 * SECOND);
    }

    proptest! {
        #[test]
        fn nothing_leaves_early_or_more_than_a_grain_late(
            steps in vec((0u64..5_000_000_000, 0u64..10, any::<bool>()), 1..500),
            most in 0u64..50,
        ) {
            let (mut sum, mut now) = (sum_over_a_period(), 0);
            let mut added: Vec<(Nanos, u64)> = Vec::new();
            for (passed, amount, back) in steps {
                now += passed;
                sum.add(amount, now);
                added.push((now, amount));
                if back {
                    let chosen = added.len() * 3 / 4;
                    let (at, amount) = added[chosen];
                    sum.take_back(amount / 2, at);
                    added[chosen].1 -= amount / 2;
                }
                let within = |period: Nanos| -> u64 {
                    added.iter().filter(|(at, _)| at + period > now).map(|(_, amount)| amount).sum()
                };
                let is = sum.sum(now);
                prop_assert!(within(PERIOD) <= is && is <= within(PERIOD + SECOND), "{is}");
                prop_assert!(sum.entries.len() <= GRAINS as usize + 2);
                let until = sum.until(most as f64, now);
                prop_assert!(sum.clone().sum(now + until) <= most);
                prop_assert!(until == 0 || sum.clone().sum(now + until - 1) > most);
            }
        }
    }
}
