//! Two files with the same answers: Mainstay's, and what redb alone makes of them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use mainstay::{
    Clock,
    actors::{cache::key::Key, clock::SystemClock, ports::CacheStore},
    storage::RedbCache,
};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::runtime::Runtime;

use crate::common::{Kind, key};

const ANSWERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("answers");
const CAPACITY: u64 = 1 << 30;
/// Memory for pages, as in the cache.
const PAGES: usize = 16 << 20;
/// Answers in one commit, as in the cache.
const BATCH: u64 = 2000;

/// A folder that is gone in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mainstay-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = Self(std::env::temp_dir().join(name));
        folder.clear();
        folder
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(&self.0);
        fs::create_dir_all(&self.0).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Begins anew with a copy of another folder.
    pub(crate) fn copy(&self, other: &Self) {
        self.clear();
        for file in fs::read_dir(&other.0).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), self.file(file.file_name().to_str().unwrap())).unwrap();
        }
    }

    /// What its files take.
    pub(crate) fn bytes(&self) -> u64 {
        fs::read_dir(&self.0).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn ours(folder: &Folder) -> RedbCache {
    let opened = RedbCache::open(folder.path(), CAPACITY, SystemClock.unix_time()).unwrap();
    assert!(opened.set_aside.is_none());
    opened.cache
}

pub(crate) fn fill_ours(tokio: &Runtime, cache: &RedbCache, kind: Kind, answers: u64) {
    for first in (0..answers).step_by(BATCH as usize) {
        let batch = (first..answers.min(first + BATCH)).map(|n| (key(n), kind.entry(n))).collect();
        // Marks are exchanged when all that came before is committed.
        tokio.block_on(async {
            cache.put(batch).await.unwrap();
            cache.exchange(Vec::new()).await.unwrap();
        });
    }
    assert_eq!(tokio.block_on(cache.fill()).unwrap().entries, answers);
}

pub(crate) fn theirs(folder: &Folder) -> Database {
    Database::builder().set_cache_size(PAGES).create(folder.file("answers.redb")).unwrap()
}

pub(crate) fn fill_theirs(database: &Database, kind: Kind, answers: u64) {
    for first in (0..answers).step_by(BATCH as usize) {
        let write = database.begin_write().unwrap();
        {
            let mut table = write.open_table(ANSWERS).unwrap();
            for n in first..answers.min(first + BATCH) {
                table.insert(&key(n).0, &kind.answer(n)[..]).unwrap();
            }
        }
        write.commit().unwrap();
    }
}

pub(crate) fn get(database: &Database, key: &Key) -> Option<Arc<[u8]>> {
    let table = database.begin_read().unwrap().open_table(ANSWERS).unwrap();
    table.get(&key.0).unwrap().map(|answer| answer.value().into())
}
