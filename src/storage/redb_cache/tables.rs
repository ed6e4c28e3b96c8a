//! What stands where in the file.
//!
//! An entry's row is cut into chunks under a number that only grows, so that they fill their pages whatever their
//! sizes; large values would take powers of two of pages. Its turn stands in the queue of those to be evicted: when it
//! comes, an entry that was used meanwhile gets a new turn at the end, any other goes. Only the queue is counted, and
//! at every opening anew. All marks stand in one sealed fact that is always there, so that none is lost unnoticed.

use std::{ops::RangeInclusive, path::Path, time::Instant};

use mainstay_actors::cache::{
    entry::{Freshness, UnixMs},
    key::Key,
    marks::{Mark, Marks},
};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use super::recent::Recent;
use crate::storage::{
    redb_file::{Layout, read_fact, write_fact},
    row::{self, Secret},
};

pub(super) const LAYOUT: Layout = Layout { file: "cache.redb", schema: 1, open, fill };

/// Where each key's row is: its number, and its turn.
const PLACES: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("places");
/// By turn: whose it is, what it costs, and when its time is over.
const QUEUE: TableDefinition<'_, u64, (&[u8; 32], u64, UnixMs)> = TableDefinition::new("queue");
/// The rows, by number and place within the row.
const CHUNKS: TableDefinition<'_, (u64, u16), &[u8]> = TableDefinition::new("chunks");
const MARKS: &str = "marks";

/// Memory for pages, in bytes: the operating system keeps the rest.
const PAGES: usize = 16 << 20;
/// Eight of them fill a page. Answers of 2 KiB took 1.23 bytes for each of theirs; with 1 000 here it was 1.42, with
/// 2 000 it was 2.10.
const CHUNK: usize = 500;
/// What one entry takes in the other tables, in bytes.
const PLACE: usize = 150;
/// What one chunk takes beside its bytes.
const CHUNK_PLACE: usize = 16;
/// How much one look for entries whose time is over does at most.
const SWEEP: usize = 2_000;
const SWEEP_MS: u128 = 5;
/// How many are evicted in one commit at most: if the capacity was made much smaller, it takes some of them.
const EVICTED: u64 = 10_000;
/// How many entries get another turn in one commit; beyond that, used ones are evicted too.
const PATIENCE: usize = 1_000;

/// What is to be taken out: what is under a key, or only the row of this number.
pub(super) type Doomed = (Key, Option<u64>);

/// How much there is, and which number comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    next: u64,
}

/// The tables, open for writing.
pub(super) struct Tables<'t> {
    places: Table<'t, &'static [u8; 32], (u64, u64)>,
    queue: Table<'t, u64, (&'static [u8; 32], u64, UnixMs)>,
    chunks: Table<'t, (u64, u16), &'static [u8]>,
    pub(super) books: Books,
}

fn open(path: &Path) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(PAGES).create(path)
}

fn fill(write: &WriteTransaction) -> Result<(), redb::Error> {
    Tables::open(write, Books::default())?;
    write_marks(write, &[])
}

/// Rows here are sealed against damage, not against forgers: those could change the file as they like.
pub(super) fn secret() -> Secret {
    blake3::derive_key("mainstay 2026 disk cache checksum v1", b"")
}

/// The books, by counting, and the marks.
pub(super) fn load(database: &Database) -> Result<(Books, Vec<Mark>), redb::Error> {
    Ok((count(database)?, read_marks(database)?))
}

pub(super) fn count(database: &Database) -> Result<Books, redb::Error> {
    let read = database.begin_read()?;
    let (queue, chunks) = (read.open_table(QUEUE)?, read.open_table(CHUNKS)?);
    let last = |turn: Option<u64>, number: Option<u64>| turn.max(number).map_or(Ok(0), following);
    let turn = queue.last()?.map(|(turn, _)| turn.value());
    let number = chunks.last()?.map(|(key, _)| key.value().0);
    let mut books = Books { entries: 0, bytes: 0, next: last(turn, number)? };
    for slip in queue.iter()? {
        books.entries += 1;
        books.bytes = books.bytes.saturating_add(slip?.1.value().1);
        if books.entries > queue.len()? {
            return Err(damaged("its queue runs in a circle"));
        }
    }
    Ok(books)
}

