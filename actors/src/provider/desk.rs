//! Where callers are admitted to a provider, without asking its actor.
//!
//! The actor publishes how the circuits stand; a caller that passes them holds a [`Permit`] while it calls.
//! Refusals say nothing about the provider and cost no more than a few reads. Deciding is not done here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;

use super::{
    actor::{Order, ProviderNews},
    breaker::{Breaker, State, Trial},
    bulkhead::{Bulkhead, Place},
    circuit::Circuit,
    permit::{Metrics, Passes, Permit},
    policy::ProviderPolicy,
};
use crate::{
    error::ErrorKind,
    ports::{Clock, Provider},
    supervision::Handle,
};

/// One provider as callers know it. It outlives every life of the actor behind it.
pub struct ProviderDesk {
    pub(crate) name: Arc<str>,
    pub(crate) provider: Arc<dyn Provider>,
    policy: ArcSwap<ProviderPolicy>,
    account: Arc<Circuit>,
    models: Mutex<BTreeMap<Arc<str>, Arc<Circuit>>>,
    actor: Handle<ProviderNews>,
    clock: Arc<dyn Clock>,
    bulkhead: Arc<Bulkhead>,
    pub(super) metrics: Metrics,
}

/// What a caller is about to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// Until when it waits for an answer.
    pub deadline: Option<Instant>,
}

/// Why a caller was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `CircuitOpen`, `Isolated`, `Busy`, `Throttled` or `NoTime`.
    pub kind: ErrorKind,
    /// How long until it may be worth coming back.
    pub retry_after: Option<Duration>,
    /// Would it be admitted if it insisted, because nobody else can answer it?
    pub soft: bool,
}

impl ProviderDesk {
    pub(crate) fn new(
        name: Arc<str>,
        provider: Arc<dyn Provider>,
        policy: ProviderPolicy,
        actor: Handle<ProviderNews>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let account = Circuit::new(None, &Breaker::new(policy.breaker.unwrap_or_default()));
        Self {
            metrics: Metrics::new(&name),
            name,
            provider,
            account: Arc::new(account),
            models: Mutex::default(),
            actor,
            clock,
            bulkhead: Arc::new(Bulkhead::new(policy.max_concurrent)),
            policy: ArcSwap::from_pointee(policy),
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

    /// How it is protected now.
    pub fn policy(&self) -> Guard<Arc<ProviderPolicy>> {
        self.policy.load()
    }

    /// The circuit of the whole account: it opens when the provider cannot be reached, or refuses our key.
    pub fn account(&self) -> &Arc<Circuit> {
        &self.account
    }

    /// The circuit of one model. There is one from the first time that somebody asks for it.
    pub fn model(&self, model: &str) -> Arc<Circuit> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(circuit) = models.get(model) {
            return circuit.clone();
        }
        let name: Arc<str> = model.into();
        let breaker = Breaker::new(self.policy().breaker.unwrap_or_default());
        models.entry(name.clone()).or_insert_with(|| Arc::new(Circuit::new(Some(name), &breaker))).clone()
    }

    /// The circuits of all models, in order of their names.
    pub fn models(&self) -> Vec<Arc<Circuit>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Protects it by `policy` from now on. Nothing that was learnt is lost: circuits stay as they are, and calls
    /// under way end as they began.
    pub fn adapt(&self, policy: ProviderPolicy) -> Result<(), &'static str> {
        policy.check()?;
        self.policy.store(Arc::new(policy));
        self.bulkhead.resize(policy.max_concurrent);
        self.tell(ProviderNews::Order(Order::Adapt));
        Ok(())
    }

    /// Takes it out, for so long or until [`close`](Self::close) is called: calls are refused as `isolated`.
    /// `reason` is told to everybody; it should say who did it and why.
    pub fn isolate(&self, time: Option<Duration>, reason: impl Into<Arc<str>>) {
        let until = time.map(|time| self.now() + time);
        self.tell(ProviderNews::Order(Order::Isolate { until, reason: reason.into() }));
    }

    /// Lets calls pass again at once: closes the circuits of the account and of all models.
    pub fn close(&self) {
        self.tell(ProviderNews::Order(Order::Close));
    }

    /// Admits one attempt, or says why not. The circuits are looked at first and a probe is taken last: an open
    /// circuit costs no place, and a scarce probe is not spent on a full bulkhead (PC6).
    pub fn admit(self: &Arc<Self>, model: &Arc<Circuit>, ask: Ask) -> Result<Permit, Refusal> {
        let now = self.now();
        let looked = self.look(model, ask, now, false);
        let place = looked.and_then(|()| self.bulkhead.enter().ok_or_else(|| self.busy(true)));
        place.and_then(|place| self.pass(model, place, now)).map_err(|refusal| self.refused(refusal))
    }

    /// The same for a call that nobody else can answer: it passes a circuit that only some may pass, and waits for
    /// a place as long as the policy and its deadline let it.
    pub async fn admit_insisting(
        self: &Arc<Self>,
        model: &Arc<Circuit>,
        ask: Ask,
    ) -> Result<Permit, Refusal> {
        self.insist(model, ask).await.map_err(|refusal| self.refused(refusal))
    }

    async fn insist(self: &Arc<Self>, model: &Arc<Circuit>, ask: Ask) -> Result<Permit, Refusal> {
        self.look(model, ask, self.now(), true)?;
        let patience = self.now() + self.policy().max_wait;
        let place = self.bulkhead.wait(ask.deadline.map_or(patience, |end| end.min(patience))).await;
        let place = place.ok_or_else(|| self.busy(false))?;
        // What was seen before the wait may be old.
        let now = self.now();
        self.look(model, ask, now, true)?;
        self.pass(model, place, now)
    }

