//! What happens when, for the simulations in this folder: no clock, no runtime, the same run from the same seed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Events in the order of their time, and of their entry where the times are equal.
pub(super) struct Agenda<E> {
    start: Instant,
    now: Instant,
    events: BTreeMap<(Instant, u64), E>,
    entered: u64,
}

impl<E> Agenda<E> {
    #[expect(clippy::disallowed_methods, reason = "a point to count from: no simulation reads a clock")]
    pub(super) fn new() -> Self {
        let start = Instant::now();
        Self { start, now: start, events: BTreeMap::new(), entered: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Time since the beginning.
    pub(super) fn passed(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn enter(&mut self, after: Duration, event: E) {
        self.events.insert((self.now + after, self.entered), event);
        self.entered += 1;
    }

    /// The next event before the end, and the time moved to it.
    pub(super) fn next(&mut self, end: Duration) -> Option<E> {
        let entry = self.events.first_entry().filter(|entry| entry.key().0 < self.start + end)?;
        self.now = entry.key().0;
        Some(entry.remove())
    }
}
