//! In one life a supervisor restarts no more than its policy allows, and gives up no sooner: seen from the events
//! alone.

use std::{sync::Arc, time::Duration};

use mainstay::actors::{
    event::{Event, EventKind},
    supervision::{RestartPolicy, Strategy},
};

/// The longest time a group takes to stop: that one of it was asked, and then killed, in vain.
const STOP: Duration = Duration::from_secs(10);

/// The restarts in the present life of one supervisor.
pub(crate) struct Tally<'a> {
    supervisor: &'a str,
    policy: RestartPolicy,
    in_groups: bool,
    /// When they were told, in milliseconds.
    restarts: Vec<u64>,
}

impl<'a> Tally<'a> {
    pub(crate) fn of(supervisor: &'a str, policy: RestartPolicy) -> Self {
        let in_groups = policy.strategy != Strategy::OneForOne;
        Self { supervisor, policy, in_groups, restarts: Vec::new() }
    }

    pub(crate) fn hear_all(mut self, events: &[Arc<Event>]) -> Result<(), String> {
        events.iter().try_for_each(|event| self.hear(event))
    }

    fn hear(&mut self, event: &Event) -> Result<(), String> {
        match &event.kind {
            EventKind::ActorRestarting { actor, .. } if **actor == *self.supervisor => self.restarts.clear(),
            EventKind::ActorRestarting { actor, .. } if self.is_child(actor) => self.count(event.unix_ms),
            EventKind::SupervisorGaveUp { actor, .. } if **actor == *self.supervisor => {
                return self.gives_up(event.unix_ms);
            }
            _ => {}
        }
        match self.recent(event.unix_ms) > self.policy.restarts {
            true => Err(format!("{} restarted too often: {}", self.supervisor, event.kind)),
            false => Ok(()),
        }
    }

    fn is_child(&self, actor: &str) -> bool {
        actor.rsplit_once('/').is_some_and(|(parent, _)| parent == self.supervisor)
    }

    /// Of a group it is told of all at once.
    fn count(&mut self, now: u64) {
        if !self.in_groups || self.restarts.last() != Some(&now) {
            self.restarts.push(now);
        }
    }

    /// Of a group not every restart that counts is told: another one may overtake it.
    fn gives_up(&self, now: u64) -> Result<(), String> {
        match self.in_groups || self.recent(now) == self.policy.restarts {
            true => Ok(()),
            false => Err(format!("{} gave up too soon", self.supervisor)),
        }
    }

    /// A group's restart counts when its leader crashes, and is told when the group has stopped.
    fn recent(&self, now: u64) -> usize {
        let within = if self.in_groups { self.policy.within - STOP } else { self.policy.within };
        self.restarts.iter().filter(|at| u128::from(now - **at) < within.as_millis()).count()
    }
}
