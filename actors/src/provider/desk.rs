//! Where callers are admitted to a provider, without asking its actor.
//!
//! The actor publishes a [`View`]; a caller that passes it holds a [`Permit`] while it calls, and the permit
//! reports the outcome, also when it is just dropped. Refusals say nothing about the provider and cost no
//! more than a few reads. Deciding is not done here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    actor::{Outcome, ProviderNews},
    breaker::State,
    policy::ProviderPolicy,
};
use crate::{
    error::ErrorKind,
    ports::{Clock, Provider},
    supervision::Handle,
};

/// What a provider's actor has decided.
pub(crate) struct View {
    pub(crate) generation: u64,
    pub(crate) state: State,
    /// Why it is not closed.
    pub(crate) reason: Arc<str>,
    /// The one probe of a half-open circuit.
    pub(crate) probe: AtomicBool,
}

impl View {
    pub(crate) fn probe_is_out(&self) -> bool {
        self.state == State::HalfOpen && self.probe.load(Ordering::Acquire)
    }
}

/// One provider as callers know it. It outlives every life of the actor behind it.
pub struct ProviderDesk {
    pub(crate) name: Arc<str>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) policy: ProviderPolicy,
    pub(crate) view: ArcSwap<View>,
    pub(crate) actor: Handle<ProviderNews>,
    clock: Arc<dyn Clock>,
    bulkhead: Arc<Semaphore>,
    answered: AtomicU64,
    failed: AtomicU64,
    metrics: Metrics,
}

/// How a provider is, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderStatus {
    /// Its name.
    pub name: Arc<str>,
    /// `closed`, `open` or `half_open`.
    pub circuit: &'static str,
    /// Why it is not closed.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Arc<str>,
    /// Milliseconds until it may be probed, while open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_in_ms: Option<u64>,
    /// Attempts under way.
    pub in_flight: usize,
    /// How many may be; nothing, if as many as come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<usize>,
    /// Attempts that were answered.
    pub answered: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// Why a caller was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `CircuitOpen` or `Busy`.
    pub kind: ErrorKind,
    /// How long until it may be worth coming back.
    pub retry_after: Option<Duration>,
}

