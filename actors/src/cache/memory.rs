//! The tier in this process: entries as they are, bounded by their bytes.
//!
//! What goes first when it is full is the library's business (quick_cache: Clock-PRO, which a scan does not flush).
//! Readers call it directly; its actor only sweeps and counts.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::{BoxFuture, ready};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache};

use super::{
    entry::{Entry, Freshness, UnixMs},
    key::Key,
    marks::{Mark, Marks},
};
use crate::ports::{CacheStore, Fill, Found, StoreError, Tidied};

/// What an entry is expected to weigh, for the size of the tables.
const TYPICAL: u64 = 4096;
/// As much of the whole as one entry may take: parts of the store are locked and bounded by themselves.
const SHARDS: usize = 8;

/// A digest is a hash already; its length, which is written before it, does not matter.
#[derive(Clone, Copy, Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Entry>> for ByBytes {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        entry.weight() as u64
    }
}

/// Counts what had to make room.
#[derive(Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Key, Arc<Entry>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Arc<Entry>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Entries in memory.
pub struct MemoryStore {
    cache: Cache<Key, Arc<Entry>, ByBytes, BuildHasherDefault<Digest>, Evictions>,
    evictions: Evictions,
    capacity: u64,
}

impl MemoryStore {
    /// A store of so many bytes.
    pub fn new(capacity: u64) -> Self {
        let evictions = Evictions::default();
        let mut options = OptionsBuilder::new();
        let expected = (capacity / TYPICAL).clamp(64, 1 << 20) as usize;
        options.weight_capacity(capacity).estimated_items_capacity(expected).shards(SHARDS);
        // Only missing settings are an error, and none is.
        #[allow(clippy::expect_used)]
        let options = options.build().expect("all settings are given");
        let cache = Cache::with_options(options, ByBytes, BuildHasherDefault::default(), evictions.clone());
        Self { cache, evictions, capacity }
    }

    /// The entry under this key.
    pub fn find(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.get(key)
    }

    /// Keeps an entry, if it fits.
    pub fn keep(&self, key: Key, entry: Arc<Entry>) {
        self.cache.insert(key, entry);
    }

    fn sweep(&self, now: UnixMs, marks: &Marks) -> u64 {
        let before = self.cache.len();
        self.cache.retain(|key, entry| entry.windows.at(now) != Freshness::Over && marks.allow(key, entry));
        before.saturating_sub(self.cache.len()) as u64
    }

    fn size(&self) -> Fill {
        Fill { entries: self.cache.len() as u64, bytes: self.cache.weight(), capacity: Some(self.capacity) }
    }
}

impl CacheStore for MemoryStore {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Found, StoreError>> {
        Box::pin(ready(Ok(self.find(&key).map_or(Found::Nothing, Found::Entry))))
    }

    fn put(&self, entries: Vec<(Key, Arc<Entry>)>) -> BoxFuture<'_, Result<(), StoreError>> {
        entries.into_iter().for_each(|(key, entry)| self.keep(key, entry));
        Box::pin(ready(Ok(())))
    }

    /// It has nobody to share marks with.
    fn exchange(&self, _: Vec<Mark>) -> BoxFuture<'_, Result<Vec<Mark>, StoreError>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn tidy(&self, now: UnixMs, marks: &Marks) -> BoxFuture<'_, Result<Tidied, StoreError>> {
        let expired = self.sweep(now, marks);
        let evicted = self.evictions.0.swap(0, Ordering::Relaxed);
        Box::pin(ready(Ok(Tidied { expired, evicted })))
    }

    fn fill(&self) -> BoxFuture<'_, Result<Fill, StoreError>> {
        Box::pin(ready(Ok(self.size())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::entry;

    fn key(n: u64) -> Key {
        let mut rng = fastrand::Rng::with_seed(n);
        Key(std::array::from_fn(|_| rng.u8(..)))
    }

    #[test]
    fn the_bound_holds_under_random_load() {
        let store = MemoryStore::new(4 << 20);
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            store.keep(key(rng.u64(..5_000)), entry(rng.usize(..20_000)));
            assert!(store.size().bytes <= (4 << 20) + (4 << 20) / 100); // CA7
        }
        assert!(store.size().bytes > 3 << 20);
        assert!(store.evictions.0.load(Ordering::Relaxed) > 10_000);
    }

    #[test]
    fn a_scan_does_not_flush_what_is_used() {
        let store = MemoryStore::new(1 << 20);
        let used: Vec<_> = (0..50).map(key).collect();
        used.iter().for_each(|key| store.keep(*key, entry(1000)));
        for n in 1_000..20_000 {
            store.keep(key(n), entry(1000));
            store.find(&used[n as usize % used.len()]);
        }
        let left = used.iter().filter(|key| store.find(key).is_some()).count();
        assert!(left > 40, "{left}");
    }

    #[test]
    fn a_sweep_takes_out_what_nobody_can_see() {
        let (store, marks) = (MemoryStore::new(1 << 20), Marks::default());
        (0..10).for_each(|n| store.keep(key(n), entry(10)));
        assert_eq!(store.sweep(0, &marks), 0);
        marks.purge(crate::cache::marks::Purge::Key(key(3)), 5_000);
        assert_eq!(store.sweep(0, &marks), 1);
        assert_eq!(store.sweep(u64::MAX, &marks), 9);
    }
}
