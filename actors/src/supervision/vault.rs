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

/// Data that a vault can keep. It must be sound after each piece of work on it: a crash can come at any time.
pub trait Legacy: Send + 'static {
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

    /// Begins a life that begins now with the data; true if it is afresh.
    pub fn open(&self, now: Instant) -> bool {
        let mut kept = self.kept();
        kept.opened.retain(|at| now.saturating_duration_since(*at) < WITHIN);
        let suspect = kept.opened.len() >= LIVES;
        if suspect {
            kept.opened.clear();
            kept.data = kept.data.afresh();
        }
        kept.opened.push_back(now);
        suspect
    }

    /// Works on the data where it lies. Whatever stands there when a crash comes is what the next life finds.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.kept().data)
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

    fn opened(vault: &Vault<u32>, now: Instant) -> (u32, bool) {
        let afresh = vault.open(now);
        (vault.with(|data| *data), afresh)
    }

    #[test]
    fn data_that_crashes_five_lives_in_a_row_is_begun_afresh() {
        let (vault, now) = (Vault::new(7), now());
        for _ in 0..LIVES {
            assert_eq!(opened(&vault, now), (7, false));
        }
        assert_eq!(opened(&vault, now), (0, true)); // B12
        vault.with(|data| *data = 8);
        assert_eq!(opened(&vault, now), (8, false), "and is trusted again");
    }

    #[test]
    fn lives_that_last_are_no_reason_for_suspicion() {
        let (vault, mut now) = (Vault::new(7), now());
        for _ in 0..100 {
            assert_eq!(opened(&vault, now), (7, false));
            now += WITHIN / 4;
        }
    }
}