impl ProviderDesk {
    pub(crate) fn new(
        name: Arc<str>,
        provider: Arc<dyn Provider>,
        policy: ProviderPolicy,
        view: View,
        actor: Handle<ProviderNews>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let metrics = Metrics::new(&name);
        Self {
            name,
            provider,
            policy,
            view: ArcSwap::from_pointee(view),
            actor,
            clock,
            bulkhead: Arc::new(Semaphore::new(capacity(&policy))),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            metrics,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its actor, for supervision scenarios.
    pub fn actor(&self) -> &Handle<ProviderNews> {
        &self.actor
    }

    /// Admits one attempt, or says why not. The circuit is looked at first and the probe is taken last: an
    /// open circuit costs no slot, and a scarce probe is not spent on a full bulkhead (PC6).
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, Refusal> {
        let view = self.view.load();
        if let State::Open { until } = view.state {
            return Err(self.refuse(ErrorKind::CircuitOpen, Some(until.saturating_duration_since(now))));
        }
        if view.probe_is_out() {
            return Err(self.refuse(ErrorKind::CircuitOpen, None));
        }
        let Ok(slot) = self.bulkhead.clone().try_acquire_owned() else {
            return Err(self.refuse(ErrorKind::Busy, None));
        };
        let probe = view.state == State::HalfOpen;
        if probe && view.probe.swap(true, Ordering::AcqRel) {
            return Err(self.refuse(ErrorKind::CircuitOpen, None));
        }
        Ok(Permit { desk: self.clone(), generation: view.generation, started: now, open: true, _slot: slot })
    }

    fn refuse(&self, kind: ErrorKind, retry_after: Option<Duration>) -> Refusal {
        self.metrics.ended(Some(kind));
        Refusal { kind, retry_after }
    }

    /// Could a call be admitted, as far as the circuit is concerned?
    pub fn is_usable(&self) -> bool {
        self.view.load().state == State::Closed
    }

    /// Does it wait for a call to try it out?
    pub(crate) fn wants_probe(&self) -> bool {
        let view = self.view.load();
        view.state == State::HalfOpen && !view.probe_is_out()
    }

    /// Why the circuit is not closed, in one sentence; empty when it is.
    pub fn reason(&self) -> Arc<str> {
        self.view.load().reason.clone()
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        capacity(&self.policy) - self.bulkhead.available_permits()
    }

    /// How it is.
    pub fn status(&self, now: Instant) -> ProviderStatus {
        let view = self.view.load();
        let probe_in_ms = match view.state {
            State::Open { until } => Some(until.saturating_duration_since(now).as_millis() as u64),
            _ => None,
        };
        ProviderStatus {
            name: self.name.clone(),
            circuit: view.state.name(),
            reason: view.reason.clone(),
            probe_in_ms,
            in_flight: self.in_flight(),
            max_concurrent: self.policy.max_concurrent,
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

fn capacity(policy: &ProviderPolicy) -> usize {
    policy.max_concurrent.unwrap_or(Semaphore::MAX_PERMITS)
}

/// The right to make one attempt. Its slot comes home when it is dropped, whatever happened.
pub struct Permit {
    desk: Arc<ProviderDesk>,
    generation: u64,
    started: Instant,
    open: bool,
    _slot: OwnedSemaphorePermit,
}

impl Permit {
    /// When the attempt began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The provider it is for.
    pub fn desk(&self) -> &Arc<ProviderDesk> {
        &self.desk
    }

    /// Notes that the first content has arrived.
    pub(crate) fn first_token(&self) {
        self.desk.metrics.first_token.record(self.desk.clock.now().saturating_duration_since(self.started));
    }

    /// Reports that the provider answered.
    pub(crate) fn answered(mut self) {
        self.desk.answered.fetch_add(1, Ordering::Relaxed);
        self.report(None);
    }

    /// Reports how the attempt failed.
    pub(crate) fn failed(mut self, kind: ErrorKind) {
        self.desk.failed.fetch_add(1, Ordering::Relaxed);
        self.report(Some(kind));
    }

    fn report(&mut self, failure: Option<ErrorKind>) {
        self.open = false;
        let desk = &self.desk;
        desk.metrics.ended(failure);
        desk.metrics.attempt.record(desk.clock.now().saturating_duration_since(self.started));
        let outcome = Outcome { generation: self.generation, failure };
        if desk.actor.tell(ProviderNews::Outcome(outcome)).is_err() {
            desk.metrics.dropped.increment(1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.open {
            self.report(Some(ErrorKind::Cancelled));
        }
    }
}

/// Handles made once: a call touches no registry.
struct Metrics {
    answered: Counter,
    ended: [Counter; ErrorKind::ALL.len()],
    attempt: Histogram,
    first_token: Histogram,
    dropped: Counter,
}

impl Metrics {
    fn new(provider: &str) -> Self {
        let attempts = |outcome: &'static str| metrics::counter!("mainstay_attempts_total", "provider" => provider.to_string(), "outcome" => outcome);
        let label = || provider.to_string();
        Self {
            answered: attempts("ok"),
            ended: ErrorKind::ALL.map(|kind| attempts(kind.code())),
            attempt: metrics::histogram!("mainstay_attempt_seconds", "provider" => label()),
            first_token: metrics::histogram!("mainstay_first_token_seconds", "provider" => label()),
            dropped: metrics::counter!("mainstay_outcomes_dropped_total", "provider" => label()),
        }
    }

    fn ended(&self, failure: Option<ErrorKind>) {
        match failure {
            Some(kind) => self.ended[kind as usize].increment(1),
            None => self.answered.increment(1),
        }
    }
}
