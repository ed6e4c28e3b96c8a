//! A network that is there or not, as a test says.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::ports::Reach;

/// A network that is up or down, as a test says.
#[derive(Debug, Default)]
pub struct FakeNetwork {
    down: AtomicBool,
    delay: Mutex<Duration>,
    looks: AtomicU64,
}

impl FakeNetwork {
    /// Takes it down, or up again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// How long it takes to find out.
    pub fn takes(&self, delay: Duration) {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// How often it was looked at.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

impl Reach for FakeNetwork {
    fn reach(&self) -> BoxFuture<'_, bool> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let delay = *self.delay.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            !self.down.load(Ordering::Relaxed)
        })
    }
}
