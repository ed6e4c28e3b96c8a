//! The one thread that writes.
//!
//! What callers leave on its desk it collects for a moment and commits at once; for a caller who waits, it does not
//! wait itself. The desk is bounded in number and in bytes: what finds no room is refused, and nobody ever waits for
//! room. When the desk is gone, it writes what is left and ends.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use mainstay_actors::{
    cache::{
        entry::{Entry, UnixMs},
        key::Key,
        marks::Mark,
    },
    ports::StoreError,
};
use redb::Database;
use tokio::sync::oneshot;

use super::{
    Shared,
    tables::{self, Books, Doomed, Tables},
};
use crate::storage::{
    redb_file::Trouble,
    row::{self, LARGEST},
};

/// How long a commit waits for company, and how much is lost at most when the process is killed.
const DELAY: Duration = Duration::from_millis(500);
/// How many rows one commit takes, and how many bytes of them.
const ROWS: usize = 2_000;
const BYTES: usize = 8 << 20;
/// How many jobs may wait, and how many bytes of entries in them.
const JOBS: usize = 4_096;
const WAITING: usize = 32 << 20;
/// How long the end of the process waits for the last commit.
const LAST: Duration = Duration::from_secs(2);

/// Something to be written.
pub(super) enum Job {
    Put(Vec<(Key, Arc<Entry>)>),
    Remove(Vec<Doomed>),
    Join(Vec<Mark>),
}

type Done = oneshot::Sender<Result<(), StoreError>>;

/// Where jobs are left.
pub(super) struct Desk {
    shared: Arc<Shared>,
    jobs: Option<SyncSender<(Job, Option<Done>)>>,
    /// Says nothing, but is cut off when the thread ends.
    ended: Mutex<Receiver<()>>,
}

impl Desk {
    /// Starts the thread.
    pub(super) fn open(shared: Arc<Shared>, books: Books) -> Result<Self, StoreError> {
        let (jobs, inbox) = sync_channel(JOBS);
        let (end, ended) = sync_channel(0);
        let writer = Writer { shared: shared.clone(), inbox, books: Some(books), unsaved: false };
        let run = move || {
            writer.run();
            drop(end);
        };
        let started = thread::Builder::new().name("mainstay-disk-cache".into()).spawn(run);
        started.map_err(|error| shared.file.failed(&Trouble::Other(error.to_string())))?;
        Ok(Self { shared, jobs: Some(jobs), ended: Mutex::new(ended) })
    }

    /// Leaves a job, or says at once why not.
    pub(super) fn send(&self, job: Job) -> Result<(), StoreError> {
        self.leave(job, None)
    }

    /// Leaves a job and waits until it is committed.
    pub(super) async fn done(&self, job: Job) -> Result<(), StoreError> {
        let (done, committed) = oneshot::channel();
        self.leave(job, Some(done))?;
        committed.await.unwrap_or_else(|_| Err(self.refused("the writer has ended: restart Mainstay")))
    }

    fn leave(&self, job: Job, done: Option<Done>) -> Result<(), StoreError> {
        const FULL: &str =
            "too much waits to be written, so this was dropped: the disk is too slow for the cache";
        let weight = weight(&job);
        if self.shared.waiting.fetch_add(weight, Ordering::Relaxed) + weight > WAITING {
            self.shared.waiting.fetch_sub(weight, Ordering::Relaxed);
            return Err(self.refused(FULL));
        }
        let sent = match &self.jobs {
            Some(jobs) => jobs.try_send((job, done)),
            None => Err(TrySendError::Disconnected((job, done))),
        };
        sent.map_err(|error| {
            self.shared.waiting.fetch_sub(weight, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => self.refused(FULL),
                TrySendError::Disconnected(_) => self.refused("the writer has ended: restart Mainstay"),
            }
        })
    }

    fn refused(&self, problem: &str) -> StoreError {
        self.shared.file.failed(&Trouble::Other(problem.into()))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.jobs = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the disk cache is still writing: its last answers may be lost");
        }
    }
}

fn weight(job: &Job) -> usize {
    match job {
        Job::Put(entries) => entries.iter().map(|(_, entry)| entry.weight()).sum(),
        Job::Remove(_) | Job::Join(_) => 0,
    }
}

/// One change of the file.
enum Step {
    Put { key: Key, until: UnixMs, row: Vec<u8> },
    Remove { key: Key, only: Option<u64> },
}

