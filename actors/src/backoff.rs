//! How long to wait before the n-th try: exponential, capped, jittered.
//!
//! One rule serves restarts, the breaker's open time and retries. It draws no chance of its own and knows no
//! clock. Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

/// No setting may ask for a longer delay.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How chance spreads a delay, so that many waiters do not come back together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// Anywhere between nothing and the full delay: for retries of independent callers.
    Full,
    /// The delay times `1 ± share`: where a minimum wait matters, as for restarts and open circuits.
    Spread(f64),
}

/// `min × 2^step`, at most `max`, then jittered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Delay of step 0, before jitter.
    pub min: Duration,
    /// No delay is longer than this, before jitter.
    pub max: Duration,
    /// How chance spreads it.
    pub jitter: Jitter,
}

impl Backoff {
    /// Says what is out of its range, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.jitter {
            Jitter::Spread(share) if !(0.0..=1.0).contains(&share) => {
                Err("a backoff's jitter must spread by a share from 0 to 1")
            }
            _ if self.min > self.max => Err("a backoff's shortest delay must not exceed its longest"),
            _ if self.max > MAX => Err("a backoff's longest delay must not exceed 24 h"),
            _ => Ok(()),
        }
    }

    /// The delay of `step` (from 0); `chance` is uniform in `[0, 1)`.
    pub fn delay(&self, step: u32, chance: f64) -> Duration {
        let full = self.full(step);
        match self.jitter {
            Jitter::Full => full.mul_f64(chance),
            Jitter::Spread(share) => full.mul_f64(1.0 - share + 2.0 * share * chance),
        }
    }

    /// The step after this one, as long as its delay is longer: whoever counts back from the cap then finds
    /// a shorter delay at once.
    pub(crate) fn longer(&self, step: u32) -> u32 {
        if self.full(step) < self.full(step.saturating_add(1)) { step + 1 } else { step }
    }

    fn full(&self, step: u32) -> Duration {
        self.min.saturating_mul(1 << step.min(30)).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_cap() {
        let backoff = Backoff { min: SECOND, max: 5 * SECOND, jitter: Jitter::Spread(0.0) };
        let delays: Vec<_> = (0..5).map(|step| backoff.delay(step, 0.5).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn there_is_no_longer_step_than_the_one_that_reaches_the_cap() {
        let backoff = |min, max| Backoff { min, max, jitter: Jitter::Full };
        let steps_of = |backoff: Backoff| [0, 1, 2, 3, u32::MAX].map(|step| backoff.longer(step));
        assert_eq!(steps_of(backoff(SECOND, 5 * SECOND)), [1, 2, 3, 3, u32::MAX]);
        assert_eq!(steps_of(backoff(SECOND, SECOND)), [0, 1, 2, 3, u32::MAX]);
        assert_eq!(steps_of(backoff(Duration::ZERO, SECOND)), [0, 1, 2, 3, u32::MAX]);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds_for_every_step(step in 0u32..=u32::MAX, chance in 0.0..1.0f64) {
            let spread = Backoff { min: SECOND, max: 60 * SECOND, jitter: Jitter::Spread(0.2) };
            let full = Backoff { jitter: Jitter::Full, ..spread };
            let delay = spread.delay(step, chance);
            prop_assert!(delay >= SECOND.mul_f64(0.8) && delay <= (60 * SECOND).mul_f64(1.2));
            prop_assert!(full.delay(step, chance) <= 60 * SECOND);
        }
    }
}
