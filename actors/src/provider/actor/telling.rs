//! How everybody else learns where a provider's circuits stand: callers by views, people by events and metrics, the
//! mode by reports. Nothing is decided here.

use std::sync::Arc;

use super::{ProviderActor, ProviderNews, memory::Known};
use crate::{
    event::EventKind,
    mode::board::Health,
    provider::{
        Circuit,
        breaker::{State, Trial},
        circuit::View,
    },
    shell::Cx,
};

impl ProviderActor {
    pub(super) fn publish(&self, circuit: &Circuit, cx: &Cx<ProviderNews>) {
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

    pub(super) fn say(&self, circuit: &Circuit, before: State, cx: &Cx<ProviderNews>) {
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
    pub(super) fn show(&self, circuit: &Circuit, state: Option<State>) {
        let state = state.map(State::name);
        for name in State::NAMES {
            metrics::gauge!("mainstay_breaker_state", "provider" => self.desk.name.to_string(), "model" => label_of(circuit), "state" => name)
                .set(f64::from(u8::from(state == Some(name))));
        }
    }

    /// The provider is out if its account is, or if all of its models are; it is well if all of them are.
    pub(super) fn tell_health(&self, cx: &Cx<ProviderNews>) {
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
}

fn label_of(circuit: &Circuit) -> String {
    circuit.model().map_or_else(|| "*".into(), ToString::to_string)
}
