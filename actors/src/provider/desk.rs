//! One provider as callers know it, without asking its actor.
//!
//! The actor publishes how the circuits stand; a caller that [passes](super::admission) them holds a
//! [`Permit`](super::permit::Permit) while it calls. Refusals say nothing about the provider and cost no more than a few
//! reads. Deciding is not done here.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};

use super::{
    actor::{Order, ProviderNews},
    breaker::{Breaker, State, Trial},
    bulkhead::Bulkhead,
    circuit::Circuit,
    limiter::{LimitPolicy, Limiter},
    payment::SharedBudget,
    permit::Metrics,
    policy::ProviderPolicy,
};
use crate::{
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
    pub(super) account: Arc<Circuit>,
    models: Mutex<BTreeMap<Arc<str>, Arc<Circuit>>>,
    actor: Handle<ProviderNews>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bulkhead: Arc<Bulkhead>,
    budget: SharedBudget,
    pub(super) metrics: Metrics,
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
            budget: SharedBudget::new(policy.budget, now),
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
        self.budget.configure(policy.budget);
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

    /// What it may be asked again.
    pub(crate) fn budget(&self) -> &SharedBudget {
        &self.budget
    }

    /// Changes how many attempts may run at once.
    pub(super) fn resize(&self, limit: Option<usize>) {
        self.bulkhead.resize(limit);
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

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }
}