/// What one commit takes.
#[derive(Default)]
struct Batch {
    steps: Vec<Step>,
    bytes: usize,
    waiters: Vec<Done>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.steps.len() >= ROWS || self.bytes >= BYTES
    }
}

struct Writer {
    shared: Arc<Shared>,
    inbox: Receiver<(Job, Option<Done>)>,
    /// Nothing after a failure: nobody knows then what is in the file.
    books: Option<Books>,
    /// Are there marks that the file has not?
    unsaved: bool,
}

impl Writer {
    fn run(mut self) {
        while let Ok(first) = self.inbox.recv() {
            let batch = self.collect(first);
            let written = self.write(&batch);
            self.tell(&written);
            batch.waiters.into_iter().for_each(|waiter| {
                let _ = waiter.send(written.clone());
            });
        }
    }

    fn collect(&mut self, first: (Job, Option<Done>)) -> Batch {
        let due = Instant::now() + DELAY;
        let (mut batch, mut next) = (Batch::default(), Some(first));
        while let Some((job, done)) = next {
            self.take(job, &mut batch);
            batch.waiters.extend(done);
            let is_urgent = !batch.waiters.is_empty();
            let rest = due.saturating_duration_since(Instant::now());
            let wait = if is_urgent { Duration::ZERO } else { rest };
            next = if batch.is_full() { None } else { self.inbox.recv_timeout(wait).ok() };
        }
        batch
    }

    fn take(&mut self, job: Job, batch: &mut Batch) {
        self.shared.waiting.fetch_sub(weight(&job), Ordering::Relaxed);
        match job {
            Job::Put(entries) => entries.iter().for_each(|(key, entry)| self.seal(*key, entry, batch)),
            Job::Remove(keys) => {
                batch.steps.extend(keys.into_iter().map(|(key, only)| Step::Remove { key, only }));
            }
            Job::Join(marks) => self.unsaved |= self.shared.marks.join(marks),
        }
    }

    fn seal(&self, key: Key, entry: &Entry, batch: &mut Batch) {
        let row = row::seal(&key, entry, &self.shared.secret).filter(|row| row.len() <= LARGEST);
        if let Some(row) = row {
            batch.bytes += row.len();
            batch.steps.push(Step::Put { key, until: entry.windows.error, row });
        }
    }

    /// Commits; a file that is damaged inside is left for an empty one.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let file = &shared.file;
        let written = match file.write(|database| self.commit(database, batch)) {
            Err(Trouble::Unreadable(problem)) => {
                self.unsaved = true;
                file.start_anew(&problem).and_then(|_| file.write(|database| self.commit(database, batch)))
            }
            written => written,
        };
        written.map_err(|trouble| file.failed(&trouble))
    }

    fn commit(&mut self, database: &Database, batch: &Batch) -> Result<(), redb::Error> {
        let books = self.books.take().map_or_else(|| tables::count(database), Ok)?;
        let mut write = database.begin_write()?;
        // Twice the time for a commit that nobody waits for; then the file opens at once even after a crash.
        write.set_quick_repair(true);
        let mut tables = Tables::open(&write, books)?;
        for step in &batch.steps {
            match step {
                Step::Put { key, until, row } => tables.put(key, *until, row)?,
                Step::Remove { key, only } => tables.remove(key, *only)?,
            }
        }
        let evicted = tables.make_room(self.shared.capacity, &self.shared.recent)?;
        let books = tables.books;
        drop(tables);
        if self.unsaved {
            tables::write_marks(&write, &self.shared.marks.all())?;
        }
        write.commit()?;
        self.committed(books, evicted);
        Ok(())
    }

    fn committed(&mut self, books: Books, evicted: u64) {
        self.books = Some(books);
        self.unsaved = false;
        self.shared.publish(&books);
        self.shared.evicted.fetch_add(evicted, Ordering::Relaxed);
    }

    /// Keeps why it failed for those who put next; says it once.
    fn tell(&self, written: &Result<(), StoreError>) {
        let mut failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*failure, written) {
            (None, Err(error)) => tracing::error!(%error, "the disk cache cannot be written"),
            (Some(_), Ok(())) => tracing::info!("the disk cache can be written again"),
            _ => {}
        }
        *failure = written.as_ref().err().cloned();
    }
}
