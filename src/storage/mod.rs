//! Where things are kept that outlive the process: the few facts that one boot leaves to the next, and answers.
//!
//! Calls for facts block: they happen at start and on rare changes, never on the request path.

mod redb_cache;
mod redb_file;
mod redb_state;
#[cfg(feature = "redis")]
pub mod redis_cache;
pub mod row;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use mainstay_actors::ports::{StateStore, StoreError};

pub use redb_cache::{OpenedCache, RedbCache};
pub use redb_state::{Opened, RedbState};

/// Facts that end with the process.
#[derive(Debug, Default)]
pub struct MemoryState(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryState {
    fn facts(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryState {
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.facts().get(key).cloned())
    }

    fn save(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.facts().insert(key.into(), value.into());
        Ok(())
    }
}
