//! How much happened within the last period, in bounded memory.
//!
//! Amounts that come close together share an entry and leave with the last of them: never early, and at most a
//! 64th of the period late. So a limit on this sum holds in every period, wherever it begins. Whoever uses it
//! passes a time that does not run backwards.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// An entry takes in what comes within this part of the period.
const GRAINS: u32 = 64;

/// A sum over the last period.
#[derive(Clone, Debug)]
pub(super) struct SlidingSum {
    period: Duration,
    entries: VecDeque<Entry>,
    sum: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    first: Instant,
    last: Instant,
    amount: u64,
}

impl SlidingSum {
    pub(super) fn new(period: Duration) -> Self {
        Self { period, entries: VecDeque::new(), sum: 0 }
    }

    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// Counts over another period from now on; what has left does not come back.
    pub(super) fn set_period(&mut self, period: Duration) {
        self.period = period;
    }

    /// What was added within the last period.
    pub(super) fn sum(&mut self, now: Instant) -> u64 {
        while let Some(entry) = self.entries.front()
            && entry.last + self.period <= now
        {
            self.sum = self.sum.saturating_sub(entry.amount);
            self.entries.pop_front();
        }
        self.sum
    }

    pub(super) fn add(&mut self, amount: u64, now: Instant) {
        self.sum = self.sum(now).saturating_add(amount);
        match self.entries.back_mut() {
            Some(entry) if now < entry.first + self.period / GRAINS => {
                entry.last = now;
                entry.amount = entry.amount.saturating_add(amount);
            }
            _ => self.entries.push_back(Entry { first: now, last: now, amount }),
        }
    }

    /// Takes back some of what was added at `at`, unless it has left already.
    pub(super) fn take_back(&mut self, amount: u64, at: Instant) {
        let entry = self.entries.iter_mut().rev().find(|entry| entry.first <= at);
        if let Some(entry) = entry.filter(|entry| at <= entry.last) {
            let amount = amount.min(entry.amount);
            entry.amount -= amount;
            self.sum = self.sum.saturating_sub(amount);
        }
    }

    /// What will leave, and when, in that order.
    pub(super) fn leaving(&self) -> impl Iterator<Item = (Instant, u64)> {
        self.entries.iter().map(|entry| (entry.last + self.period, entry.amount))
    }

    /// What a period would hold if it went on as since the oldest entry; a burst counts as a sixth of a period.
    pub(super) fn pace(&mut self, now: Instant) -> f64 {
        let sum = self.sum(now) as f64;
        let oldest = self.entries.front().map_or(now, |entry| entry.first);
        let age = now.saturating_duration_since(oldest).clamp(self.period / 6, self.period);
        sum * self.period.as_secs_f64() / age.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const PERIOD: Duration = Duration::from_secs(64);
    const GRAIN: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn what_came_at_once_leaves_exactly_a_period_later() {
        let (mut sum, start) = (SlidingSum::new(PERIOD), start());
        (0..100).for_each(|_| sum.add(1, start));
        assert_eq!(sum.sum(start + PERIOD - Duration::from_nanos(1)), 100);
        assert_eq!(sum.sum(start + PERIOD), 0);
    }

    #[test]
    fn the_pace_of_a_burst_and_of_a_steady_flow() {
        let (mut sum, start) = (SlidingSum::new(PERIOD), start());
        assert_eq!(sum.pace(start), 0.0);
        sum.add(10, start);
        assert!((sum.pace(start) - 60.0).abs() < 0.01);
        (1..640).for_each(|n| sum.add(10, start + n * GRAIN));
        assert!((sum.pace(start + 640 * GRAIN) - 640.0).abs() < 20.0);
    }

    proptest! {
        #[test]
        fn nothing_leaves_early_or_more_than_a_grain_late(
            steps in vec((0u64..5_000, 0u64..10, any::<bool>()), 1..500),
        ) {
            let (mut sum, mut now) = (SlidingSum::new(PERIOD), start());
            let mut added: Vec<(Instant, u64)> = Vec::new();
            for (ms, amount, back) in steps {
                now += Duration::from_millis(ms);
                sum.add(amount, now);
                added.push((now, amount));
                if back {
                    let chosen = added.len() * 3 / 4;
                    let (at, amount) = added[chosen];
                    sum.take_back(amount / 2, at);
                    added[chosen].1 -= amount / 2;
                }
                let within = |period: Duration| -> u64 {
                    added.iter().filter(|(at, _)| *at + period > now).map(|(_, amount)| amount).sum()
                };
                let is = sum.sum(now);
                prop_assert!(within(PERIOD) <= is && is <= within(PERIOD + GRAIN), "{is}");
                prop_assert!(sum.entries.len() <= GRAINS as usize + 2);
                prop_assert_eq!(sum.leaving().map(|(_, amount)| amount).sum::<u64>(), is);
            }
        }
    }
}
