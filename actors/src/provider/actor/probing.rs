//! Probes of the actor's own: it asks whether its provider can be reached when no caller does, and before one is
//! risked on an open circuit.
//!
//! A probe takes no place and nothing of any limit. Its failure counts; its success only lets calls try an open
//! circuit, and decides nothing (PC21). How to probe is the adapter's business.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{Memory, ProviderActor, ProviderNews};
use crate::{
    error::{ErrorKind, Isolate, Verdict},
    ports::Provider,
    provider::{Circuit, breaker::State, policy::ProbePolicy},
    shell::{Cx, contain},
};

/// How a probe ended.
pub struct Probed {
    /// The circuits it was made for, each with its generation then.
    asked: Vec<(Arc<Circuit>, u64)>,
    began: Instant,
    failure: Option<ErrorKind>,
}

/// For how long nothing was heard of a provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    /// When something was heard last, or a probe began.
    since: Instant,
    /// Did the last probe fail?
    failed: bool,
}

impl Idle {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, failed: false }
    }

    /// A call says more than any probe.
    pub(super) fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Whoever was heard since the probe began said more than it.
    fn probed(&mut self, began: Instant, failed: bool) {
        self.failed = failed && self.since == began;
    }

    /// When to probe. After a failure the pace is that of a suspicion: enough of them to open the circuit come
    /// within one more `every`.
    fn probes_at(&self, every: Duration, failures: u32) -> Instant {
        self.since + if self.failed { every / failures.max(1) } else { every }
    }
}

impl Memory {
    /// When to probe the provider because it is idle; never, while its account's circuit says more.
    pub(super) fn probes_at(&self, policy: ProbePolicy) -> Option<Instant> {
        let closed = self.circuits.get(&None)?.breaker.state() == State::Closed;
        let failures = self.policy.breaker?.failures;
        closed.then(|| self.idle.probes_at(policy.every, failures))
    }
}

impl ProviderActor {
    /// How to probe, if there is any use in it and any way to.
    pub(super) fn probe_policy(&self) -> Option<ProbePolicy> {
        let policy = **self.desk.policy();
        policy.probe.filter(|_| policy.breaker.is_some() && self.desk.has_probe())
    }

    /// Asks for all circuits that want to know, if one does and no probe is under way.
    pub(super) fn probe(&mut self, policy: ProbePolicy, cx: &Cx<ProviderNews>) {
        let began = cx.commons().now();
        let asked = self.askers(policy, began);
        if self.probe.is_none() && !asked.is_empty() {
            self.vault.with(|memory| memory.idle.since = began);
            let provider = self.desk.adapter();
            self.probe = Some(cx.hold(async move {
                let failure = failure_of(provider, policy.timeout).await;
                ProviderNews::Probed(Probed { asked, began, failure })
            }));
        }
    }

    /// Circuits whose open time is over, and the account's when nothing was heard of it for long.
    fn askers(&self, policy: ProbePolicy, now: Instant) -> Vec<(Arc<Circuit>, u64)> {
        let circuits = self.circuits();
        self.vault.with(|memory| {
            let idle = memory.probes_at(policy).is_some_and(|at| now >= at);
            let wants = |circuit: &Arc<Circuit>| {
                let breaker = &memory.known(&circuit.model().cloned()).breaker;
                let asks = breaker.is_due(now) || idle && circuit.model().is_none();
                asks.then(|| (circuit.clone(), breaker.generation()))
            };
            circuits.iter().filter_map(wants).collect()
        })
    }

    pub(super) fn probed(&mut self, Probed { asked, began, failure }: Probed, cx: &Cx<ProviderNews>) {
        self.probe = None;
        self.count(failure);
        let excused = self.is_excused(failure, cx);
        let failure = failure.filter(|kind| is_dead(*kind) && !excused);
        let (now, chance) = (cx.commons().now(), self.chance.f64());
        self.vault.with(|memory| memory.idle.probed(began, failure.is_some()));
        for (circuit, generation) in asked {
            self.change(&circuit, cx, |known| match failure {
                _ if known.breaker.generation() != generation => false,
                None => known.breaker.wake(now),
                Some(kind) => {
                    known.story.failed(Some(kind));
                    known.breaker.probe_failed(generation, now, chance)
                }
            });
        }
        self.arm(cx);
    }

    fn count(&self, failure: Option<ErrorKind>) {
        let outcome = failure.map_or("ok", ErrorKind::code);
        metrics::counter!("mainstay_probes_total", "provider" => self.desk.name.to_string(), "outcome" => outcome)
            .increment(1);
    }
}

/// Some keys may not ask what probes ask: whether a key is good, calls find out.
fn is_dead(kind: ErrorKind) -> bool {
    let class = kind.class();
    class.verdict == Verdict::Failing && class.isolate == Isolate::No
}

/// Why a probe fails, if it does.
async fn failure_of(provider: Arc<dyn Provider>, limit: Duration) -> Option<ErrorKind> {
    let probe = async {
        Ok(match provider.probe() {
            Some(probe) => probe.await.err().map(|error| error.kind),
            None => None,
        })
    };
    match timeout(limit, contain(probe)).await {
        Ok(Ok(failure)) => failure,
        Ok(Err(_)) => Some(ErrorKind::Panicked),
        Err(_) => Some(ErrorKind::TotalTimeout),
    }
}
