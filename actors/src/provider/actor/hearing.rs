//! What the end of an attempt says of a provider: to its circuits, and to what it carries at once.
//!
//! Which failures count is said by their class; how many open a circuit is decided by its breaker.

use std::time::{Duration, Instant};

use super::{Outcome, ProviderActor, ProviderNews, Slow};
use crate::{
    error::{ErrorKind, Isolate, Scope, Verdict},
    provider::{Circuit, breaker::Heard, permit::Passes},
    shell::Cx,
};

impl ProviderActor {
    pub(super) fn heard(&mut self, outcome: Outcome, cx: &Cx<ProviderNews>) {
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
        let (account, of_model) = verdicts(failure, excused);
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
    pub(super) fn is_excused(&self, failure: Option<ErrorKind>, cx: &Cx<ProviderNews>) -> bool {
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

    pub(super) fn slow(&mut self, slow: &Slow, cx: &Cx<ProviderNews>) {
        if cx.commons().egress.is_down() {
            return;
        }
        let (now, chance, generation) = (cx.commons().now(), self.chance.f64(), slow.passes.model.generation);
        self.change(&slow.model, cx, |known| known.breaker.record_slow(generation, now, chance));
    }
}

/// What an end says of the account, and what of the model: who cannot be reached has not been asked for any model,
/// and who answers at all can be reached.
fn verdicts(failure: Option<ErrorKind>, excused: bool) -> (Verdict, Verdict) {
    let Some(kind) = failure else { return (Verdict::Healthy, Verdict::Healthy) };
    match kind.class().verdict {
        _ if excused => (Verdict::Neutral, Verdict::Neutral),
        Verdict::Failing if kind.scope() == Scope::Account => (Verdict::Failing, Verdict::Neutral),
        Verdict::Failing => (Verdict::Healthy, Verdict::Failing),
        verdict => (verdict, verdict),
    }
}
