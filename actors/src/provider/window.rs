//! How the last calls went: a window that really slides.
//!
//! Of so many calls, each outcome is kept until that many newer ones have come; of so much time, outcomes are kept
//! in ten parts that are dropped whole, so that none is counted when it is older than the time and a tenth of it.
//! What follows from the counts is not decided here.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Into how many parts a time is divided.
const PARTS: u32 = 10;

/// How far back outcomes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last so many calls.
    Calls(u32),
    /// The last so long.
    Time(Duration),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) calls: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
}

impl Tally {
    pub(crate) const ANSWERED: Self = Self { calls: 1, failed: 0, slow: 0 };
    pub(crate) const FAILED: Self = Self { calls: 1, failed: 1, slow: 0 };
    pub(crate) const SLOW: Self = Self { calls: 1, failed: 0, slow: 1 };

    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.slow += other.slow;
    }

    fn take(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }

    /// Is at least `share` of the calls among the `counted` ones?
    pub(crate) fn reaches(self, counted: u32, share: f64) -> bool {
        f64::from(counted) >= share * f64::from(self.calls)
    }
}

/// The outcomes within a window.
#[derive(Clone, Debug)]
pub(crate) struct Outcomes {
    window: Window,
    parts: VecDeque<(Instant, Tally)>,
    sum: Tally,
}

impl Outcomes {
    pub(crate) fn new(window: Window) -> Self {
        Self { window, parts: VecDeque::new(), sum: Tally::default() }
    }

    pub(crate) fn count(&mut self, outcome: Tally, now: Instant) {
        self.forget(now);
        self.sum.add(outcome);
        let joins = match self.window {
            Window::Calls(_) => false,
            Window::Time(time) => self.parts.back().is_some_and(|(since, _)| now < *since + time / PARTS),
        };
        match self.parts.back_mut().filter(|_| joins) {
            Some((_, part)) => part.add(outcome),
            None => self.parts.push_back((now, outcome)),
        }
        self.forget(now);
    }

    /// What is within the window now.
    pub(crate) fn tally(&mut self, now: Instant) -> Tally {
        self.forget(now);
        self.sum
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.window);
    }

    fn forget(&mut self, now: Instant) {
        let window = self.window;
        let outdated = |parts: &VecDeque<(Instant, Tally)>| match window {
            Window::Calls(calls) => parts.len() > calls as usize,
            Window::Time(time) => {
                let age = |since: &Instant| now.saturating_duration_since(*since);
                parts.front().is_some_and(|(since, _)| age(since) >= time + time / PARTS)
            }
        };
        while outdated(&self.parts) {
            if let Some((_, part)) = self.parts.pop_front() {
                self.sum.take(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    fn start() -> Instant {
        Instant::now()
    }

    fn outcome() -> impl Strategy<Value = Tally> {
        prop::sample::select(vec![Tally::ANSWERED, Tally::FAILED, Tally::SLOW])
    }

    fn sum<'a>(outcomes: impl Iterator<Item = &'a Tally>) -> Tally {
        outcomes.fold(Tally::default(), |mut sum, outcome| {
            sum.add(*outcome);
            sum
        })
    }

    proptest! {
        #[test]
        fn of_so_many_calls_exactly_the_last_ones_count(
            size in 1u32..20,
            outcomes in vec(outcome(), 0..60),
        ) {
            let (mut window, now) = (Outcomes::new(Window::Calls(size)), start());
            for (at, outcome) in outcomes.iter().enumerate() {
                window.count(*outcome, now);
                let first = (at + 1).saturating_sub(size as usize);
                prop_assert_eq!(window.tally(now), sum(outcomes[first..=at].iter())); // PC7
            }
        }

        #[test]
        fn of_so_much_time_nothing_younger_is_missed_and_nothing_older_than_a_tenth_more_counts(
            steps in vec((0u64..3000, outcome()), 0..60),
        ) {
            let (mut window, start) = (Outcomes::new(Window::Time(Duration::from_secs(10))), start());
            let (mut ms, mut all) = (0, Vec::new());
            for (step, outcome) in steps {
                ms += step;
                window.count(outcome, start + Duration::from_millis(ms));
                all.push((ms, outcome));
                let within = |age| sum(all.iter().filter(|(at, _)| ms - at < age).map(|(_, outcome)| outcome));
                let counted = window.tally(start + Duration::from_millis(ms));
                prop_assert!(within(10_000).calls <= counted.calls && counted.calls <= within(11_000).calls); // PC7
                prop_assert!(within(10_000).slow <= counted.slow && counted.slow <= within(11_000).slow);
                prop_assert!(window.parts.len() <= 12, "bounded");
            }
        }
    }

    #[test]
    fn silence_empties_a_time_and_leaves_a_number_of_calls_alone() {
        let (now, later) = (start(), start() + Duration::from_secs(11));
        for (window, left) in [(Window::Time(Duration::from_secs(10)), 0), (Window::Calls(10), 1)] {
            let mut outcomes = Outcomes::new(window);
            outcomes.count(Tally::FAILED, now);
            assert_eq!(outcomes.tally(later).failed, left);
        }
    }
}
