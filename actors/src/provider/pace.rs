//! How long a model usually takes to its first token: what a call with little time left has to know.
//!
//! Each new time weighs an eighth, so that a few outliers do not matter. Where callers are turned away for it, no new
//! times come in: so each of them also takes an eighth off, and after a few the next one tries. Nothing is decided here.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The usual time, in microseconds. Of two writers at once one may be lost, no more.
#[derive(Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// A stream had its first content after this time.
    pub(crate) fn learn(&self, time: Duration) {
        let (old, new) = (self.0.load(Ordering::Relaxed), time.as_micros() as u64);
        let blend = if old == 0 { new } else { old - old / 8 + new / 8 };
        self.0.store(blend, Ordering::Relaxed);
    }

    /// A caller was turned away because it would take too long.
    pub(crate) fn doubt(&self) {
        let old = self.0.load(Ordering::Relaxed);
        self.0.store(old - old / 8, Ordering::Relaxed);
    }

    /// How long until the first content; nothing, while nothing is known.
    pub(crate) fn expected(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_usual_time_is_learnt_and_an_outlier_weighs_little() {
        let pace = Pace::default();
        assert_eq!(pace.expected(), Duration::ZERO);
        pace.learn(SECOND);
        assert_eq!(pace.expected(), SECOND);
        pace.learn(9 * SECOND);
        assert_eq!(pace.expected(), 2 * SECOND);
        (0..100).for_each(|_| pace.learn(SECOND));
        assert!(pace.expected() < SECOND + SECOND / 100);
    }

    #[test]
    fn those_that_are_turned_away_make_sure_that_somebody_tries_again() {
        let pace = Pace::default();
        pace.learn(3600 * SECOND);
        let turned_away = (0..100).take_while(|_| {
            pace.doubt();
            pace.expected() > SECOND
        });
        assert!(turned_away.count() < 70);
    }
}