    fn look(&self, model: &Circuit, ask: Ask, now: Instant, insist: bool) -> Result<(), Refusal> {
        self.account.look(now, insist)?;
        model.look(now, insist)?;
        let expected = now + model.pace.expected();
        if ask.deadline.is_some_and(|deadline| deadline <= expected) {
            model.pace.doubt();
            return Err(Refusal { kind: ErrorKind::NoTime, retry_after: None, soft: false });
        }
        Ok(())
    }

    fn pass(self: &Arc<Self>, model: &Arc<Circuit>, place: Place, now: Instant) -> Result<Permit, Refusal> {
        let account = self.account.pass()?;
        let passes = match model.pass() {
            Ok(model) => Passes { account, model },
            Err(refusal) => {
                self.account.give_back(account);
                return Err(refusal);
            }
        };
        let (desk, model) = (self.clone(), model.clone());
        Ok(Permit { desk, model, passes, started: now, _place: place, slow: false, open: true })
    }

    fn busy(&self, may_wait: bool) -> Refusal {
        let soft = may_wait && !self.policy().max_wait.is_zero();
        Refusal { kind: ErrorKind::Busy, retry_after: None, soft }
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        self.metrics.ended(Some(refusal.kind));
        refusal
    }

    /// Can it be reached, and is there a model that answers, as far as the circuits tell?
    pub fn is_usable(&self) -> bool {
        let models = self.models();
        let closed = |circuit: &Circuit| circuit.state() == State::Closed;
        closed(&self.account) && (models.is_empty() || models.iter().any(|model| closed(model)))
    }

    /// Does it wait for a call to try it out?
    pub(crate) fn wants_probe(&self, model: &Circuit) -> bool {
        let views = [self.account.view.load(), model.view.load()];
        let one = |state| state == State::HalfOpen(Trial::One);
        views.iter().any(|view| one(view.state) && !view.probe_is_out())
            && views.iter().all(|view| view.state.shut_until().is_none())
    }

    /// Why calls for this model are refused, in one sentence; empty when they are not.
    pub fn reason(&self, model: &Circuit) -> Arc<str> {
        let account = self.account.view.load();
        if account.state == State::Closed { model.view.load().reason.clone() } else { account.reason.clone() }
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.bulkhead.taken()
    }

    /// A message that is lost is counted: the actor's decisions stand until it hears more.
    pub(super) fn tell(&self, news: ProviderNews) {
        if self.actor.tell(news).is_err() {
            self.metrics.dropped.increment(1);
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// How it is.
    pub fn status(&self, now: Instant) -> ProviderStatus {
        let models: Vec<_> = self.models().iter().map(|model| CircuitStatus::of(model, now)).collect();
        let account = CircuitStatus::of(&self.account, now);
        let worst = models.iter().rev().max_by_key(|model| model.severity());
        let deciding = worst.filter(|_| account.severity() == 0).unwrap_or(&account);
        ProviderStatus {
            name: self.name.clone(),
            circuit: deciding.circuit,
            reason: deciding.reason.clone(),
            since_unix_ms: deciding.since_unix_ms,
            probe_in_ms: deciding.probe_in_ms,
            in_flight: self.in_flight(),
            waiting: self.bulkhead.waiting(),
            max_concurrent: self.bulkhead.limit(),
            answered: models.iter().map(|model| model.answered).sum(),
            failed: models.iter().map(|model| model.failed).sum(),
            account,
            models,
        }
    }
}

/// How a provider is, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderStatus {
    /// Its name.
    pub name: Arc<str>,
    /// `closed`, `open`, `half_open` or `isolated`: the account's circuit, or the worst of its models.
    pub circuit: &'static str,
    /// Why it is not closed.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Arc<str>,
    /// Since when it is not closed, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// Milliseconds until a call may try it, while nothing passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_in_ms: Option<u64>,
    /// The circuit that all its models share.
    pub account: CircuitStatus,
    /// The circuit of each model.
    pub models: Vec<CircuitStatus>,
    /// Attempts under way.
    pub in_flight: usize,
    /// Calls that wait for a place.
    pub waiting: usize,
    /// How many attempts may be under way; nothing, if as many as come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<usize>,
    /// Attempts that were answered.
    pub answered: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// How one circuit is.
#[derive(Clone, Debug, Serialize)]
pub struct CircuitStatus {
    /// The model; nothing for the one of the whole account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// `closed`, `open`, `half_open` or `isolated`.
    pub circuit: &'static str,
    /// Of a hundred calls so many may pass, while it is half-open; nothing, if one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<u8>,
    /// Why it is not closed.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Arc<str>,
    /// Since when it is not closed, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// Milliseconds until a call may try it, while nothing passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_in_ms: Option<u64>,
    /// Attempts that were answered.
    pub answered: u64,
    /// Attempts that failed.
    pub failed: u64,
}

impl CircuitStatus {
    fn severity(&self) -> u8 {
        ["half_open", "open", "isolated"]
            .iter()
            .position(|name| *name == self.circuit)
            .map_or(0, |at| at as u8 + 1)
    }

    fn of(circuit: &Circuit, now: Instant) -> Self {
        let view = circuit.view.load();
        let until = view.state.shut_until();
        let share = if let State::HalfOpen(Trial::Share(share)) = view.state { Some(share) } else { None };
        Self {
            model: circuit.model().cloned(),
            circuit: view.state.name(),
            share,
            reason: view.reason.clone(),
            since_unix_ms: view.since_unix_ms,
            probe_in_ms: until.map(|until| until.saturating_duration_since(now).as_millis() as u64),
            answered: circuit.answered.load(Ordering::Relaxed),
            failed: circuit.failed.load(Ordering::Relaxed),
        }
    }
}
