//! What the circuits of all providers did, told by events, and what was not to happen meanwhile.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use mainstay::{
    ErrorKind, ModeSnapshot,
    actors::{
        egress::rule::Sign,
        event::{Event, EventKind},
        provider::CircuitStatus,
    },
};

use crate::{
    cast::{Diary, Engagement},
    stage::Stage,
};

/// How long nothing is heard of a provider before it is probed, in milliseconds.
const IDLE: u64 = 30_000;
const CLOSED: &str = "closed";

/// A time in which circuits may close without a trial: an operator closed them, the network was lost, or the
/// provider became another account.
pub(crate) struct Pardon {
    /// Whose circuits; nothing: all.
    pub(crate) provider: Option<&'static str>,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// A provider and its model, or the whole account.
type Name = (Arc<str>, Option<Arc<str>>);

/// Where a circuit stood from when on, in milliseconds.
type Step = (u64, &'static str);

#[derive(Default)]
pub(crate) struct Circuits {
    steps: BTreeMap<Name, Vec<Step>>,
    /// When lives of actors began and ended: between them news are lost.
    lives: Vec<(u64, Arc<str>)>,
}

impl Circuits {
    /// Every change goes on from the one before, and none closes a circuit for no reason: nothing is forgotten.
    pub(crate) fn of(events: &[Arc<Event>], pardons: &[Pardon]) -> Result<Self, String> {
        let mut circuits = Self::default();
        events.iter().try_for_each(|event| circuits.hear(event, pardons))?;
        Ok(circuits)
    }

    fn hear(&mut self, event: &Event, pardons: &[Pardon]) -> Result<(), String> {
        let now = event.unix_ms;
        match &event.kind {
            EventKind::CircuitChanged { provider, model, from, to, .. } => {
                let name = (provider.clone(), model.clone());
                if self.state(&name) != *from {
                    return Err(format!(
                        "{name:?} was {}, and told at {now}: {}",
                        self.state(&name),
                        event.kind
                    ));
                }
                let pardoned = |pardon: &Pardon| {
                    pardon.provider.is_none_or(|name| name == &**provider)
                        && (pardon.from..=pardon.until).contains(&now)
                };
                if *to == CLOSED && *from != "half_open" && !pardons.iter().any(pardoned) {
                    return Err(format!("closed for no reason at {now}: {}", event.kind));
                }
                self.steps.entry(name).or_default().push((now, to));
            }
            EventKind::VaultReset { actor } => self.begin_anew(now, actor, |state| state != "isolated"),
            EventKind::ActorUp { actor, incarnation } => {
                self.lives.push((now, actor.clone()));
                if *incarnation == 1 {
                    self.begin_anew(now, actor, |_| true);
                }
            }
            EventKind::ActorRestarting { actor, .. } => self.lives.push((now, actor.clone())),
            _ => {}
        }
        Ok(())
    }

    /// Another desk has that name now, or the actor gave up what its lives had left to each other.
    fn begin_anew(&mut self, now: u64, actor: &str, which: impl Fn(&str) -> bool) {
        let of = |name: &Name| actor.strip_prefix("root/providers/") == Some(&name.0);
        for (_, steps) in self.steps.iter_mut().filter(|(name, _)| of(name)) {
            if steps.last().is_some_and(|(_, state)| which(state)) {
                steps.push((now, CLOSED));
            }
        }
    }

    fn state(&self, name: &Name) -> &'static str {
        self.steps.get(name).and_then(|steps| steps.last()).map_or(CLOSED, |(_, state)| state)
    }

    /// What providers say of themselves is what they told.
    pub(crate) fn agree_with(&self, stage: &Stage) -> Result<(), String> {
        for desk in stage.system().providers() {
            let status = desk.status(stage.now());
            let differs = |circuit: &&CircuitStatus| {
                circuit.circuit != self.state(&(desk.name().clone(), circuit.model.clone()))
            };
            if let Some(circuit) = [&status.account].into_iter().chain(&status.models).find(differs) {
                return Err(format!("{} says {circuit:?}, and told something else", desk.name()));
            }
        }
        Ok(())
    }

    fn of_provider(&self, provider: &str) -> impl Iterator<Item = (Option<&str>, &Vec<Step>)> {
        let of = self.steps.iter().filter(move |((name, _), _)| &**name == provider);
        of.map(|((_, model), steps)| (model.as_deref(), steps))
    }

    /// No call passes a circuit that is open, or that was taken out.
    pub(crate) fn nobody_passed_one_that_was_shut(&self, cast: &[Engagement]) -> Result<(), String> {
        for engagement in cast {
            for (at, model) in engagement.diary().calls {
                let mut concerned =
                    self.of_provider(engagement.name).filter(|(of, _)| of.is_none_or(|of| of == model));
                if concerned.any(|(_, steps)| matches!(state_at(steps, at), Some("open" | "isolated"))) {
                    return Err(format!("{} was asked for {model} at {at}, and was shut", engagement.name));
                }
            }
        }
        Ok(())
    }

    /// Only who is idle is probed, or whose circuit is open, and whoever was probed since it was heard of last.
    pub(crate) fn nobody_was_probed_who_was_asked(&self, cast: &[Engagement]) -> Result<(), String> {
        for engagement in cast {
            let (Diary { ends, probes, .. }, name) = (engagement.diary(), engagement.name);
            for &at in &probes {
                let heard = ends.iter().copied().filter(|end| *end < at).max().unwrap_or_default();
                let idle = at - heard >= IDLE || probes.iter().any(|probe| (heard..at).contains(probe));
                let open = |steps: &Vec<Step>| matches!(state_at(steps, at), Some("open") | None);
                let open = self.of_provider(name).any(|(_, steps)| open(steps));
                if !idle && !open && !self.was_deaf(name, heard..at) {
                    return Err(format!("{name} was probed at {at}, and was heard of at {heard}"));
                }
            }
        }
        Ok(())
    }

    /// Could news for this provider's actor get lost then?
    fn was_deaf(&self, provider: &str, then: Range<u64>) -> bool {
        let own = format!("root/providers/{provider}");
        self.lives.iter().any(|(at, actor)| then.contains(at) && own.starts_with(&**actor))
    }
}

/// Where a circuit stood; nothing at the very moment when it changed.
fn state_at(steps: &[Step], at: u64) -> Option<&'static str> {
    match steps.iter().rev().find(|(since, _)| *since <= at) {
        Some((since, _)) if *since == at => None,
        last => Some(last.map_or(CLOSED, |(_, state)| state)),
    }
}

/// While the network is known to be lost there is one reason for it, and nobody's circuit opens over silence (PC21).
pub(crate) fn nobody_is_blamed_for_the_network(
    modes: &[(u64, Arc<ModeSnapshot>)],
    events: &[Arc<Event>],
) -> Result<(), String> {
    for two in modes.windows(2) {
        let (since, until) = (two[0].0, two[1].0);
        match two[0].1.reasons.iter().filter(|reason| &*reason.component == "egress").count() {
            0 => continue,
            1 => {}
            reasons => return Err(format!("{reasons} reasons for one lost network")),
        }
        let mut meanwhile = events.iter().filter(|event| since < event.unix_ms && event.unix_ms < until);
        if let Some(event) = meanwhile.find(|event| opens_over_silence(&event.kind)) {
            return Err(format!("blamed for the network at {}: {}", event.unix_ms, event.kind));
        }
    }
    Ok(())
}

fn opens_over_silence(event: &EventKind) -> bool {
    let EventKind::CircuitChanged { to: "open", reason, .. } = event else { return false };
    let silent = ErrorKind::ALL.into_iter().filter(|kind| Sign::of(Some(*kind)) == Sign::Silent);
    silent.into_iter().any(|kind| reason.contains(&format!(" {}", kind.code())))
}
