//! What every room is handed: time, chance, ids, tasks, and the two boards where facts are posted.
//!
//! One value per system, cloned by reference; nothing global is behind it, so two systems in one process do
//! not meet. Nothing here decides.

use std::{
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cache::Cache,
    egress::Egress,
    event::EventLog,
    mode::board::HealthBoard,
    ports::Clock,
    provider::{budget::BudgetPolicy, payment::SharedBudget},
};

/// The shared surroundings of all actors of one system.
#[derive(Clone)]
pub struct Commons {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Lifecycle and mode events, in order.
    pub events: EventLog,
    /// Who is well and who is not.
    pub health: HealthBoard,
    /// Whether this machine reaches the network, as far as anybody checks.
    pub egress: Egress,
    /// Answers that are kept, if any are.
    pub(crate) cache: Arc<OnceLock<Cache>>,
    /// What all providers together may be asked again.
    pub retries: Arc<SharedBudget>,
    /// Tasks that are not actors.
    pub tasks: Tasks,
    seed: u64,
    ids: Arc<Mutex<fastrand::Rng>>,
}

impl Commons {
    /// Surroundings whose every draw of chance follows from `seed`; `boot` tells one life of the process from
    /// the next.
    pub fn new(clock: Arc<dyn Clock>, seed: u64, boot: u64) -> Self {
        let events = EventLog::new(clock.clone(), boot);
        let health = HealthBoard::new(clock.clone());
        let ids = Arc::new(Mutex::new(chance(seed, "ids")));
        let (egress, cache, tasks) = Default::default();
        let retries = Arc::new(SharedBudget::new(Some(BudgetPolicy::OVERALL), clock.now()));
        Self { clock, events, health, egress, cache, retries, tasks, seed, ids }
    }

    /// Monotonic time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Chance of one component: its draws do not disturb anybody else's.
    pub fn chance(&self, component: &str) -> fastrand::Rng {
        chance(self.seed, component)
    }

    /// A new call id: a UUID of version 7, so that ids sort by time.
    pub fn new_id(&self) -> Arc<str> {
        let random = self.ids.lock().unwrap_or_else(PoisonError::into_inner).u128(..).to_be_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[..10]);
        let millis = self.clock.unix_time().as_millis() as u64;
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
        let mut text = uuid::Uuid::encode_buffer();
        Arc::from(&*id.hyphenated().encode_lower(&mut text))
    }
}

fn chance(seed: u64, component: &str) -> fastrand::Rng {
    let mut hasher = DefaultHasher::new();
    (seed, component).hash(&mut hasher);
    fastrand::Rng::with_seed(hasher.finish())
}

/// Tasks that end with their system: cancelled when it is dropped, awaited when it shuts down.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    /// Runs `work` until it ends or the system does.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (cancel, work) = (self.cancel.clone(), Box::pin(work));
        self.tracker.spawn(async move {
            cancel.run_until_cancelled(work).await;
        })
    }

    /// Runs `work` after `delay`, unless the returned timer is dropped before.
    pub fn after<F>(&self, delay: Duration, work: F) -> Timer
    where
        F: FnOnce() + Send + 'static,
    {
        Timer(self.spawn(async move {
            // tokio's shortest sleep is a millisecond.
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            work();
        }))
    }

    /// Runs `work` unless the returned timer is dropped before it ends.
    pub fn hold(&self, work: impl Future<Output = ()> + Send + 'static) -> Timer {
        Timer(self.spawn(work))
    }

    /// Cancels what still runs.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Cancels what still runs and waits until it is gone.
    pub async fn close(&self) {
        self.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// How many tasks run.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Does no task run?
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
}

/// Something that will happen, unless this is dropped.
#[must_use = "dropping a timer cancels it"]
pub struct Timer(JoinHandle<()>);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