/// The number and the bytes of a key's row.
pub(super) fn find(database: &Database, key: &Key) -> Result<Option<(u64, Vec<u8>)>, redb::Error> {
    let read = database.begin_read()?;
    let Some(place) = read.open_table(PLACES)?.get(&key.0)? else { return Ok(None) };
    let (number, _) = place.value();
    Ok(Some((number, row_of(&read, number)?)))
}

fn row_of(read: &ReadTransaction, number: u64) -> Result<Vec<u8>, redb::Error> {
    let mut row = Vec::new();
    for chunk in read.open_table(CHUNKS)?.range(all_of(number))?.take(usize::from(u16::MAX)) {
        row.extend_from_slice(chunk?.1.value());
    }
    Ok(row)
}

fn all_of(number: u64) -> RangeInclusive<(u64, u16)> {
    (number, 0)..=(number, u16::MAX)
}

/// Looks, from turn `from` on, for entries that nobody can see any more, and says where to look next.
pub(super) fn sweep(
    database: &Database,
    from: u64,
    now: UnixMs,
    marks: &Marks,
) -> Result<(Vec<Doomed>, u64), redb::Error> {
    let began = Instant::now();
    let read = database.begin_read()?;
    let (places, mut gone) = (read.open_table(PLACES)?, Vec::new());
    for (seen, slip) in read.open_table(QUEUE)?.range(from..)?.enumerate() {
        let (turn, slip) = slip?;
        if seen == SWEEP || began.elapsed().as_millis() >= SWEEP_MS {
            return Ok((gone, turn.value()));
        }
        let (key, _, until) = slip.value();
        let key = Key(*key);
        let number = places.get(&key.0)?.map(|place| place.value().0);
        if until <= now || is_gone(&read, &key, number, now, marks)? {
            gone.push((key, number));
        }
    }
    Ok((gone, 0))
}

fn is_gone(
    read: &ReadTransaction,
    key: &Key,
    number: Option<u64>,
    now: UnixMs,
    marks: &Marks,
) -> Result<bool, redb::Error> {
    let Some(number) = number else { return Ok(true) };
    let first = read.open_table(CHUNKS)?.get((number, 0))?.map(|chunk| row::peek(chunk.value()));
    let seen = match first {
        Some(Ok(entry)) => Ok(entry),
        // Its head may be longer than a chunk.
        _ => row::peek(&row_of(read, number)?),
    };
    Ok(!seen.is_ok_and(|entry| entry.windows.at(now) != Freshness::Over && marks.allow(key, &entry)))
}

impl<'t> Tables<'t> {
    pub(super) fn open(write: &'t WriteTransaction, books: Books) -> Result<Self, redb::Error> {
        Ok(Self {
            places: write.open_table(PLACES)?,
            queue: write.open_table(QUEUE)?,
            chunks: write.open_table(CHUNKS)?,
            books,
        })
    }

    /// Keeps a row, in place of what was under its key.
    pub(super) fn put(&mut self, key: &Key, until: UnixMs, row: &[u8]) -> Result<(), redb::Error> {
        self.remove(key, None)?;
        let number = self.next()?;
        for (n, chunk) in (0u16..).zip(row.chunks(CHUNK)) {
            self.chunks.insert((number, n), chunk)?;
        }
        self.places.insert(&key.0, (number, number))?;
        let cost = cost(row.len());
        self.queue.insert(number, (&key.0, cost, until))?;
        self.books.entries += 1;
        self.books.bytes = self.books.bytes.saturating_add(cost);
        Ok(())
    }

