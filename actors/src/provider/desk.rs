//! Where callers are admitted to a provider, without asking its actor.
//!
//! The actor publishes how the circuits stand; a caller that passes them holds a [`Permit`] while it calls.
//! Refusals say nothing about the provider and cost no more than a few reads. Deciding is not done here.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;

use super::{
    actor::{Order, ProviderNews},
    breaker::{Breaker, State, Trial},
    budget::RetryBudget,
    bulkhead::{Bulkhead, Place},
    circuit::Circuit,
    limiter::{Demand, LimitPolicy, LimitUse, Limiter, Wait},
    permit::{Metrics, Passes, Permit, Reserved, Told},
    policy::ProviderPolicy,
};
use crate::{
    error::ErrorKind,
    ports::{Clock, Provider},
    shell::contain_now,
    supervision::{CallError, Handle, Patience},
};

/// One provider as callers know it. It outlives every life of the actor behind it.
pub struct ProviderDesk {
    pub(crate) name: Arc<str>,
    adapter: ArcSwap<Arc<dyn Provider>>,
    /// Rises when it becomes another account.
    account_number: AtomicU64,
    policy: ArcSwap<ProviderPolicy>,
    account: Arc<Circuit>,
    models: Mutex<BTreeMap<Arc<str>, Arc<Circuit>>>,
    actor: Handle<ProviderNews>,
    clock: Arc<dyn Clock>,
    bulkhead: Arc<Bulkhead>,
    budget: Mutex<RetryBudget>,
    pub(super) metrics: Metrics,
}

