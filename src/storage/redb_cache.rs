//! Kept answers in a redb file of the data directory.
//!
//! Reads happen on the caller's thread: they take microseconds, a trip to another thread takes more. Writes are left to
//! one [thread](writer) that commits them behind the caller; what it has not committed is not found here yet, since
//! the memory has it, and is lost when the process is killed. redb does not check what it reads, so every
//! [row](super::row) is checked here. A row that is no answer is taken out; a file whose inside is damaged is set aside
//! and an empty one begun, with the marks that are known.
//!
//! Its capacity is in bytes of rows and their places. The file itself takes up to twice as much after many changes,
//! since pages are freed one transaction later than they are replaced, and it is never made smaller.

mod recent;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use mainstay_actors::{
    cache::{
        entry::{Entry, UnixMs},
        key::Key,
        marks::{Mark, Marks},
    },
    ports::{CacheStore, Fill, Found, StoreError, Tidied},
};

use self::{
    recent::Recent,
    tables::{Books, Doomed, LAYOUT},
    writer::{Desk, Job},
};
use super::{
    redb_file::{Layout, RedbFile, Trouble},
    row::{self, Secret},
};

/// Kept answers that outlive the process.
pub struct RedbCache {
    shared: Arc<Shared>,
    desk: Desk,
}

/// A cache that was opened.
pub struct OpenedCache {
    /// The cache.
    pub cache: RedbCache,
    /// Where the earlier file is now, if it could not be read.
    pub set_aside: Option<PathBuf>,
}

/// What readers and the writer share.
struct Shared {
    file: RedbFile,
    capacity: u64,
    secret: Secret,
    recent: Recent,
    /// All that are known; those in the file lag behind by a commit.
    marks: Marks,
    entries: AtomicU64,
    bytes: AtomicU64,
    /// Evicted since the last time that somebody asked.
    evicted: AtomicU64,
    /// Bytes of entries that wait to be written.
    waiting: AtomicUsize,
    /// Where the next look for entries whose time is over begins.
    swept: AtomicU64,
    /// Why the last commit failed, until one succeeds.
    failure: Mutex<Option<StoreError>>,
}

impl RedbCache {
    /// Opens the cache in `dir`, which is made if it is missing, for at most `capacity` bytes. `unix_time` names a
    /// file that is set aside.
    pub fn open(dir: &Path, capacity: u64, unix_time: Duration) -> Result<OpenedCache, StoreError> {
        Self::open_as(LAYOUT, dir, capacity, unix_time)
    }

    fn open_as(
        layout: Layout,
        dir: &Path,
        capacity: u64,
        unix_time: Duration,
    ) -> Result<OpenedCache, StoreError> {
        let (file, mut set_aside) = RedbFile::open(dir, layout, unix_time)?;
        let loaded = match file.read(tables::load) {
            Err(Trouble::Unreadable(problem)) => file.start_anew(&problem).and_then(|aside| {
                set_aside = Some(aside);
                file.read(tables::load)
            }),
            loaded => loaded,
        };
        let (books, marks) = loaded.map_err(|trouble| file.failed(&trouble))?;
        let shared = Arc::new(Shared::new(file, capacity, marks));
        shared.publish(&books);
        let desk = Desk::open(shared.clone(), books)?;
        Ok(OpenedCache { cache: Self { shared, desk }, set_aside })
    }

    /// Looks a key up; a row that is no answer is left to the writer to take out.
    fn find(&self, key: Key) -> Result<Found, StoreError> {
        let shared = &*self.shared;
        let (id, row) = match shared.file.read(|database| tables::find(database, &key)) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Found::Nothing),
            Err(Trouble::Unreadable(problem)) => return Ok(self.corrupt(key, None, &problem)),
            Err(trouble) => return Err(shared.file.failed(&trouble)),
        };
        match row::open(&key, &row, &shared.secret, row::LARGEST) {
            Ok(entry) => {
                shared.recent.mark(&key);
                Ok(Found::Entry(Arc::new(entry)))
            }
            Err(problem) => Ok(self.corrupt(key, Some(id), &problem.to_string())),
        }
    }

    fn corrupt(&self, key: Key, id: Option<u64>, problem: &str) -> Found {
        tracing::warn!(problem, "a row of the disk cache is no answer: it is taken out");
        // If the writer has too much to do, it is found corrupt once more.
        let _ = self.desk.send(Job::Remove(vec![(key, id)]));
        Found::Corrupt
    }

    async fn take_out(&self, keys: Vec<Doomed>) -> Result<(), StoreError> {
        if keys.is_empty() { Ok(()) } else { self.desk.done(Job::Remove(keys)).await }
    }

    /// Commits all that waits to be written.
    #[cfg(test)]
    async fn flush(&self) -> Result<(), StoreError> {
        self.desk.done(Job::Remove(vec![])).await
    }
}

impl Shared {
    fn new(file: RedbFile, capacity: u64, marks: Vec<Mark>) -> Self {
        let known = Marks::default();
        known.join(marks);
        Self {
            file,
            capacity,
            secret: tables::secret(),
            recent: Recent::new(capacity),
            marks: known,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            swept: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    fn publish(&self, books: &Books) {
        self.entries.store(books.entries, Ordering::Relaxed);
        self.bytes.store(books.bytes, Ordering::Relaxed);
    }

    fn failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Some entries that nobody can see any more; the next time, some further ones.
    fn sweep(&self, now: UnixMs, marks: &Marks) -> Result<Vec<Doomed>, StoreError> {
        let from = self.swept.load(Ordering::Relaxed);
        let swept = self.file.read(|database| tables::sweep(database, from, now, marks));
        let (gone, next) = match swept {
            // The writer comes across the same damage, and begins a new file.
            Err(Trouble::Unreadable(_)) => (vec![(Key([0; 32]), None)], 0),
            swept => swept.map_err(|trouble| self.file.failed(&trouble))?,
        };
        self.swept.store(next, Ordering::Relaxed);
        Ok(gone)
    }
}

impl CacheStore for RedbCache {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Found, StoreError>> {
        Box::pin(async move { self.find(key) })
    }

    fn put(&self, entries: Vec<(Key, Arc<Entry>)>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            // It is tried even while commits fail: somebody must find out that they succeed again.
            self.desk.send(Job::Put(entries))?;
            self.shared.failure().map_or(Ok(()), Err)
        })
    }

    fn exchange(&self, marks: Vec<Mark>) -> BoxFuture<'_, Result<Vec<Mark>, StoreError>> {
        Box::pin(async move {
            self.desk.done(Job::Join(marks)).await?;
            Ok(self.shared.marks.all())
        })
    }

    fn tidy(&self, now: UnixMs, marks: &Marks) -> BoxFuture<'_, Result<Tidied, StoreError>> {
        let gone = self.shared.sweep(now, marks);
        Box::pin(async move {
            let gone = gone?;
            let expired = gone.len() as u64;
            self.take_out(gone).await?;
            Ok(Tidied { expired, evicted: self.shared.evicted.swap(0, Ordering::Relaxed) })
        })
    }

    fn fill(&self) -> BoxFuture<'_, Result<Fill, StoreError>> {
        let shared = &self.shared;
        let entries = shared.entries.load(Ordering::Relaxed);
        let bytes = shared.bytes.load(Ordering::Relaxed);
        Box::pin(async move { Ok(Fill { entries, bytes, capacity: Some(shared.capacity) }) })
    }
}
