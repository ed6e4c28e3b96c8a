//! The actor of one provider: hears outcomes, lets the breakers decide, publishes, reports.
//!
//! The circuits it leaves to its next life stand in the vault. Calls are not made here.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    adaptive::AdaptiveLimit,
    breaker::{Breaker, Heard, State, Trial},
    circuit::{Circuit, View},
    desk::ProviderDesk,
    permit::Passes,
    policy::ProviderPolicy,
    story::Story,
};
use crate::{
    commons::{Commons, Timer},
    error::{ErrorKind, Isolate, Scope, Verdict},
    event::EventKind,
    mode::board::{Concern, Health, Reporter},
    ports::Provider,
    shell::{Behavior, Cx, Failure, Start},
    supervision::{ChildSpec, Legacy, Reply, Vault, slot::slot, tree::Node},
};

/// When a probe that has no timeout is given up for lost.
const LONGEST_PROBE: Duration = Duration::from_secs(10 * 60);

mod probing;

use probing::Idle;
pub use probing::Probed;

/// What a provider's actor is told.
pub enum ProviderNews {
    /// An attempt ended.
    Outcome(Outcome),
    /// An attempt is slow, and goes on.
    Slow(Slow),
    /// Somebody wants something.
    Order(Order),
    /// Somebody wants something, and waits until it is done.
    Ordered(Order, Reply<()>),
    /// A wait is over: for an open time, for a step of a half-open circuit, or for a probe.
    Wake,
    /// A probe of its own ended.
    Probed(Probed),
}

/// How an attempt ended.
pub struct Outcome {
    pub(super) model: Arc<Circuit>,
    pub(super) passes: Passes,
    pub(super) slow: bool,
    pub(super) failure: Option<ErrorKind>,
    pub(super) hint: Option<Duration>,
    pub(super) started: Instant,
    /// How many attempts ran when it ended, itself included.
    pub(super) in_flight: usize,
}

/// An attempt that is slow.
pub struct Slow {
    pub(super) model: Arc<Circuit>,
    pub(super) passes: Passes,
}

/// What somebody wants of a provider.
pub enum Order {
    /// Take it out.
    Isolate {
        /// That model alone; nothing: the whole account.
        model: Option<Arc<Circuit>>,
        /// Until when; nothing: until it is closed.
        until: Option<Instant>,
        /// Who wants it, and why.
        reason: Arc<str>,
    },
    /// Let calls pass.
    Close,
    /// Take back what was held against it since then.
    Pardon(Instant),
    /// Look at your desk: something is another one there.
    Adapt,
}

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

/// The model of a circuit; nothing for the account's own.
type Name = Option<Arc<str>>;

/// What one life leaves to the next.
struct Memory {
    policy: ProviderPolicy,
    account_number: u64,
    circuits: BTreeMap<Name, Known>,
    adaptive: Option<AdaptiveLimit>,
    idle: Idle,
}

/// One circuit, and why it is as it is.
struct Known {
    breaker: Breaker,
    story: Story,
    /// What was admitted before this generation asked another account.
    account_since: u64,
}

impl Known {
    fn new(policy: ProviderPolicy) -> Self {
        let breaker = Breaker::new(policy.breaker.unwrap_or_default());
        Self { breaker, story: Story::default(), account_since: 0 }
    }

    fn renew(&mut self) -> bool {
        self.breaker = self.breaker.renewed();
        self.account_since = self.breaker.generation();
        true
    }
}

impl Memory {
    fn new(policy: ProviderPolicy, now: Instant) -> Self {
        let circuits = BTreeMap::from([(None, Known::new(policy))]);
        let adaptive = policy.adaptive.map(|bounds| AdaptiveLimit::new(bounds, now));
        Self { policy, account_number: 0, circuits, adaptive, idle: Idle::new(now) }
    }

    /// How many attempts may run at once.
    fn places(&self) -> Option<usize> {
        let carried = self.adaptive.as_ref().map(AdaptiveLimit::limit);
        carried.map_or(self.policy.max_concurrent, |carried| {
            Some(self.policy.max_concurrent.map_or(carried, |most| most.min(carried)))
        })
    }

    fn adapt(&mut self, policy: ProviderPolicy, now: Instant) {
        self.policy = policy;
        let breaker = policy.breaker.unwrap_or_default();
        self.circuits.values_mut().for_each(|known| known.breaker.adapt(breaker));
        self.adaptive = policy.adaptive.map(|bounds| {
            let mut limit = self.adaptive.take().unwrap_or_else(|| AdaptiveLimit::new(bounds, now));
            limit.configure(bounds);
            limit
        });
    }

    fn known(&mut self, name: &Name) -> &mut Known {
        let policy = self.policy;
        self.circuits.entry(name.clone()).or_insert_with(|| Known::new(policy))
    }
}

