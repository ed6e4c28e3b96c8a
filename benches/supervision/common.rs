//! What all sides share: the question, the rehearsed crash, the runtime, the count of arrivals.

use std::{
    future::Future,
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mainstay::actors::supervision::Reply;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};

// As many in one iteration that what a runtime needs to begin and to end it no longer counts.
pub(crate) const CALLS: usize = 100;
pub(crate) const LIVES: usize = 10;

/// How many are told of one event.
pub(crate) const SUBSCRIBERS: usize = 1000;

/// How long a caller waits, where it has a deadline.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

const REHEARSAL: &str = "a rehearsed crash";

/// The schedulers of tokio, each with one thread for all tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheduler {
    CurrentThread,
    OneWorker,
}

pub(crate) const SCHEDULERS: [Scheduler; 2] = [Scheduler::CurrentThread, Scheduler::OneWorker];

impl Scheduler {
    pub(crate) fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::OneWorker => Builder::new_multi_thread(),
        };
        builder.worker_threads(1).enable_time().build().unwrap()
    }
}

/// Runs `work` as a task among those it talks to, so that they wake each other without a system call.
pub(crate) fn run<T: Send + 'static>(tokio: &Runtime, work: impl Future<Output = T> + Send + 'static) -> T {
    tokio.block_on(tokio.spawn(work)).unwrap()
}

/// What an actor is asked.
pub(crate) struct Ask {
    pub(crate) crash: bool,
    pub(crate) answer: Reply<u64>,
}

impl Ask {
    pub(crate) fn obey(self) {
        if self.crash {
            crash();
        }
        self.answer.send(1);
    }
}

pub(crate) fn crash() -> ! {
    panic::panic_any(REHEARSAL)
}

/// Leaves every other panic as loud as it is.
pub(crate) fn silence_rehearsals() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(REHEARSAL) {
            loud(panic);
        }
    }));
}

/// A call that crashes the actor, then calls until its next life answers one.
pub(crate) async fn crash_to_answer<F: Future<Output = Option<u64>>>(call: impl Fn(bool) -> F) {
    assert!(call(true).await.is_none());
    for _ in 0..100 {
        if call(false).await.is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("no life answers");
}

/// Counts those that an event has reached.
#[derive(Clone, Default)]
pub(crate) struct Arrivals(Arc<(AtomicUsize, Notify)>);

impl Arrivals {
    pub(crate) fn count(&self) {
        let (arrived, all) = &*self.0;
        if (arrived.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(SUBSCRIBERS) {
            all.notify_one();
        }
    }

    pub(crate) async fn all(&self) {
        self.0.1.notified().await;
    }
}