/// What a caller is about to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// Until when it waits for an answer.
    pub deadline: Option<Instant>,
    /// What it will take of the rate limits, as far as that is known before.
    pub demand: Demand,
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
        let now = clock.now();
        let limiter = Limiter::new(policy.limits.unwrap_or_default(), now);
        let account = Circuit::new(None, &Breaker::new(policy.breaker.unwrap_or_default()), limiter);
        Self {
            budget: Mutex::new(RetryBudget::new(policy.budget.unwrap_or_default(), now)),
            metrics: Metrics::new(&name),
            name,
            adapter: ArcSwap::from_pointee(provider),
            account_number: AtomicU64::new(0),
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

    /// What speaks to it. Targets keep the one that they began with.
    pub(crate) fn adapter(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.adapter.load())
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
        let limiter = Limiter::new(LimitPolicy::default(), self.now());
        let breaker = Breaker::new(self.policy().breaker.unwrap_or_default());
        models
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Circuit::new(Some(name), &breaker, limiter)))
            .clone()
    }

    /// The circuits of the models that some chain asks for, in order of their names.
    pub fn models(&self) -> Vec<Arc<Circuit>> {
        self.all_models().into_iter().filter(|circuit| circuit.is_asked_for()).collect()
    }

    /// The same with those that no chain asks for any more, or not yet.
    pub(crate) fn all_models(&self) -> Vec<Arc<Circuit>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Protects it by `policy` from now on. Nothing that was learnt is lost: circuits stay as they are, and calls
    /// under way end as they began.
    pub fn adapt(&self, policy: ProviderPolicy) -> Result<(), &'static str> {
        policy.check()?;
        self.protect(policy);
        Ok(())
    }

    /// The same with one that is checked.
    pub(crate) fn protect(&self, policy: ProviderPolicy) {
        self.policy.store(Arc::new(policy));
        self.account.limiter().configure(policy.limits.unwrap_or_default());
        self.budget().configure(policy.budget.unwrap_or_default());
        self.tell(ProviderNews::Order(Order::Adapt));
    }

    /// Speaks to it through another adapter from now on. `moved`: it is another account, at another address or with
    /// another key, so what its circuits knew of the last one no longer holds.
    pub(crate) fn replace(&self, adapter: Arc<dyn Provider>, moved: bool) {
        self.adapter.store(Arc::new(adapter));
        self.account_number.fetch_add(u64::from(moved), Ordering::Relaxed);
    }

    pub(super) fn account_number(&self) -> u64 {
        self.account_number.load(Ordering::Relaxed)
    }

    /// Takes it out, for so long or until [`close`](Self::close) is called: calls are refused as `isolated`.
    /// `reason` is told to everybody; it should say who did it and why.
    pub fn isolate(&self, time: Option<Duration>, reason: impl Into<Arc<str>>) {
        let until = time.map(|time| self.now() + time);
        self.tell(ProviderNews::Order(Order::Isolate { model: None, until, reason: reason.into() }));
    }

    /// Lets calls pass again at once: closes the circuits of the account and of all models.
    pub fn close(&self) {
        self.tell(ProviderNews::Order(Order::Close));
    }

    /// Does what somebody wants, and waits until it is done; an order that reaches no life of the actor goes to the
    /// next one.
    pub async fn carry_out(&self, order: Order, within: Duration) -> Result<(), CallError> {
        self.actor.call(|done| ProviderNews::Ordered(order, done), within, Patience::Wait).await
    }

    /// Takes back all that was held against it since then: it was not its fault.
    pub(crate) fn pardon(&self, since: Instant) {
        self.tell(ProviderNews::Order(Order::Pardon(since)));
    }

    /// Admits one attempt, or says why not. The circuits are looked at first and a probe is taken last: an open
    /// circuit costs no place, and a scarce probe is not spent on a full bulkhead (PC6).
    pub fn admit(self: &Arc<Self>, model: &Arc<Circuit>, ask: Ask) -> Result<Permit, Refusal> {
        let now = self.now();
        self.try_admit(model, ask, now).map_err(|refusal| self.refused(refusal))
    }

    fn try_admit(self: &Arc<Self>, model: &Arc<Circuit>, ask: Ask, now: Instant) -> Result<Permit, Refusal> {
        self.look(model, ask, now, false)?;
        let reserved = self.reserve(model, ask, now)?;
        let place = self.bulkhead.enter();
        self.take(model, reserved, place.ok_or_else(|| self.busy(true)), now)
    }

    /// The last steps, after which what was reserved belongs to the permit, or to nobody.
    fn take(
        self: &Arc<Self>,
        model: &Arc<Circuit>,
        reserved: Option<Reserved>,
        place: Result<Place, Refusal>,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        match place.and_then(|place| Ok((place, self.pass(model)?))) {
            Ok((place, passes)) => {
                let (desk, model, told) = (self.clone(), model.clone(), Told::default());
                Ok(Permit {
                    desk,
                    model,
                    passes,
                    started: now,
                    _place: place,
                    reserved,
                    told,
                    slow: false,
                    open: true,
                })
            }
            Err(refusal) => {
                if let Some(Reserved { account, model: of_model }) = reserved {
                    self.account.limiter().cancel(account, now);
                    model.limiter().cancel(of_model, now);
                }
                Err(refusal)
            }
        }
    }

    /// Takes what the call needs of the operator's limits and of the model's, or nothing of either.
    fn reserve(&self, model: &Circuit, ask: Ask, now: Instant) -> Result<Option<Reserved>, Refusal> {
        if self.policy().limits.is_none() {
            return Ok(None);
        }
        let account = self.account.limiter().reserve(ask.demand, now);
        let account = account.map_err(|wait| self.throttled(wait))?;
        match model.limiter().reserve(ask.demand, now) {
            Ok(model) => Ok(Some(Reserved { account, model })),
            Err(wait) => {
                self.account.limiter().cancel(account, now);
                Err(self.throttled(wait))
            }
        }
    }

    fn throttled(&self, wait: Wait) -> Refusal {
        let soft = wait.time <= self.policy().max_wait;
        Refusal { kind: ErrorKind::Throttled, retry_after: Some(wait.time), soft }
    }

    /// Pays for asking the provider again in one call; false: the call must not (PC15).
    pub(crate) fn pay(&self) -> bool {
        self.policy().budget.is_none() || self.budget().withdraw(self.now())
    }

    /// A call asks the provider for the first time, and earns a share of what others may ask again.
    pub(crate) fn earn(&self) {
        self.budget().deposit(self.now());
    }

    fn budget(&self) -> MutexGuard<'_, RetryBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
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
        let until = ask.deadline.map_or(patience, |end| end.min(patience));
        let place = self.bulkhead.wait(until).await.ok_or_else(|| self.busy(false))?;
        let reserved = loop {
            let now = self.now();
            match self.reserve(model, ask, now) {
                Err(Refusal { retry_after: Some(wait), .. }) if now + wait <= until => {
                    tokio::time::sleep(wait).await;
                }
                reserved => break reserved?,
            }
        };
        // What was seen before the wait may be old.
        let now = self.now();
        let looked = self.look(model, ask, now, true);
        self.take(model, reserved, looked.map(|()| place), now)
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

    fn pass(&self, model: &Circuit) -> Result<Passes, Refusal> {
        let account = self.account.pass()?;
        match model.pass() {
            Ok(model) => Ok(Passes { account, model }),
            Err(refusal) => {
                self.account.give_back(account);
                Err(refusal)
            }
        }
    }

    /// Changes how many attempts may run at once.
    pub(super) fn resize(&self, limit: Option<usize>) {
        self.bulkhead.resize(limit);
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

    /// Can it be asked, without any caller, whether it can be reached?
    pub(super) fn has_probe(&self) -> bool {
        let mut has = false;
        contain_now(|| has = self.adapter().probe().is_some()).is_ok() && has
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// How it is.
    pub fn status(&self, now: Instant) -> ProviderStatus {
        let unix = self.clock.unix_time();
        let models: Vec<_> = self.models().iter().map(|model| CircuitStatus::of(model, now, unix)).collect();
        let account = CircuitStatus::of(&self.account, now, unix);
        let worst = models.iter().rev().max_by_key(|model| model.severity());
        let deciding = worst.filter(|_| account.severity() == 0).unwrap_or(&account);
        ProviderStatus {
            name: self.name.clone(),
            circuit: deciding.circuit,
            reason: deciding.reason.clone(),
            since_unix_ms: deciding.since_unix_ms,
            until_unix_ms: deciding.until_unix_ms,
            probe_in_ms: deciding.probe_in_ms,
            in_flight: self.in_flight(),
            waiting: self.bulkhead.waiting(),
            max_concurrent: self.bulkhead.limit(),
            retries_left: self.policy().budget.map(|_| self.budget().left(now)),
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
    /// Until when nothing passes, in milliseconds since the Unix epoch; nothing, if no time is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
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
    /// How many retries its budget would pay for now; nothing, if there is no budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries_left: Option<u64>,
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
    /// Until when nothing passes, in milliseconds since the Unix epoch; nothing, if no time is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
    /// Milliseconds until a call may try it, while nothing passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_in_ms: Option<u64>,
    /// What is used of its rate limits, as far as they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitUse>,
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

    fn of(circuit: &Circuit, now: Instant, unix: Duration) -> Self {
        let view = circuit.view.load();
        let left = view.state.shut_until().map(|until| until.saturating_duration_since(now));
        let share = if let State::HalfOpen(Trial::Share(share)) = view.state { Some(share) } else { None };
        Self {
            model: circuit.model().cloned(),
            circuit: view.state.name(),
            share,
            reason: view.reason.clone(),
            since_unix_ms: view.since_unix_ms,
            until_unix_ms: left.map(|left| (unix + left).as_millis() as u64),
            probe_in_ms: left.map(|left| left.as_millis() as u64),
            limits: circuit.limits(now),
            answered: circuit.answered.load(Ordering::Relaxed),
            failed: circuit.failed.load(Ordering::Relaxed),
        }
    }
}