    /// Takes out what is under a key, or only the row of this number.
    pub(super) fn remove(&mut self, key: &Key, only: Option<u64>) -> Result<(), redb::Error> {
        let Some((number, turn)) = self.places.get(&key.0)?.map(|place| place.value()) else { return Ok(()) };
        if only.is_some_and(|only| only != number) {
            return Ok(());
        }
        self.places.remove(&key.0)?;
        self.chunks.retain_in(all_of(number), |_, _| false)?;
        self.strike(turn)
    }

    /// Takes a turn out of the queue, and what it counts for off the books.
    fn strike(&mut self, turn: u64) -> Result<(), redb::Error> {
        if let Some(slip) = self.queue.remove(turn)? {
            self.books.entries = self.books.entries.saturating_sub(1);
            self.books.bytes = self.books.bytes.saturating_sub(slip.value().1);
        }
        Ok(())
    }

    /// Evicts those whose turn it is and who were not used, until the rest fits. Says how many.
    pub(super) fn make_room(&mut self, capacity: u64, recent: &Recent) -> Result<u64, redb::Error> {
        let (mut evicted, mut patience) = (0, PATIENCE);
        while self.books.bytes > capacity && evicted < EVICTED {
            let first = self.queue.first()?.map(|(turn, slip)| (turn.value(), Key(*slip.value().0)));
            let Some((turn, key)) = first else { break };
            if recent.take(&key) && patience > 0 {
                patience -= 1;
                self.give_another_turn(turn, &key)?;
            } else {
                evicted += 1;
                self.evict(turn, &key)?;
            }
        }
        Ok(evicted)
    }

    fn give_another_turn(&mut self, turn: u64, key: &Key) -> Result<(), redb::Error> {
        let Some((number, _)) = self.places.get(&key.0)?.map(|place| place.value()) else {
            return self.strike(turn);
        };
        let Some(slip) = self.queue.remove(turn)?.map(|slip| (slip.value().1, slip.value().2)) else {
            return Ok(());
        };
        let next = self.next()?;
        self.queue.insert(next, (&key.0, slip.0, slip.1))?;
        self.places.insert(&key.0, (number, next))?;
        Ok(())
    }

    fn evict(&mut self, turn: u64, key: &Key) -> Result<(), redb::Error> {
        self.remove(key, None)?;
        // In a damaged file, the key may have another turn.
        self.strike(turn)
    }

    fn next(&mut self) -> Result<u64, redb::Error> {
        let number = self.books.next;
        self.books.next = following(number)?;
        Ok(number)
    }
}

/// What a row of this length counts for.
pub(super) fn cost(row: usize) -> u64 {
    (row + row.div_ceil(CHUNK) * CHUNK_PLACE + PLACE) as u64
}

fn following(number: u64) -> Result<u64, redb::Error> {
    number.checked_add(1).ok_or_else(|| damaged("its numbers are used up"))
}

fn damaged(problem: &str) -> redb::Error {
    redb::Error::Corrupted(problem.into())
}

pub(super) fn write_marks(write: &WriteTransaction, marks: &[Mark]) -> Result<(), redb::Error> {
    let marks = postcard::to_allocvec(marks).map_err(|error| damaged(&error.to_string()))?;
    let seal = blake3::keyed_hash(&secret(), &marks);
    write_fact(write, MARKS, &[&seal.as_bytes()[..], &marks].concat())
}

fn read_marks(database: &Database) -> Result<Vec<Mark>, redb::Error> {
    let fact = read_fact(database, MARKS)?.unwrap_or_default();
    let sealed = fact.split_first_chunk::<32>();
    let whole = sealed.filter(|(seal, marks)| blake3::keyed_hash(&secret(), marks) == **seal);
    let marks = whole.and_then(|(_, marks)| postcard::from_bytes(marks).ok());
    marks.ok_or_else(|| damaged("what was purged cannot be read"))
}
