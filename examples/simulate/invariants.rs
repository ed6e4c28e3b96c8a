//! What must hold whatever went wrong.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use mainstay::{
    Mode, ModeSnapshot,
    actors::{
        event::{Event, EventKind},
        mode::rules::judge,
        supervision::{RestartPolicy, SlotState, tree::TreeSnapshot},
    },
};

use crate::{
    SECOND, cast::Engagement, circuits::nobody_is_blamed_for_the_network, clients::Call, intensity::Tally,
    stage::Stage,
};

/// What a seed told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Story {
    hash: u64,
    pub(crate) calls: usize,
    pub(crate) answered: usize,
    pub(crate) restarts: usize,
    pub(crate) give_ups: usize,
    pub(crate) reloads: usize,
    pub(crate) outages: usize,
    pub(crate) probes: usize,
    /// What was told of the caches.
    pub(crate) kept: Vec<String>,
}

impl Story {
    fn of(stage: &Stage, calls: &[Call], events: &[Arc<Event>], modes: &[(u64, Arc<ModeSnapshot>)]) -> Self {
        let mut hasher = DefaultHasher::new();
        calls.iter().for_each(|call| call.line.hash(&mut hasher));
        events.iter().for_each(|event| format!("{event:?}").hash(&mut hasher));
        let count = |of: fn(&EventKind) -> bool| events.iter().filter(|event| of(&event.kind)).count();
        Self {
            hash: hasher.finish(),
            calls: calls.len(),
            answered: calls.iter().filter(|call| call.answered).count(),
            restarts: count(|kind| matches!(kind, EventKind::ActorRestarting { .. })),
            give_ups: count(|kind| matches!(kind, EventKind::SupervisorGaveUp { .. })),
            reloads: stage.reloads,
            outages: modes.windows(2).filter(|two| !is_lost(&two[0].1) && is_lost(&two[1].1)).count(),
            probes: stage.cast.iter().map(|engagement| engagement.diary().probes.len()).sum(),
            kept: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.restarts += other.restarts;
        self.give_ups += other.give_ups;
        self.reloads += other.reloads;
        self.outages += other.outages;
        self.probes += other.probes;
    }
}

/// Is the network known to be lost?
fn is_lost(mode: &ModeSnapshot) -> bool {
    mode.reasons.iter().any(|reason| &*reason.component == "egress")
}

/// After the recovery all is well, and nothing was out of order on the way there.
pub(crate) fn check(stage: &Stage, calls: &[Call]) -> Result<Story, String> {
    everything_came_home(stage)?;
    all_is_well(stage)?;
    no_two_lives_met(stage)?;
    let (events, modes) = (stage.audience.events()?, stage.audience.modes()?);
    modes_were_heard_in_order(stage, &modes)?;
    circuits_kept_their_promises(stage)?;
    nobody_is_blamed_for_the_network(&modes, &events)?;
    let default = RestartPolicy::default();
    for (supervisor, policy) in [("root", default), ("root/providers", default), ("root/crew", stage.policy)]
    {
        Tally::of(supervisor, policy).hear_all(&events)?;
    }
    Ok(Story::of(stage, calls, &events, &modes))
}

/// A shutdown in order leaves nothing.
pub(crate) async fn after_the_end(stage: Stage) -> Result<(), String> {
    let Stage { tree, moods, .. } = stage;
    let report = tree.shutdown(60 * SECOND).await;
    match moods.iter().map(|mood| mood.lives()).sum() {
        _ if !report.is_clean() => Err(format!("the shutdown left something: {report:?}")),
        0 => Ok(()),
        lives => Err(format!("{lives} workers still live after the shutdown")),
    }
}

/// Permits, calls and places in mailboxes.
fn everything_came_home(stage: &Stage) -> Result<(), String> {
    for desk in stage.system().providers() {
        let left = (desk.in_flight(), desk.actor().waiting());
        if left != (0, 0) {
            return Err(format!("{}: permits or lanes did not come home: {left:?}", desk.name()));
        }
    }
    for engagement in &stage.cast {
        let running: usize = engagement.players.iter().map(|player| player.running()).sum();
        if running > 0 || !engagement.is_let_go() {
            let Engagement { name, desk, .. } = engagement;
            return Err(format!(
                "{name}: {running} calls run, and {} hold it who should not",
                desk.strong_count()
            ));
        }
    }
    Ok(())
}

fn circuits_kept_their_promises(stage: &Stage) -> Result<(), String> {
    let circuits = stage.circuits()?;
    circuits.agree_with(stage)?;
    circuits.nobody_passed_one_that_was_shut(&stage.cast)?;
    circuits.nobody_was_probed_who_was_asked(&stage.cast)
}

/// The tree is complete, and the mode is what the rule says.
fn all_is_well(stage: &Stage) -> Result<(), String> {
    let system = stage.system();
    let (tree, mode) = (system.tree(), system.mode().snapshot());
    if tree.alive().is_empty() {
        // Too many crashes at once are too many for the root as well: then all is down, and it is said.
        return match mode.mode {
            Mode::Emergency => Ok(()),
            other => Err(format!("all is down in mode {other}")),
        };
    }
    if !all_up(&tree) || mode.mode != Mode::Normal {
        return Err(format!("it did not recover: {}, {:?}\n{}", mode.mode, mode.reasons, tree.render()));
    }
    match judge(&system.commons().health.rows()) == (mode.mode, mode.reasons.clone()) {
        true => Ok(()),
        false => Err(format!("the mode is {mode:?}, and the rule says otherwise")),
    }
}

fn all_up(actor: &TreeSnapshot) -> bool {
    actor.state == SlotState::Up && actor.children.iter().all(all_up)
}

fn no_two_lives_met(stage: &Stage) -> Result<(), String> {
    match stage.moods.iter().position(|mood| mood.met()) {
        Some(worker) => Err(format!("two lives of worker {worker} met")),
        None => Ok(()),
    }
}

fn modes_were_heard_in_order(stage: &Stage, heard: &[(u64, Arc<ModeSnapshot>)]) -> Result<(), String> {
    let now = stage.system().mode().snapshot();
    if heard.last().map(|(_, last)| last) != Some(&now) {
        return Err(format!("the last mode did not arrive: {now:?}"));
    }
    match heard.windows(2).find(|two| two[0].1.epoch + 1 != two[1].1.epoch) {
        Some(two) => Err(format!("modes came out of order: {two:?}")),
        None => Ok(()),
    }
}
