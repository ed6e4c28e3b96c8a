//! Whether a child that ended comes back, and when; and when its supervisor has seen too much.

use std::time::{Duration, Instant};

use super::{Action, By, Decision, Id, Phase, groups::Stage};
use crate::supervision::policy::Strategy;

impl Decision {
    pub(super) fn restart(&mut self, child: Id, lived: Phase, now: Instant, chance: f64) -> Vec<Action> {
        if self.one_too_many(now) {
            return self.give_up(child);
        }
        let policy = self.policy;
        let Some(it) = self.children.get_mut(&child) else { return Vec::new() };
        let delay = policy.backoff.delay(it.in_a_row, chance);
        it.in_a_row += 1;
        let attempt = it.in_a_row;
        let exhausted = policy.in_a_row.is_some_and(|limit| attempt > limit);
        match policy.strategy {
            Strategy::OneForOne if exhausted => self.ended(child, lived),
            _ if exhausted => self.give_up(child),
            Strategy::OneForOne => {
                self.renew(child..=child);
                vec![self.wait(child, attempt, delay)]
            }
            Strategy::OneForAll => self.regroup(0, child, attempt, delay),
            Strategy::RestForOne => self.regroup(child, child, attempt, delay),
        }
    }

    fn one_too_many(&mut self, now: Instant) -> bool {
        let within = self.policy.within;
        self.recent.push_back(now);
        self.recent.retain(|at| now.saturating_duration_since(*at) < within);
        self.recent.len() > self.policy.restarts
    }

    pub(super) fn give_up(&mut self, child: Id) -> Vec<Action> {
        let mut actions = vec![Action::GiveUp { child }];
        actions.extend(self.close());
        actions
    }

    pub(super) fn wait(&mut self, child: Id, attempt: u32, delay: Duration) -> Action {
        let Some(it) = self.children.get_mut(&child) else { return Action::StayDown { child } };
        it.phase = Phase::Waiting;
        Action::AwaitBackoff { child, incarnation: it.incarnation, attempt, delay }
    }

    pub(super) fn backoff_over(&mut self, child: Id) -> Vec<Action> {
        let Some(it) = self.children.get_mut(&child).filter(|it| it.phase == Phase::Waiting) else {
            return Vec::new();
        };
        if let Some(group) = self.regroup.as_mut().filter(|group| group.leader == child) {
            it.phase = Phase::Down;
            group.stage = Stage::Starting;
            return self.advance();
        }
        it.phase = Phase::Starting(By::Supervisor);
        vec![Action::Start { child, incarnation: it.incarnation }]
    }
}
