//! What time alone changes: open times that end, steps that are due, probes that are lost.

use std::time::{Duration, Instant};

use super::{ProviderActor, ProviderNews};
use crate::{
    provider::{
        Circuit,
        breaker::{Breaker, State, Trial},
    },
    shell::Cx,
};

/// When a probe that has no timeout is given up for lost.
const LONGEST_PROBE: Duration = Duration::from_secs(10 * 60);

impl ProviderActor {
    /// Goes on where a wait is over, and offers probes anew that are lost.
    pub(super) fn woken(&mut self, cx: &Cx<ProviderNews>) {
        let (now, probe) = (cx.commons().now(), self.probe_policy());
        let tries = self.desk.policy().breaker.is_some();
        for circuit in self.circuits() {
            let lost = self.is_lost(&circuit, now);
            self.change(&circuit, cx, |known| {
                let first_probed = probe.is_some() && known.breaker.is_due(now);
                lost && known.breaker.renew_probe()
                    || !first_probed && known.breaker.wake(now) && (tries || known.breaker.close(now))
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

    /// The next wait of all circuits; a probe that is out is looked after.
    pub(super) fn arm(&mut self, cx: &Cx<ProviderNews>) {
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
