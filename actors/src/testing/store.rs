//! A cache store in memory that fails when it is told to: for tests and simulations.
//!
//! Several tiers, of several systems, may share one, as processes share a Redis.

use std::{
    collections::BTreeMap,
    future::pending,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::{
    cache::{
        entry::{Entry, Freshness, UnixMs},
        key::{Key, Scope},
        marks::{Mark, Marks},
    },
    call::Request,
    ports::{CacheRules, CacheStore, Fill, Found, NotKept, StoreError, Tidied},
};

/// How the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// It does what it should.
    #[default]
    Fine,
    /// It answers nothing.
    Hung,
    /// It does what it should, and takes a fifth of a second for it.
    Slow,
    /// It fails at once.
    Failing,
    /// It panics.
    Panicking,
    /// What it finds is not what was put there.
    Corrupting,
}

/// The store.
#[derive(Default)]
pub struct FakeStore {
    weather: Mutex<Weather>,
    rows: Mutex<BTreeMap<Key, Arc<Entry>>>,
    marks: Marks,
    asked: AtomicU64,
}

impl FakeStore {
    /// Changes how it is.
    pub fn turn(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// How often a caller has looked something up.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// What it keeps.
    pub fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Entry>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&'a Self) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let weather = *self.weather.lock().unwrap_or_else(PoisonError::into_inner);
            match weather {
                Weather::Fine | Weather::Corrupting => Ok(work(self)),
                Weather::Slow => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    Ok(work(self))
                }
                Weather::Hung => pending().await,
                Weather::Failing => Err(StoreError {
                    place: "fake".into(),
                    problem: "fails as it was told to".into(),
                    in_use: false,
                }),
                Weather::Panicking => panic!("the fake store panics as it was told to"),
            }
        })
    }
}

impl CacheStore for FakeStore {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Found, StoreError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.act(move |store| {
            let corrupts =
                *store.weather.lock().unwrap_or_else(PoisonError::into_inner) == Weather::Corrupting;
            match store.rows().get(&key).cloned() {
                Some(_) if corrupts => Found::Corrupt,
                Some(entry) => Found::Entry(entry),
                None => Found::Nothing,
            }
        })
    }

    fn put(&self, entries: Vec<(Key, Arc<Entry>)>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.act(move |store| store.rows().extend(entries))
    }

    fn exchange(&self, marks: Vec<Mark>) -> BoxFuture<'_, Result<Vec<Mark>, StoreError>> {
        self.act(move |store| {
            store.marks.join(marks);
            store.marks.all()
        })
    }

    fn tidy(&self, now: UnixMs, marks: &Marks) -> BoxFuture<'_, Result<Tidied, StoreError>> {
        let over = |key: &Key, entry: &Arc<Entry>| {
            entry.windows.at(now) == Freshness::Over || !marks.allow(key, entry)
        };
        let gone: Vec<_> =
            self.rows().iter().filter(|(key, entry)| over(key, entry)).map(|(key, _)| *key).collect();
        self.act(move |store| {
            gone.iter().for_each(|key| drop(store.rows().remove(key)));
            Tidied { expired: gone.len() as u64, evicted: 0 }
        })
    }

    fn fill(&self) -> BoxFuture<'_, Result<Fill, StoreError>> {
        self.act(|store| {
            let rows = store.rows();
            let bytes = rows.values().map(|entry| entry.weight() as u64).sum();
            Fill { entries: rows.len() as u64, bytes, capacity: None }
        })
    }
}

/// Rules for made-up bodies: every byte of a request counts, and everything may be kept but what contains `random`.
pub struct PlainRules;

impl CacheRules for PlainRules {
    fn key(&self, request: &Request, scope: &Scope, targets: &str, sampled: bool) -> Result<Key, NotKept> {
        if !sampled && request.body.windows(6).any(|word| word == b"random") {
            return Err(NotKept::Sampled);
        }
        let mut key = [0; 32];
        for (i, part) in key.chunks_mut(8).enumerate() {
            let mut hasher = DefaultHasher::new();
            (i, &request.body, scope, targets, request.stream).hash(&mut hasher);
            part.copy_from_slice(&hasher.finish().to_be_bytes());
        }
        Ok(Key(key))
    }
}
