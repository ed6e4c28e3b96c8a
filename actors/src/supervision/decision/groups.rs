//! What is done one child at a time: a group on its way to its next life, and the end of all.
//!
//! The last one is stopped first and the first one started first; the next step is taken when the last one is
//! reported done.

use std::{ops::RangeBounds, time::Duration};

use super::{Action, By, Decision, Id, Phase};

/// A group under way to its next life: all children from `from` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Regroup {
    from: Id,
    pub(super) leader: Id,
    attempt: u32,
    delay: Duration,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Stopping,
    Waiting,
    Starting,
}

impl Decision {
    pub(super) fn regroup(&mut self, from: Id, leader: Id, attempt: u32, delay: Duration) -> Vec<Action> {
        let from = self.regroup.map_or(from, |group| group.from.min(from));
        // Whoever led the group before waits along with it now.
        let waiting = self.children.values_mut().filter(|it| it.phase == Phase::Waiting);
        waiting.for_each(|it| it.phase = Phase::Down);
        self.regroup = Some(Regroup { from, leader, attempt, delay, stage: Stage::Stopping });
        self.advance()
    }

    pub(super) fn is_stopped_with_its_group(&self, child: Id) -> bool {
        self.regroup.is_some_and(|group| group.stage == Stage::Stopping && child >= group.from)
    }

    /// Goes on with what is done one child at a time: closing, or a group on its way to its next life.
    pub(super) fn advance(&mut self) -> Vec<Action> {
        if self.closing {
            return self.close_last();
        }
        let Some(group) = self.regroup else { return Vec::new() };
        match group.stage {
            Stage::Stopping => self.stop_last(group.from).unwrap_or_else(|| self.hold_back(group)),
            Stage::Waiting => Vec::new(),
            Stage::Starting => self.start_first(group.from),
        }
    }

    fn hold_back(&mut self, group: Regroup) -> Vec<Action> {
        let Regroup { from, leader, attempt, delay, .. } = group;
        self.renew(from..);
        if self.children.get(&leader).is_none_or(|it| !it.wanted) {
            // The operator took it out meanwhile; the others need not wait.
            self.regroup = Some(Regroup { stage: Stage::Starting, ..group });
            return self.start_first(from);
        }
        self.regroup = Some(Regroup { stage: Stage::Waiting, ..group });
        let mut actions = vec![self.wait(leader, attempt, delay)];
        let others = self.children.range(from..).filter(|(id, it)| **id != leader && it.wanted);
        actions.extend(others.map(|(child, _)| Action::HoldBack { child: *child, attempt, delay }));
        actions
    }

    /// Those who should live are to have a new life: what is still told of their last one is old.
    pub(super) fn renew(&mut self, children: impl RangeBounds<Id>) {
        let wanted = self.children.range_mut(children).filter(|(_, it)| it.wanted);
        wanted.for_each(|(_, it)| it.incarnation += 1);
    }

    /// The first child that should run and does not is started next; one at a time keeps the order.
    fn start_first(&mut self, from: Id) -> Vec<Action> {
        for (child, it) in self.children.range_mut(from..) {
            match it.phase {
                Phase::Down if it.wanted => {
                    it.phase = Phase::Starting(By::Supervisor);
                    return vec![Action::Start { child: *child, incarnation: it.incarnation }];
                }
                Phase::Starting(_) | Phase::Stopping { .. } => return Vec::new(),
                _ => {}
            }
        }
        self.regroup = None;
        Vec::new()
    }

    /// The last child that is still there ends next; `None` when nobody is.
    fn stop_last(&mut self, from: Id) -> Option<Vec<Action>> {
        let (mut actions, mut left) = (Vec::new(), false);
        for (child, it) in self.children.range_mut(from..).rev() {
            match it.phase {
                Phase::Down | Phase::Waiting => continue,
                Phase::Up => {
                    it.phase = Phase::Stopping { killed: false };
                    actions.push(Action::Stop { child: *child, incarnation: it.incarnation });
                }
                Phase::Starting(_) | Phase::Stopping { .. } => {}
            }
            left = true;
            if !self.policy.stop_together {
                break;
            }
        }
        left.then_some(actions)
    }

    /// Those that run end one after the other; those that only wait for a next life have none any more.
    pub(super) fn close(&mut self) -> Vec<Action> {
        if self.closing {
            return Vec::new();
        }
        self.closing = true;
        self.regroup = None;
        let mut actions = Vec::new();
        for (child, it) in &mut self.children {
            if it.phase == Phase::Waiting || it.phase == Phase::Down && it.wanted {
                (it.phase, it.wanted) = (Phase::Down, false);
                actions.push(Action::StayDown { child: *child });
            }
        }
        if self.policy.stop_together {
            actions.extend(self.stop_last(0).into_iter().flatten());
        }
        actions.extend(self.advance());
        actions
    }

    /// All end: the last one that is still there is the next. Nobody is started any more, so that those found
    /// down once need not be looked at again.
    fn close_last(&mut self) -> Vec<Action> {
        while let Some((last, it)) = self.children.range(..self.down_from).next_back() {
            match it.phase {
                Phase::Down | Phase::Waiting => self.down_from = *last,
                Phase::Up => return self.stop(*last),
                Phase::Starting(_) | Phase::Stopping { .. } => return Vec::new(),
            }
        }
        vec![Action::Finish]
    }
}
