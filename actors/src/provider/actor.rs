//! The actor of one provider: hears outcomes, lets the breakers decide, publishes, reports.
//!
//! The circuits it leaves to its next life stand in the vault. Calls are not made here.

mod hearing;
mod memory;
mod news;
mod probing;
mod telling;
mod waiting;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use self::memory::{Known, Memory, Name};
pub use self::{
    news::{Order, Outcome, ProviderNews, Slow},
    probing::Probed,
};
use super::{breaker::State, circuit::Circuit, desk::ProviderDesk, policy::ProviderPolicy};
use crate::{
    commons::{Commons, Timer},
    event::EventKind,
    mode::board::{Concern, Reporter},
    ports::Provider,
    shell::{Behavior, Cx, Failure, Start},
    supervision::{ChildSpec, Vault, slot::slot, tree::Node},
};

/// The actor.
pub struct ProviderActor {
    desk: Arc<ProviderDesk>,
    vault: Vault<Memory>,
    report: Arc<Reporter>,
    chance: fastrand::Rng,
    timer: Option<Timer>,
    /// Which probes were already out when the timer looked, by circuit and generation, and since when.
    probes_seen: BTreeMap<Name, (u64, Instant)>,
    /// The one probe of its own that is under way.
    probe: Option<Timer>,
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
        let desk = ProviderDesk::new(name.into(), provider, policy, actor, commons.clock.clone());
        let desk = Arc::new(desk);
        let component: Arc<str> = format!("provider/{name}").into();
        let report = Arc::new(commons.health.reporter(&component, "circuit", Concern::OneOf("providers")));
        let vault = Vault::new(Memory::new(policy, commons.now()));
        let (commons, seat) = (commons.clone(), desk.clone());
        let make = move |incarnation| {
            if vault.open(commons.now()) {
                tracing::warn!(provider = %seat.name, "its actor crashed again and again: its circuits begin anew");
                commons.events.publish(EventKind::VaultReset { actor: place.clone() });
            }
            Self {
                desk: seat.clone(),
                vault: vault.clone(),
                report: report.clone(),
                chance: commons.chance(&format!("{component}#{incarnation}")),
                timer: None,
                probes_seen: BTreeMap::new(),
                probe: None,
            }
        };
        (ChildSpec::at(slot, node, None, make), desk)
    }

    fn ordered(&mut self, order: Order, cx: &Cx<ProviderNews>) {
        let (desk, now) = (self.desk.clone(), cx.commons().now());
        match order {
            Order::Isolate { model, until, reason } => {
                self.change(model.as_ref().unwrap_or(desk.account()), cx, |known| {
                    known.breaker.isolate(until, now) && known.story.ordered(reason)
                });
            }
            Order::Close => {
                for circuit in self.circuits() {
                    self.change(&circuit, cx, |known| known.breaker.close(now));
                }
            }
            Order::Pardon(since) => {
                for circuit in self.circuits() {
                    self.change(&circuit, cx, |known| known.breaker.pardon(since, now));
                }
            }
            Order::Adapt => {
                self.tell_health(cx);
                // The adapter may be another one, which can be probed, or not.
                self.arm(cx);
            }
        }
    }

    /// Adapts to what is another one at the desk, before anything else is done: being told so may get lost.
    fn catch_up(&mut self, cx: &Cx<ProviderNews>) {
        let (policy, account) = (**self.desk.policy(), self.desk.account_number());
        let (adapts, renews) =
            self.vault.with(|memory| (memory.policy != policy, memory.account_number != account));
        if adapts {
            let places = self.vault.with(|memory| {
                memory.adapt(policy, cx.commons().now());
                memory.places()
            });
            self.desk.resize(places);
            self.arm(cx);
            if policy.breaker.is_none() {
                self.let_pass(cx);
            }
        }
        if renews {
            self.vault.with(|memory| memory.account_number = account);
            for circuit in self.circuits() {
                self.change(&circuit, cx, Known::renew);
            }
        }
    }

    /// Without a breaker nobody tries a circuit out: what one had shut is closed. Who was taken out stays out.
    fn let_pass(&mut self, cx: &Cx<ProviderNews>) {
        let now = cx.commons().now();
        for circuit in self.circuits() {
            self.change(&circuit, cx, |known| {
                !matches!(known.breaker.state(), State::Isolated { .. }) && known.breaker.close(now)
            });
        }
    }

    fn circuits(&self) -> Vec<Arc<Circuit>> {
        let mut circuits = self.desk.all_models();
        circuits.push(self.desk.account().clone());
        circuits
    }

    /// Lets `decide` change a circuit; if what may pass is another than before, everybody learns of it: callers
    /// first.
    fn change(&mut self, circuit: &Circuit, cx: &Cx<ProviderNews>, decide: impl FnOnce(&mut Known) -> bool) {
        let before = circuit.state();
        let changed = self.vault.with(|memory| decide(memory.known(&circuit.model().cloned())));
        if changed {
            self.publish(circuit, cx);
            self.arm(cx);
            if circuit.state() != before {
                self.say(circuit, before, cx);
            }
        }
    }
}

impl Behavior for ProviderActor {
    type Msg = ProviderNews;

    async fn started(&mut self, cx: &Cx<ProviderNews>) -> Result<Start, Failure> {
        for circuit in self.circuits() {
            let generation =
                self.vault.with(|memory| memory.known(&circuit.model().cloned()).breaker.generation());
            // A view that stands is left alone: a probe that is out stays the only one.
            if circuit.view.load().generation != generation {
                self.publish(&circuit, cx);
            }
            self.show(&circuit, Some(circuit.state()));
        }
        self.desk.resize(self.vault.with(|memory| memory.places()));
        self.catch_up(cx);
        self.tell_health(cx);
        self.arm(cx);
        Ok(Start::Ready)
    }

    async fn handle(&mut self, news: ProviderNews, cx: &Cx<ProviderNews>) -> Result<(), Failure> {
        self.catch_up(cx);
        match news {
            ProviderNews::Outcome(outcome) => self.heard(outcome, cx),
            ProviderNews::Slow(slow) => self.slow(&slow, cx),
            ProviderNews::Order(order) => self.ordered(order, cx),
            ProviderNews::Ordered(order, done) => {
                self.ordered(order, cx);
                done.send(());
            }
            ProviderNews::Wake => self.woken(cx),
            ProviderNews::Probed(probed) => self.probed(probed, cx),
        }
        Ok(())
    }

    async fn stopped(&mut self, _: &Cx<ProviderNews>) {
        self.circuits().iter().for_each(|circuit| self.show(circuit, None));
    }
}
