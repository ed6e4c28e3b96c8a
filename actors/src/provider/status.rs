//! How a provider is, for people and programs. Nothing is decided here.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    ProviderDesk,
    breaker::{State, Trial},
    circuit::Circuit,
    limiter::LimitUse,
};

impl ProviderDesk {
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
            retries_left: self.budget().left(now),
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
