//! One flight per key: equal questions that are asked at once are asked of a provider once (CA8).
//!
//! A flight is a future that all who wait for it share: whoever of them is awake drives it, so nobody's leaving ends
//! it but the last one's. A stream cannot be shared while it is written; those who come second wait until the first
//! is complete and kept, for a while, and otherwise go their own way.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::sync::oneshot;

use super::key::Key;

/// A question, and how many purges were known when it was asked: nobody joins what was begun before one (CA3).
pub(crate) type Name = (Key, u64);

/// The flights under way.
pub(crate) struct Flights<T>(Arc<Board<T>>);

/// A flight, known by its number, as long as somebody waits for it.
type Weak<T> = (u64, WeakShared<BoxFuture<'static, T>>);

struct Board<T> {
    under_way: Mutex<BTreeMap<Name, Weak<T>>>,
    next: AtomicU64,
}

/// Takes a flight off the board when it has landed, or nobody waits for it any more.
struct Landing<T> {
    board: Arc<Board<T>>,
    name: Name,
    number: u64,
}

impl<T> Board<T> {
    fn under_way(&self) -> MutexGuard<'_, BTreeMap<Name, Weak<T>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::new(Board { under_way: Mutex::default(), next: AtomicU64::new(0) }))
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// The flight under this key, and whether it is a new one.
    pub(crate) fn join(
        &self,
        name: Name,
        start: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> (Shared<BoxFuture<'static, T>>, bool) {
        let mut under_way = self.0.under_way();
        if let Some(flight) = under_way.get(&name).and_then(|(_, flight)| flight.upgrade()) {
            return (flight, false);
        }
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let landing = Landing { board: self.0.clone(), name, number };
        let work = start();
        let flight = async move {
            let _landing = landing;
            work.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            under_way.insert(name, (number, weak));
        }
        (flight, true)
    }

    /// How many are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.under_way().len()
    }
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        let mut under_way = self.board.under_way();
        if under_way.get(&self.name).is_some_and(|(number, _)| *number == self.number) {
            under_way.remove(&self.name);
        }
    }
}

/// Resolves when a stream is over. Those who wait go on in the order in which they came, in every replay.
type End = Shared<oneshot::Receiver<()>>;

/// The streams under way whose answers will be kept.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<BTreeMap<Name, End>>>);

/// The right to be the one stream under a key, until it is dropped.
pub(crate) struct Leader {
    streams: Streams,
    name: Name,
    _end: oneshot::Sender<()>,
}

impl Streams {
    /// Leads, or learns when the one that leads is over.
    pub(crate) fn lead(&self, name: Name) -> Result<Leader, End> {
        let mut under_way = self.under_way();
        if let Some(end) = under_way.get(&name) {
            return Err(end.clone());
        }
        let (end, ended) = oneshot::channel();
        under_way.insert(name, ended.shared());
        Ok(Leader { streams: self.clone(), name, _end: end })
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<Name, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.streams.under_way().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: Name = (Key([7; 32]), 0);

    fn slow(count: &Arc<AtomicU64>) -> BoxFuture<'static, u64> {
        let count = count.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            count.fetch_add(1, Ordering::Relaxed)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_share_one_flight_and_the_leaders_leaving_ends_nothing() {
        let (flights, count) = (Flights::default(), Arc::new(AtomicU64::new(0)));
        let (leader, led) = flights.join(KEY, || slow(&count));
        assert!(led);
        let others: Vec<_> = (0..1000).map(|_| flights.join(KEY, || slow(&count))).collect();
        assert!(others.iter().all(|(_, led)| !led));
        assert!(leader.clone().now_or_never().is_none());
        drop(leader);
        for (flight, _) in others {
            assert_eq!(flight.await, 0); // CA8
        }
        assert_eq!((count.load(Ordering::Relaxed), flights.len()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_that_everybody_left_is_over() {
        let (flights, count) = (Flights::default(), Arc::new(AtomicU64::new(0)));
        let (flight, _) = flights.join(KEY, || slow(&count));
        assert!(flight.clone().now_or_never().is_none());
        drop(flight);
        assert_eq!(flights.len(), 0);
        assert!(flights.join(KEY, || slow(&count)).1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_flights_end_takes_no_newer_one_off_the_board() {
        let (flights, count) = (Flights::default(), Arc::new(AtomicU64::new(0)));
        let (old, _) = flights.join(KEY, || slow(&count));
        assert_eq!(old.clone().await, 0);
        let (new, led) = flights.join(KEY, || slow(&count));
        drop(old);
        assert!(led && flights.len() == 1);
        assert_eq!(new.await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_stream_leads_and_its_end_is_told() {
        let streams = Streams::default();
        let leader = streams.lead(KEY).ok().unwrap();
        let wait = streams.lead(KEY).err().unwrap();
        assert!(wait.clone().now_or_never().is_none());
        drop(leader);
        assert!(wait.await.is_err());
        assert!(streams.lead(KEY).is_ok());
    }
}
