//! One circuit as callers see it: who may pass, decided by a few reads.
//!
//! The provider's actor publishes a [`View`]; callers go by it until the next one. When the circuit opens, and for
//! how long, is decided by [`breaker`](super::breaker).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;

use super::{
    admission::Refusal,
    breaker::{Breaker, State, Trial},
    limiter::{LimitUse, Limiter},
    pace::Pace,
};
use crate::error::ErrorKind;

/// What a provider's actor has decided about one circuit.
pub(crate) struct View {
    pub(crate) generation: u64,
    pub(crate) state: State,
    /// Since when it is not closed, since the Unix epoch in milliseconds.
    pub(crate) since_unix_ms: Option<u64>,
    /// Why it is not closed.
    pub(crate) reason: Arc<str>,
    /// Is the one call that may pass under way?
    probe: AtomicBool,
    /// How many calls came while only a share of them may pass.
    came: AtomicU64,
}

impl View {
    pub(crate) fn of(breaker: &Breaker, since_unix_ms: Option<u64>, reason: Arc<str>) -> Self {
        let (generation, state) = (breaker.generation(), breaker.state());
        Self {
            generation,
            state,
            since_unix_ms,
            reason,
            probe: AtomicBool::new(false),
            came: AtomicU64::new(0),
        }
    }

    pub(crate) fn probe_is_out(&self) -> bool {
        self.state == State::HalfOpen(Trial::One) && self.probe.load(Ordering::Acquire)
    }

    /// Every so many calls one passes: evenly, and without any chance.
    fn is_among(&self, share: u8) -> bool {
        let (came, share) = (self.came.fetch_add(1, Ordering::Relaxed), u64::from(share));
        (came + 1) * share / 100 > came * share / 100
    }
}

/// A circuit: the account's, which all models share, or that of one model.
pub struct Circuit {
    /// The model; nothing for the account's own.
    model: Option<Arc<str>>,
    pub(crate) view: ArcSwap<View>,
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) pace: Pace,
    /// Does a chain ask for it? If not, how it stands says nothing about the provider.
    asked_for: AtomicBool,
    /// How fast it may be asked: the account's as the operator says, a model's as its provider says.
    limiter: Mutex<Limiter>,
}

/// How a caller passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) generation: u64,
}

impl Circuit {
    pub(crate) fn new(model: Option<Arc<str>>, breaker: &Breaker, limiter: Limiter) -> Self {
        let view = ArcSwap::from_pointee(View::of(breaker, None, "".into()));
        let (answered, failed, pace) = Default::default();
        let (asked_for, limiter) = (AtomicBool::new(false), Mutex::new(limiter));
        Self { model, view, answered, failed, pace, asked_for, limiter }
    }

    /// The model it is for; nothing for the one of the whole account.
    pub fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    pub(crate) fn is_asked_for(&self) -> bool {
        self.asked_for.load(Ordering::Relaxed)
    }

    pub(crate) fn ask_for(&self, asked_for: bool) {
        self.asked_for.store(asked_for, Ordering::Relaxed);
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.view.load().state
    }

    /// What is used of its limits, as far as they are known.
    pub fn limits(&self, now: Instant) -> Vec<LimitUse> {
        let usage = self.limiter().usage(now);
        usage.into_iter().filter(|usage| usage.limit.is_some()).collect()
    }

    /// Held for a few additions at a time, and never across an await.
    pub(crate) fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Would a caller be let through? Nothing is taken yet. Who insists passes a circuit that only some may pass.
    pub(crate) fn look(&self, now: Instant, insist: bool) -> Result<(), Refusal> {
        let view = self.view.load();
        let refused = |kind, until: Option<Instant>| {
            let retry_after = until.map(|until| until.saturating_duration_since(now));
            Err(Refusal { kind, retry_after, soft: false })
        };
        match view.state {
            State::Closed => Ok(()),
            State::Open { until } => refused(ErrorKind::CircuitOpen, Some(until)),
            State::Isolated { until } => refused(ErrorKind::Isolated, until),
            State::HalfOpen(Trial::One) if view.probe_is_out() => refused(ErrorKind::CircuitOpen, None),
            State::HalfOpen(Trial::Share(share)) if !insist && !view.is_among(share) => {
                Err(Refusal { kind: ErrorKind::CircuitOpen, retry_after: None, soft: true })
            }
            State::HalfOpen(_) => Ok(()),
        }
    }

    /// Lets the caller through, the last thing before it calls: of those who want the one probe, one gets it.
    pub(crate) fn pass(&self) -> Result<Pass, Refusal> {
        let view = self.view.load();
        let passes = match view.state {
            State::Open { .. } | State::Isolated { .. } => false,
            State::HalfOpen(Trial::One) => !view.probe.swap(true, Ordering::AcqRel),
            State::Closed | State::HalfOpen(Trial::Share(_)) => true,
        };
        let refusal = Refusal { kind: ErrorKind::CircuitOpen, retry_after: None, soft: false };
        if passes { Ok(Pass { generation: view.generation }) } else { Err(refusal) }
    }

    /// Gives a pass back that was not used.
    pub(crate) fn give_back(&self, pass: Pass) {
        let view = self.view.load();
        if view.generation == pass.generation {
            view.probe.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::SystemClock,
        ports::Clock,
        provider::{limiter::LimitPolicy, policy::BreakerPolicy},
    };

    fn view(state: State) -> View {
        View { state, ..View::of(&Breaker::new(BreakerPolicy::default()), None, "".into()) }
    }

    #[test]
    fn of_a_share_exactly_so_many_of_a_hundred_pass_evenly() {
        for share in [5, 10, 25, 50] {
            let view = view(State::HalfOpen(Trial::Share(share)));
            let passed: Vec<_> = (0..1000).filter(|_| view.is_among(share)).collect();
            assert_eq!(passed.len(), 10 * usize::from(share), "{share} %"); // PC9
            let every = 100 / usize::from(share);
            assert!(passed.windows(2).all(|pair| pair[1] - pair[0] == every), "{share} %: {passed:?}");
        }
    }

    #[test]
    fn the_one_probe_can_be_given_back_and_only_by_who_holds_it() {
        let breaker = Breaker::new(BreakerPolicy::default());
        let circuit = Circuit::new(None, &breaker, Limiter::new(LimitPolicy::default(), SystemClock.now()));
        circuit.view.store(Arc::new(view(State::HalfOpen(Trial::One))));
        let pass = circuit.pass().unwrap();
        assert!(circuit.pass().is_err());
        circuit.give_back(Pass { generation: pass.generation + 1 });
        assert!(circuit.pass().is_err());
        circuit.give_back(pass);
        assert!(circuit.pass().is_ok());
    }
}
