//! The library that the memory rests on, used with the same care and nothing around it.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use mainstay::actors::cache::{entry::Entry, key::Key};
use quick_cache::{UnitWeighter, sync::Cache};

/// Takes a digest for what it is.
#[derive(Default)]
pub(crate) struct Digest(u64);

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

type QuickCache = Cache<Key, Arc<Entry>, UnitWeighter, BuildHasherDefault<Digest>>;

/// Room for so many.
pub(crate) fn quick_cache(entries: usize) -> QuickCache {
    let hasher = BuildHasherDefault::default();
    // Its parts are of different sizes by chance: none may be too small.
    let room = 2 * entries;
    Cache::with(room, room as u64, UnitWeighter, hasher, quick_cache::sync::DefaultLifecycle::default())
}
