//! How many attempts may run at once, and how many callers may wait for a place.
//!
//! Callers come and go by themselves; the limit may change at any time, also to less than runs. Who may wait, and
//! for how long, is decided by the caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one provider.
pub(crate) struct Bulkhead {
    places: Arc<Semaphore>,
    limit: AtomicUsize,
    /// Places that are to be given up by whoever leaves next.
    owed: AtomicUsize,
    taken: AtomicUsize,
    waiting: AtomicUsize,
}

/// One place, free again when this is dropped.
pub(crate) struct Place {
    bulkhead: Arc<Bulkhead>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Bulkhead {
    /// `None`: as many as come.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(Semaphore::MAX_PERMITS);
        let (owed, taken, waiting) = Default::default();
        Self { places: Arc::new(Semaphore::new(limit)), limit: limit.into(), owed, taken, waiting }
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many wait for one.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub(crate) fn limit(&self) -> Option<usize> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit < Semaphore::MAX_PERMITS)
    }

    /// A place, if one is free.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(|permit| self.place(permit))
    }

    /// A place as soon as one is free, in the order of coming. Nothing, if none was free until `until`, or if as
    /// many wait already as may run.
    pub(crate) async fn wait(self: &Arc<Self>, until: Instant) -> Option<Place> {
        let _waiter = Waiter::come(&self.waiting, self.limit.load(Ordering::Relaxed))?;
        let place = tokio::time::timeout_at(until.into(), self.places.clone().acquire_owned()).await;
        place.ok()?.ok().map(|permit| self.place(permit))
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place { bulkhead: self.clone(), permit: Some(permit) }
    }

    /// Changes the limit. Those that are inside stay; if they are too many, nobody enters until enough have left.
    /// Only one at a time may do this.
    pub(crate) fn resize(&self, limit: Option<usize>) {
        let new = limit.unwrap_or(Semaphore::MAX_PERMITS);
        let old = self.limit.swap(new, Ordering::Relaxed);
        if new < old {
            let gone = self.places.forget_permits(old - new);
            self.owed.fetch_add(old - new - gone, Ordering::Relaxed);
        } else {
            let settled = self.settle(new - old);
            self.places.add_permits(new - old - settled);
        }
    }

    /// Takes up to `places` off what is owed; tells how many.
    fn settle(&self, places: usize) -> usize {
        let less = |owed: usize| Some(owed - owed.min(places));
        let owed = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        owed.unwrap_or_default().min(places)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bulkhead.taken.fetch_sub(1, Ordering::Relaxed);
        if self.bulkhead.settle(1) == 1
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn come(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(waiting))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{clock::SystemClock, ports::Clock};

    fn bulkhead(limit: usize) -> Arc<Bulkhead> {
        Arc::new(Bulkhead::new(Some(limit)))
    }

    fn soon() -> Instant {
        SystemClock.now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_a_place_in_the_order_of_coming_or_none_in_time() {
        let bulkhead = bulkhead(1);
        let place = bulkhead.enter().unwrap();
        let (first, late) = tokio::join!(bulkhead.wait(soon()), async {
            tokio::task::yield_now().await;
            assert_eq!(bulkhead.waiting(), 1);
            assert!(bulkhead.wait(soon()).await.is_none(), "as many wait as may run");
            drop(place);
            bulkhead.enter()
        });
        assert!(first.is_some() && late.is_none());
        assert!(bulkhead.wait(soon()).await.is_none());
        assert_eq!((bulkhead.waiting(), bulkhead.taken()), (0, 1));
    }

    proptest! {
        #[test]
        fn whatever_the_limit_becomes_no_more_enter_and_no_place_is_lost(
            steps in vec((0usize..3, 1usize..8), 1..80),
        ) {
            let bulkhead = bulkhead(4);
            let (mut inside, mut limit) = (Vec::new(), 4);
            for (step, number) in steps {
                match step {
                    0 => {
                        let room = inside.len() < limit;
                        let place = bulkhead.enter();
                        prop_assert_eq!(place.is_some(), room);
                        inside.extend(place);
                    }
                    1 => inside.truncate(inside.len().saturating_sub(number)),
                    _ => {
                        limit = number;
                        bulkhead.resize(Some(limit));
                    }
                }
                prop_assert_eq!(bulkhead.taken(), inside.len());
            }
            inside.clear();
            let free: Vec<_> = std::iter::from_fn(|| bulkhead.enter()).take(100).collect();
            prop_assert_eq!(free.len(), limit);
        }
    }
}
