//! The actor of one provider: hears outcomes, lets the breaker decide, publishes, reports.
//!
//! The circuit it leaves to its next life stands in the vault. Calls are not made here.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    breaker::{Breaker, State},
    desk::{ProviderDesk, View},
    policy::ProviderPolicy,
};
use crate::{
    commons::{Commons, Timer},
    error::{ErrorKind, Verdict},
    event::EventKind,
    mode::board::{Concern, Health, Reporter},
    ports::Provider,
    shell::{Behavior, Cx, Failure, Start},
    supervision::{ChildSpec, Legacy, Vault, slot::slot, tree::Node},
};

/// When a probe that has no timeout is given up for lost.
const LONGEST_PROBE: Duration = Duration::from_secs(10 * 60);

/// What a provider's actor is told.
pub enum ProviderNews {
    /// An attempt ended.
    Outcome(Outcome),
    /// A wait is over: for the open time, or for a probe.
    Wake,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The circuit's generation when it was admitted.
    pub generation: u64,
    /// What went wrong, if anything.
    pub failure: Option<ErrorKind>,
}

/// The actor.
pub struct ProviderActor {
    desk: Arc<ProviderDesk>,
    vault: Vault<Memory>,
    memory: Memory,
    circuit: Arc<Reporter>,
    chance: fastrand::Rng,
    timer: Option<Timer>,
    /// Was the probe already out when the timer last looked?
    probe_seen: bool,
}

/// What one life leaves to the next.
#[derive(Clone)]
struct Memory {
    breaker: Breaker,
    last_failure: Option<ErrorKind>,
}

impl Legacy for Memory {
    /// A closed circuit; permits that are out belong to an earlier generation.
    fn afresh(&self) -> Self {
        Self { breaker: self.breaker.afresh(), last_failure: None }
    }
}

impl ProviderActor {
    /// A provider's place in the tree, and its desk.
    pub fn spec(
        name: &str,
        provider: Arc<dyn Provider>,
        policy: ProviderPolicy,
        commons: &Commons,
    ) -> (ChildSpec, Arc<ProviderDesk>) {
        let (slot, actor) = slot();
        let place: Arc<str> = format!("root/providers/{name}").into();
        let node = Node::worker(place.clone());
        let memory = Memory { breaker: Breaker::new(policy.breaker.unwrap_or_default()), last_failure: None };
        let first = view(&memory.breaker, "".into());
        let desk = ProviderDesk::new(name.into(), provider, policy, first, actor, commons.clock.clone());
        let desk = Arc::new(desk);
        let component: Arc<str> = format!("provider/{name}").into();
        let circuit = Arc::new(commons.health.reporter(&component, "circuit", Concern::OneOf("providers")));
        let (vault, commons, seat) = (Vault::new(memory), commons.clone(), desk.clone());
        let make = move |incarnation| {
            let (memory, afresh) = vault.open(commons.now());
            if afresh {
                tracing::warn!(provider = %seat.name, "its actor crashed again and again: its circuit begins anew");
                commons.events.publish(EventKind::VaultReset { actor: place.clone() });
            }
            Self {
                desk: seat.clone(),
                vault: vault.clone(),
                memory,
                circuit: circuit.clone(),
                chance: commons.chance(&format!("{component}#{incarnation}")),
                timer: None,
                probe_seen: false,
            }
        };
        (ChildSpec::at(slot, node, None, make), desk)
    }

    fn heard(&mut self, outcome: Outcome, cx: &Cx<ProviderNews>) {
        if self.desk.policy.breaker.is_none() {
            return;
        }
        let verdict = outcome.failure.map_or(Verdict::Healthy, |kind| kind.class().verdict);
        if verdict == Verdict::Failing {
            self.memory.last_failure = outcome.failure;
        }
        let breaker = &mut self.memory.breaker;
        let before = breaker.state();
        let probed = before == State::HalfOpen && outcome.generation == breaker.generation();
        if breaker.record(outcome.generation, verdict, cx.commons().now(), self.chance.f64()) {
            self.changed(before, cx);
        } else if probed {
            self.renew_probe(cx);
        } else {
            self.leave();
        }
    }

    fn woken(&mut self, cx: &Cx<ProviderNews>) {
        let before = self.memory.breaker.state();
        if self.memory.breaker.wake(cx.commons().now()) {
            self.changed(before, cx);
        } else if before == State::HalfOpen {
            self.watch_probe(cx);
        }
    }

