//! Tries the calls of any service again: a host's database as well as a model behind no chain.
//!
//! [`strategy`] decides; here is the loop around a call, with the system's time and chance. A call through a
//! chain needs none of this: chains fail over first and have their own plan. Timeouts of a single try are the
//! call's own.

pub mod strategy;

use std::time::{Duration, Instant};

pub use strategy::{Failed, Kinds, RetryStrategy};

use crate::commons::Commons;

/// Calls of one service, tried again as its strategy says.
///
/// ```
/// use mainstay_actors::{commons::Commons, error::ErrorKind, retry::{Retry, RetryStrategy}};
///
/// async fn orders(commons: &Commons) -> Result<u32, std::io::Error> {
///     let db = Retry::new("orders", RetryStrategy::DB, commons);
///     db.run(|_: &std::io::Error| ErrorKind::Connect, async || Ok(7)).await
/// }
/// ```
#[derive(Clone)]
pub struct Retry {
    service: String,
    strategy: RetryStrategy,
    commons: Commons,
    deadline: Option<Instant>,
}

impl Retry {
    /// Calls of `service`, a name for logs and chance.
    pub fn new(service: &str, strategy: RetryStrategy, commons: &Commons) -> Self {
        Self { service: service.into(), strategy, commons: commons.clone(), deadline: None }
    }

    /// No try begins at this time or later.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Calls until it succeeds, or fails with what is not worth another try; `judge` says what an error is.
    /// Dropped, it stops.
    pub async fn run<T, E, F: Into<Failed>>(
        &self,
        judge: impl Fn(&E) -> F,
        mut call: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let (mut tries, mut chance) = (0, None);
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tries += 1;
            let (failed, chance) = (judge(&error).into(), chance.get_or_insert_with(|| self.chance()));
            let Some(wait) = self.strategy.next(tries, failed, self.remains(), chance.f64()) else {
                return Err(error);
            };
            let (service, kind, wait_ms) = (&*self.service, failed.kind, wait.as_millis() as u64);
            tracing::debug!(service, %kind, tries, wait_ms, "a call failed and is tried again");
            tokio::time::sleep(wait).await;
        }
    }

    fn remains(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(self.commons.now()))
    }

    /// Each call has its own, so that those that failed together do not come back together.
    fn chance(&self) -> fastrand::Rng {
        self.commons.chance(&format!("retry/{}/{}", self.service, self.commons.new_id()))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use super::*;
    use crate::{error::ErrorKind, testing::VirtualClock};

    fn commons(seed: u64) -> Commons {
        Commons::new(Arc::new(VirtualClock::start()), seed, 0)
    }

    /// A service that fails with `kind` this many times and then answers.
    struct Service {
        kind: ErrorKind,
        failures: u32,
        calls: Cell<u32>,
    }

    impl Service {
        fn new(kind: ErrorKind, failures: u32) -> Self {
            Self { kind, failures, calls: Cell::new(0) }
        }

        async fn call(&self) -> Result<u32, ErrorKind> {
            self.calls.set(self.calls.get() + 1);
            if self.calls.get() <= self.failures { Err(self.kind) } else { Ok(self.calls.get()) }
        }

        async fn under(&self, retry: &Retry) -> Result<u32, ErrorKind> {
            retry.run(|kind: &ErrorKind| *kind, async || self.call().await).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_comes_back_answers_within_its_retries() {
        let db = Retry::new("orders", RetryStrategy::DB, &commons(1));
        for failures in 0..=5 {
            let service = Service::new(ErrorKind::Connect, failures);
            assert_eq!(service.under(&db).await, Ok(failures + 1)); // PC22
        }
        let gone = Service::new(ErrorKind::Connect, u32::MAX);
        assert_eq!((gone.under(&db).await, gone.calls.get()), (Err(ErrorKind::Connect), 6)); // PC22
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_is_not_worth_it_comes_back_at_once() {
        let commons = commons(1);
        let started = commons.now();
        let service = Service::new(ErrorKind::BadRequest, 1);
        let llm = Retry::new("model", RetryStrategy::LLM, &commons);
        assert_eq!((service.under(&llm).await, service.calls.get()), (Err(ErrorKind::BadRequest), 1));
        assert_eq!(commons.now(), started);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_is_waited_for() {
        let commons = commons(1);
        let (started, hint) = (commons.now(), Duration::from_secs(3));
        let judge = |kind: &ErrorKind| Failed { kind: *kind, hint: Some(hint) };
        let service = Service::new(ErrorKind::RateLimited, 1);
        let llm = Retry::new("model", RetryStrategy::LLM, &commons);
        assert_eq!(llm.run(judge, async || service.call().await).await, Ok(2));
        assert!(commons.now() >= started + hint); // PC13
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_begins_after_the_deadline() {
        let commons = commons(1);
        let deadline = commons.now() + Duration::from_millis(900);
        let endless = RetryStrategy { retries: u32::MAX, ..RetryStrategy::DB };
        let retry = Retry::new("orders", endless, &commons).deadline(deadline);
        let service = Service::new(ErrorKind::Connect, u32::MAX);
        assert_eq!(service.under(&retry).await, Err(ErrorKind::Connect));
        assert!(service.calls.get() > 1 && commons.now() < deadline, "{} calls", service.calls.get()); // PC16
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_failed_together_come_back_apart_and_a_seed_repeats_them() {
        async fn waits(seed: u64) -> Vec<Duration> {
            let commons = commons(seed);
            let db = Retry::new("orders", RetryStrategy::DB, &commons);
            let mut waits = Vec::new();
            for _ in 0..3 {
                let started = commons.now();
                Service::new(ErrorKind::Reset, 3).under(&db).await.unwrap();
                waits.push(commons.now() - started);
            }
            waits
        }
        let first = waits(1).await;
        assert!(first[0] != first[1] && first[1] != first[2], "{first:?}"); // PC17
        assert_eq!(waits(1).await, first);
    }
}
