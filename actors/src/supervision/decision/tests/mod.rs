//! Proves what a supervisor decides, without any actor: one [`Scene`] a supervisor, one file a subject.

use std::time::Duration;

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    supervision::policy::Strategy,
};

mod edges;
mod groups;
mod limits;
mod model;
mod operator;
mod restarts;
mod shutdown;
mod significant;
mod stale;

pub(super) const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);

/// Backoffs of 1, 2, 4 and then always 5 s, forgotten after 10 s; gives up at the fourth crash within 60 s.
pub(super) const POLICY: RestartPolicy = RestartPolicy {
    strategy: Strategy::OneForOne,
    restarts: 3,
    within: Duration::from_secs(60),
    backoff: Backoff { min: SECOND, max: Duration::from_secs(5), jitter: Jitter::Spread(0.0) },
    reset_after: Duration::from_secs(10),
    in_a_row: None,
    auto_shutdown: AutoShutdown::Never,
    stop_together: false,
};
pub(super) const PATIENT: RestartPolicy = RestartPolicy { restarts: usize::MAX, ..POLICY };
const ALL: RestartPolicy = RestartPolicy { strategy: Strategy::OneForAll, ..PATIENT };

const TEMPORARY: Role = Role { restart: Restart::Temporary, significant: false };
const TRANSIENT: Role = Role { restart: Restart::Transient, significant: false };
const PERMANENT: Role = Role { restart: Restart::Permanent, significant: false };

/// A supervisor and the time of its next event.
pub(super) struct Scene {
    pub(super) decision: Decision,
    pub(super) now: Instant,
    /// Those that were said to stay down.
    pub(super) down: Vec<Id>,
}

impl Scene {
    /// Its children are in life 1.
    pub(super) fn new(policy: RestartPolicy, children: usize) -> Self {
        Self::of(policy, &vec![Role::default(); children])
    }

    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    pub(super) fn of(policy: RestartPolicy, roles: &[Role]) -> Self {
        let (now, mut decision) = (Instant::now(), Decision::new(policy));
        for (n, role) in roles.iter().enumerate() {
            assert_eq!(decision.adopt(*role, 1, Some(now)), n as Id);
        }
        Self { decision, now, down: Vec::new() }
    }

    /// What is to be done, but for saying who stays down.
    pub(super) fn on(&mut self, event: Event) -> Vec<Action> {
        let (down, to_do) = self
            .decision
            .on(event, self.now, 0.5)
            .into_iter()
            .partition(|action| matches!(action, Action::StayDown { .. }));
        let down: Vec<Action> = down;
        self.down.extend(down.into_iter().map(|action| match action {
            Action::StayDown { child } => child,
            other => unreachable!("{other:?}"),
        }));
        to_do
    }

    pub(super) fn life(&self, child: Id) -> u64 {
        self.decision.incarnation(child).unwrap()
    }

    pub(super) fn ends(&mut self, child: Id, ending: Ending) -> Vec<Action> {
        self.on(Event::Exited { child, incarnation: self.life(child), ending })
    }

    fn is_gone(&self, child: Id) -> bool {
        self.down.contains(&child)
    }

    pub(super) fn exit(&mut self, child: Id) -> Vec<Action> {
        self.ends(child, Ending::Abnormal)
    }

    pub(super) fn started(&mut self, child: Id) -> Vec<Action> {
        self.on(Event::Started { child, incarnation: self.life(child) })
    }

    pub(super) fn overdue(&mut self, child: Id) -> Vec<Action> {
        self.on(Event::Overdue { child, incarnation: self.life(child) })
    }

    pub(super) fn backoff_over(&mut self, child: Id) -> Vec<Action> {
        self.on(Event::BackoffOver { child, incarnation: self.life(child) })
    }

    /// Lets a child crash and return at once; tells how long its backoff was to be.
    fn crash_and_return(&mut self, child: Id) -> Duration {
        let delay = match self.exit(child)[..] {
            [Action::AwaitBackoff { delay, .. }] => delay,
            ref other => panic!("no restart but {other:?}"),
        };
        self.backoff_over(child);
        assert_eq!(self.started(child), []);
        delay
    }

    fn whole(&self) -> String {
        format!("{:?}", self.decision)
    }
}

fn start(child: Id, incarnation: u64) -> Action {
    Action::Start { child, incarnation }
}

pub(super) fn stop(child: Id) -> Action {
    Action::Stop { child, incarnation: 1 }
}

fn wait(child: Id, incarnation: u64, attempt: u32, delay: Duration) -> Action {
    Action::AwaitBackoff { child, incarnation, attempt, delay }
}

fn exited(child: Id, incarnation: u64) -> Event {
    Event::Exited { child, incarnation, ending: Ending::Abnormal }
}
