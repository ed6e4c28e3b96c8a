//! When a tier is left alone, and when it is tried again.
//!
//! One hung question is enough to leave it: whoever asks it next would wait as long. What fails fast may fail a few
//! times. Nobody's call is risked to find out whether it is back: the tier's actor asks.

use std::time::{Duration, Instant};

/// Fast failures in a row that close the gate.
const FAILURES: u32 = 3;
/// How long a tier is left alone; it doubles up to the second with every attempt in vain.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// What went wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It did not answer in time.
    Slow,
    /// It said that it failed.
    Failed,
}

/// Whether a tier may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open {
        /// How often in a row it has failed.
        failures: u32,
    },
    /// Nobody but its actor may, after some time.
    Closed {
        /// When it is tried again.
        until: Instant,
        /// How long it is left alone after that.
        next: Duration,
    },
}

impl Gate {
    /// A tier is not asked before its actor has found it well once.
    pub fn new(now: Instant) -> Self {
        Self::Closed { until: now, next: PAUSE.0 }
    }

    /// May callers ask?
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// When the actor is to try, if it is closed.
    pub fn try_at(&self) -> Option<Instant> {
        match self {
            Self::Open { .. } => None,
            Self::Closed { until, .. } => Some(*until),
        }
    }

    /// A question was answered, or its actor found it well.
    pub fn succeeded(&mut self) {
        *self = Self::Open { failures: 0 };
    }

    /// A question was not answered. True if that closes the gate.
    pub fn failed(&mut self, trouble: Trouble, now: Instant) -> bool {
        let Self::Open { failures } = self else { return false };
        *failures += 1;
        let closes = trouble == Trouble::Slow || *failures >= FAILURES;
        if closes {
            *self = Self::Closed { until: now + PAUSE.0, next: PAUSE.0 * 2 };
        }
        closes
    }

    /// The actor tried, and it is not well.
    pub fn tried_in_vain(&mut self, now: Instant) {
        if let Self::Closed { until, next } = self {
            (*until, *next) = (now + *next, (*next * 2).min(PAUSE.1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, ports::Clock};

    fn open() -> Gate {
        Gate::Open { failures: 0 }
    }

    #[test]
    fn one_hung_question_closes_it_and_three_failures_in_a_row_do() {
        let now = SystemClock.now();
        assert!(open().failed(Trouble::Slow, now)); // CA6
        let mut gate = open();
        assert!(!gate.failed(Trouble::Failed, now) && !gate.failed(Trouble::Failed, now));
        gate.succeeded();
        assert!(!gate.failed(Trouble::Failed, now) && !gate.failed(Trouble::Failed, now));
        assert!(gate.failed(Trouble::Failed, now) && !gate.is_open());
    }

    #[test]
    fn a_late_failure_does_not_prolong_the_pause() {
        let now = SystemClock.now();
        let mut gate = open();
        gate.failed(Trouble::Slow, now);
        let closed = gate;
        assert!(!gate.failed(Trouble::Slow, now + PAUSE.0 / 2));
        assert_eq!(gate, closed);
    }

    #[test]
    fn the_pause_doubles_up_to_five_seconds() {
        let mut now = SystemClock.now();
        let mut gate = open();
        gate.failed(Trouble::Slow, now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let until = gate.try_at().unwrap();
            pauses.push((until - now).as_millis());
            now = until;
            gate.tried_in_vain(now);
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000]);
        gate.succeeded();
        assert_eq!(gate, open());
    }
}