    /// A probe is a lease: out at two looks in a row, it is older than any attempt can be and its report is
    /// lost (PC9).
    fn watch_probe(&mut self, cx: &Cx<ProviderNews>) {
        let out = self.desk.view.load().probe_is_out();
        if out && self.probe_seen {
            self.renew_probe(cx);
        } else {
            self.probe_seen = out;
            self.arm(cx);
        }
    }

    fn renew_probe(&mut self, cx: &Cx<ProviderNews>) {
        self.memory.breaker.renew_probe();
        self.publish(cx);
    }

    fn changed(&mut self, before: State, cx: &Cx<ProviderNews>) {
        self.publish(cx);
        let (provider, from, to) =
            (self.desk.name.clone(), before.name(), self.memory.breaker.state().name());
        let label = provider.to_string();
        metrics::counter!("mainstay_breaker_transitions_total", "provider" => label, "from" => from, "to" => to)
            .increment(1);
        let reason = self.reason();
        cx.commons().events.publish(EventKind::CircuitChanged { provider, from, to, reason });
    }

    /// Safe first, then seen by callers, then by everybody else.
    fn publish(&mut self, cx: &Cx<ProviderNews>) {
        self.leave();
        self.probe_seen = false;
        self.desk.view.store(Arc::new(view(&self.memory.breaker, self.reason())));
        self.arm(cx);
        self.report(cx);
    }

    fn arm(&mut self, cx: &Cx<ProviderNews>) {
        let wait = match self.memory.breaker.state() {
            State::Closed => None,
            State::Open { until } => Some(until.saturating_duration_since(cx.commons().now())),
            State::HalfOpen => Some(self.probe_lease()),
        };
        self.timer = wait.map(|wait| cx.after(wait, ProviderNews::Wake));
    }

    /// Longer than an attempt can take; without timeouts, longer than one should.
    fn probe_lease(&self) -> Duration {
        let total = self.desk.policy.timeouts.map_or(LONGEST_PROBE, |timeouts| timeouts.total);
        total + Duration::from_secs(1)
    }

    fn report(&self, cx: &Cx<ProviderNews>) {
        let state = self.memory.breaker.state();
        let label = || self.desk.name.to_string();
        for name in State::NAMES {
            metrics::gauge!("mainstay_breaker_state", "provider" => label(), "state" => name)
                .set(f64::from(u8::from(name == state.name())));
        }
        let expected = match state {
            State::Closed => return self.circuit.clear(),
            State::Open { until } => {
                let wait = until.saturating_duration_since(cx.commons().now());
                Some(cx.commons().clock.unix_time() + wait)
            }
            State::HalfOpen => None,
        };
        self.circuit.report(Health::Failed, &self.reason(), expected);
    }

    fn reason(&self) -> Arc<str> {
        if self.memory.breaker.state() == State::Closed {
            return "".into();
        }
        let last = self.memory.last_failure.map_or("unknown", ErrorKind::code);
        let (name, failures) = (&self.desk.name, self.memory.breaker.failures());
        let plural = if failures == 1 { "" } else { "s" };
        format!("provider {name} is out: {failures} failure{plural} in a row, the last one {last}; one call at a time tries it again")
            .into()
    }

    fn leave(&self) {
        self.vault.leave(self.memory.clone());
    }
}

fn view(breaker: &Breaker, reason: Arc<str>) -> View {
    View { generation: breaker.generation(), state: breaker.state(), reason, probe: AtomicBool::new(false) }
}

impl Behavior for ProviderActor {
    type Msg = ProviderNews;

    async fn started(&mut self, cx: &Cx<ProviderNews>) -> Result<Start, Failure> {
        if self.desk.view.load().generation == self.memory.breaker.generation() {
            // The view stands; a probe that is out stays the only one.
            self.arm(cx);
            self.report(cx);
        } else {
            self.publish(cx);
        }
        Ok(Start::Ready)
    }

    async fn handle(&mut self, news: ProviderNews, cx: &Cx<ProviderNews>) -> Result<(), Failure> {
        match news {
            ProviderNews::Outcome(outcome) => self.heard(outcome, cx),
            ProviderNews::Wake => self.woken(cx),
        }
        Ok(())
    }
}