impl Legacy for Memory {
    /// Closed circuits; permits that are out belong to an earlier generation.
    fn afresh(&self) -> Self {
        let afresh = |known: &Known| Known {
            breaker: known.breaker.afresh(),
            story: known.story.clone(),
            account_since: known.account_since,
        };
        let circuits = self.circuits.iter().map(|(name, known)| (name.clone(), afresh(known)));
        let (circuits, adaptive) = (circuits.collect(), self.adaptive.clone());
        Self { policy: self.policy, account_number: self.account_number, circuits, adaptive, idle: self.idle }
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

    /// What an end says of the account, and what of the model: who cannot be reached has not been asked for any
    /// model, and who answers at all can be reached.
    fn heard(&mut self, outcome: Outcome, cx: &Cx<ProviderNews>) {
        let Outcome { model, passes, slow, failure, hint, started, in_flight } = outcome;
        let now = cx.commons().now();
        self.vault.with(|memory| memory.idle.heard(now));
        let excused = self.is_excused(failure, cx);
        if !excused {
            self.carry(failure, started, in_flight, cx);
        }
        if self.desk.policy().breaker.is_none() {
            return;
        }
        let verdict = match failure {
            Some(_) if excused => Verdict::Neutral,
            failure => failure.map_or(Verdict::Healthy, |kind| kind.class().verdict),
        };
        let of_account = failure.is_some_and(|kind| kind.scope() == Scope::Account);
        let (account, of_model) = match verdict {
            Verdict::Failing if of_account => (Verdict::Failing, Verdict::Neutral),
            Verdict::Failing => (Verdict::Healthy, Verdict::Failing),
            verdict => (verdict, verdict),
        };
        let heard = |generation, verdict| Heard { generation, verdict, slow, hint };
        let (desk, chance) = (self.desk.clone(), self.chance.f64());
        for (circuit, heard) in [
            (desk.account(), heard(passes.account.generation, account)),
            (&model, heard(passes.model.generation, of_model)),
        ] {
            self.change(circuit, cx, |known| {
                if heard.verdict == Verdict::Failing && heard.generation == known.breaker.generation() {
                    known.story.failed(failure);
                }
                known.breaker.record(heard, now, chance)
            });
        }
        if let Some(kind) = failure {
            self.take_out(kind, hint, (&model, passes), cx);
        }
    }

    /// Tells of an end, and whether it is the fault of this machine's way out.
    fn is_excused(&self, failure: Option<ErrorKind>, cx: &Cx<ProviderNews>) -> bool {
        let egress = &cx.commons().egress;
        egress.heard(&self.desk.name, failure, cx.commons().now());
        failure.is_some_and(|kind| egress.excuses(kind))
    }

    /// Some failures are enough to leave a provider alone, whatever was counted (PC12).
    fn take_out(
        &mut self,
        kind: ErrorKind,
        hint: Option<Duration>,
        (model, passes): (&Circuit, Passes),
        cx: &Cx<ProviderNews>,
    ) {
        let isolate = kind.class().isolate;
        // The rate limits see to pauses.
        let Some((scope, time)) = isolate.take_out(hint).filter(|_| !matches!(isolate, Isolate::Pause(..)))
        else {
            return;
        };
        let desk = self.desk.clone();
        let (circuit, pass) = match scope {
            Scope::Account => (&**desk.account(), passes.account),
            _ => (model, passes.model),
        };
        let now = cx.commons().now();
        let until = now + time;
        self.change(circuit, cx, |known| {
            pass.generation >= known.account_since
                && known.breaker.isolate(Some(until), now)
                && known.story.taken_out(kind)
        });
    }

    /// Learns how much the provider carries at once.
    fn carry(&self, failure: Option<ErrorKind>, started: Instant, in_flight: usize, cx: &Cx<ProviderNews>) {
        let now = cx.commons().now();
        let resized = self.vault.with(|memory| {
            let before = memory.places();
            if let Some(limit) = &mut memory.adaptive {
                limit.record(failure, started, in_flight, now);
            }
            (memory.places() != before).then(|| memory.places())
        });
        resized.into_iter().for_each(|places| self.desk.resize(places));
    }

    fn slow(&mut self, slow: &Slow, cx: &Cx<ProviderNews>) {
        if cx.commons().egress.is_down() {
            return;
        }
        let (now, chance, generation) = (cx.commons().now(), self.chance.f64(), slow.passes.model.generation);
        self.change(&slow.model, cx, |known| known.breaker.record_slow(generation, now, chance));
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
        }
        if renews {
            self.vault.with(|memory| memory.account_number = account);
            for circuit in self.circuits() {
                self.change(&circuit, cx, Known::renew);
            }
        }
    }

    /// Goes on where a wait is over, and offers probes anew that are lost.
    fn woken(&mut self, cx: &Cx<ProviderNews>) {
        let (now, probe) = (cx.commons().now(), self.probe_policy());
        for circuit in self.circuits() {
            let lost = self.is_lost(&circuit, now);
            self.change(&circuit, cx, |known| {
                let first_probed = probe.is_some() && known.breaker.is_due(now);
                lost && known.breaker.renew_probe() || !first_probed && known.breaker.wake(now)
            });
        }
        if let Some(policy) = probe {
            self.probe(policy, cx);
        }
        self.arm(cx);
    }

