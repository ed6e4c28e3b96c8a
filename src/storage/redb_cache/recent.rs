//! Which entries were used since the writer last thought of evicting them: one bit each.
//!
//! Two keys may share a bit; then one of them stays a round longer than it deserves. Nothing of this is kept: after
//! a restart, what was written first goes first until it is used.

use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_actors::cache::key::Key;

/// A bit for about every entry of this size.
const BYTES_PER_BIT: u64 = 512;

pub(super) struct Recent(Box<[AtomicU64]>);

impl Recent {
    /// For a cache of this many bytes; it takes a 4 096th of that itself, and at most 8 MiB.
    pub(super) fn new(capacity: u64) -> Self {
        let words = (capacity / BYTES_PER_BIT / 64).clamp(16, 1 << 20);
        Self((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    /// This key was used.
    pub(super) fn mark(&self, key: &Key) {
        let (word, bit) = self.place(key);
        // Most hits are on marked ones: reading leaves the cache line shared.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Was it used since the last time that this was asked?
    pub(super) fn take(&self, key: &Key) -> bool {
        let (word, bit) = self.place(key);
        word.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }

    fn place(&self, Key(key): &Key) -> (&AtomicU64, u64) {
        let hash = key.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        let word = (hash / 64) as usize % self.0.len();
        (&self.0[word], 1 << (hash % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_told_once() {
        let recent = Recent::new(1 << 20);
        let (used, other) = (Key([1; 32]), Key([2; 32]));
        recent.mark(&used);
        assert_eq!((recent.take(&used), recent.take(&used), recent.take(&other)), (true, false, false));
    }
}
