//! What one life of an actor leaves to the next: plain data, kept outside of it.
//!
//! Data that made one life crash may make every life crash. So a vault that was opened too often within a short
//! time hands out its data afresh; what that means is the data's own business. Nothing here outlives the process.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// So many lives may begin with the same data within [`WITHIN`]; the next one begins afresh.
const LIVES: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);

/// Data that a vault can keep. It must be sound whenever it is left: a crash can come at any time.
pub trait Legacy: Clone + Send + 'static {
    /// What is left of it when it is suspected of causing crashes.
    #[must_use]
    fn afresh(&self) -> Self;
}

/// The data of one actor, for all its lives.
pub struct Vault<T>(Arc<Mutex<Kept<T>>>);

struct Kept<T> {
    data: T,
    opened: VecDeque<Instant>,
}

impl<T> Clone for Vault<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Legacy> Vault<T> {
    /// A vault for the first life.
    pub fn new(data: T) -> Self {
        Self(Arc::new(Mutex::new(Kept { data, opened: VecDeque::new() })))
    }

    /// Takes the data out for a life that begins now; true with it if it is afresh.
    pub fn open(&self, now: Instant) -> (T, bool) {
        let mut kept = self.kept();
        kept.opened.retain(|at| now.saturating_duration_since(*at) < WITHIN);
        let suspect = kept.opened.len() >= LIVES;
        if suspect {
            kept.opened.clear();
            kept.data = kept.data.afresh();
        }
        kept.opened.push_back(now);
        (kept.data.clone(), suspect)
    }

    /// Puts in what the next life shall begin with.
    pub fn leave(&self, data: T) {
        self.kept().data = data;
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Legacy for u32 {
        fn afresh(&self) -> Self {
            0
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn data_that_crashes_five_lives_in_a_row_is_begun_afresh() {
        let (vault, now) = (Vault::new(7), now());
        for _ in 0..LIVES {
            assert_eq!(vault.open(now), (7, false));
        }
        assert_eq!(vault.open(now), (0, true)); // B12
        vault.leave(8);
        assert_eq!(vault.open(now), (8, false), "and is trusted again");
    }

    #[test]
    fn lives_that_last_are_no_reason_for_suspicion() {
        let (vault, mut now) = (Vault::new(7), now());
        for _ in 0..100 {
            assert_eq!(vault.open(now), (7, false));
            now += WITHIN / 4;
        }
    }
}