    /// A probe is a lease: seen out for longer than any attempt can take, its report is lost (PC9).
    fn is_lost(&mut self, circuit: &Circuit, now: Instant) -> bool {
        let view = circuit.view.load();
        let name = circuit.model().cloned();
        if !view.probe_is_out() {
            self.probes_seen.remove(&name);
            return false;
        }
        let lease = self.probe_lease();
        let seen = self.probes_seen.entry(name).or_insert((view.generation, now));
        if seen.0 != view.generation {
            *seen = (view.generation, now);
        }
        now.saturating_duration_since(seen.1) >= lease
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

    fn publish(&self, circuit: &Circuit, cx: &Cx<ProviderNews>) {
        let commons = cx.commons();
        let view = self.vault.with(|memory| {
            let Known { breaker, story, .. } = memory.known(&circuit.model().cloned());
            let since = breaker.since().filter(|_| breaker.state() != State::Closed);
            let ago = since.map(|since| commons.now().saturating_duration_since(since));
            let since = ago.map(|ago| commons.clock.unix_time().saturating_sub(ago).as_millis() as u64);
            View::of(breaker, since, story.tell(&self.desk.name, circuit.model(), breaker))
        });
        circuit.view.store(Arc::new(view));
    }

    fn say(&self, circuit: &Circuit, before: State, cx: &Cx<ProviderNews>) {
        let (view, provider) = (circuit.view.load(), self.desk.name.clone());
        let (from, to, reason) = (before.name(), view.state.name(), view.reason.clone());
        if from != to {
            let (label, model) = (provider.to_string(), label_of(circuit));
            metrics::counter!("mainstay_breaker_transitions_total", "provider" => label, "model" => model, "from" => from, "to" => to)
                .increment(1);
            let model = circuit.model().cloned();
            cx.commons().events.publish(EventKind::CircuitChanged { provider, model, from, to, reason });
        }
        self.show(circuit, Some(view.state));
        self.tell_health(cx);
    }

    /// What nobody looks after any more is in no state.
    fn show(&self, circuit: &Circuit, state: Option<State>) {
        let state = state.map(State::name);
        for name in State::NAMES {
            metrics::gauge!("mainstay_breaker_state", "provider" => self.desk.name.to_string(), "model" => label_of(circuit), "state" => name)
                .set(f64::from(u8::from(state == Some(name))));
        }
    }

    /// The provider is out if its account is, or if all of its models are; it is well if all of them are.
    fn tell_health(&self, cx: &Cx<ProviderNews>) {
        let (account, models) = (self.desk.account(), self.desk.models());
        let health = |circuit: &Circuit| match circuit.state() {
            State::Closed => Health::Ok,
            State::HalfOpen(Trial::Share(_)) => Health::Degraded,
            _ => Health::Failed,
        };
        let best = models.iter().map(|model| health(model)).min().unwrap_or(Health::Ok);
        let worst = models.iter().max_by_key(|model| health(model));
        let some_model = worst.map_or(Health::Ok, |model| health(model).min(Health::Degraded));
        let told = health(account).max(best).max(some_model);
        let circuit = if health(account) == Health::Ok { worst.unwrap_or(account) } else { account };
        let view = circuit.view.load();
        let expected = view.state.shut_until().map(|until| {
            cx.commons().clock.unix_time() + until.saturating_duration_since(cx.commons().now())
        });
        match told {
            Health::Ok => self.report.clear(),
            health => self.report.report(health, &view.reason, expected),
        }
    }

    /// The next wait of all circuits; a probe that is out is looked after.
    fn arm(&mut self, cx: &Cx<ProviderNews>) {
        let now = cx.commons().now();
        let lease = now + self.probe_lease();
        let (probing, probe) = (self.probe.is_some(), self.probe_policy());
        let wait = |breaker: &Breaker| match breaker.state() {
            State::HalfOpen(Trial::One) => Some(lease),
            // The probe's end is another look.
            State::Open { .. } if probing && breaker.is_due(now) => None,
            _ => breaker.wakes_at(),
        };
        let next = self.vault.with(|memory| {
            let idle = probe.filter(|_| !probing).and_then(|policy| memory.probes_at(policy));
            memory.circuits.values().filter_map(|known| wait(&known.breaker)).chain(idle).min()
        });
        self.timer = next.map(|next| cx.after(next.saturating_duration_since(now), ProviderNews::Wake));
    }

    /// Longer than an attempt can take; without timeouts, longer than one should.
    fn probe_lease(&self) -> Duration {
        let total = self.desk.policy().timeouts.map_or(LONGEST_PROBE, |timeouts| timeouts.total);
        total + Duration::from_secs(1)
    }
}

fn label_of(circuit: &Circuit) -> String {
    circuit.model().map_or_else(|| "*".into(), ToString::to_string)
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
