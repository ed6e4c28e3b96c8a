//! What the reference has the supervisor do of its own accord, one step at a time: bring a group, or all, to rest,
//! and start again who is missing. It remembers no step: the next one follows from who lives.

use super::*;

impl Reference {
    /// The next step, if one is due.
    pub(super) fn settle(&mut self) -> Vec<Action> {
        if self.closing {
            return if self.lives.is_empty() { vec![Action::Finish] } else { self.ask_from(0) };
        }
        let Some(group) = self.group else { return vec![] };
        if group.is_still {
            return self.start_from(group);
        }
        match self.lives.range(group.from..).next() {
            Some(_) => self.ask_from(group.from),
            None => self.comes_to_rest(Group { is_still: true, ..group }),
        }
    }

    /// Asks the last one that lives to end, if that is still to be done; or all at once.
    fn ask_from(&mut self, from: Id) -> Vec<Action> {
        let many = if self.policy.stop_together { usize::MAX } else { 1 };
        let last = self.lives.range(from..).rev().take(many);
        let up: Vec<Id> =
            last.filter(|(_, life)| matches!(life, Life::Up)).map(|(child, _)| *child).collect();
        up.into_iter().map(|child| self.ask(child)).collect()
    }

    /// Nobody of the group lives: it waits, unless the one it would wait for is not wanted any more.
    fn comes_to_rest(&mut self, group: Group) -> Vec<Action> {
        self.group = Some(group);
        if !self.wants(group.leader) {
            return self.start_from(group);
        }
        let Group { from, leader, attempt, delay, .. } = group;
        let wait = self.wait(leader, attempt, delay);
        let others = self.wanted.range(from..).filter(|child| **child != leader);
        let held = others.map(|child| Action::HoldBack { child: *child, attempt, delay });
        [vec![wait], held.collect()].concat()
    }

    /// The first that is missing is next, once all before it are up and nobody waits.
    fn start_from(&mut self, group: Group) -> Vec<Action> {
        let missing = self.missing().find(|child| *child >= group.from);
        let is_unsettled = |life: &Life| !matches!(life, Life::Up);
        let unsettled =
            self.lives.range(group.from..).find(|(_, life)| is_unsettled(life)).map(|(child, _)| *child);
        match (missing, unsettled) {
            _ if !self.waits.is_empty() => vec![],
            (Some(missing), unsettled) if unsettled.is_none_or(|other| other > missing) => {
                vec![self.start(missing, Wisher::Supervisor)]
            }
            (None, None) => {
                self.group = None;
                vec![]
            }
            _ => vec![],
        }
    }

    pub(super) fn start(&mut self, child: Id, wisher: Wisher) -> Action {
        self.lives.insert(child, Life::Starting(wisher));
        Action::Start { child, incarnation: 0 }
    }

    pub(super) fn ask(&mut self, child: Id) -> Action {
        self.lives.insert(child, Life::Asked);
        Action::Stop { child, incarnation: 0 }
    }
}
