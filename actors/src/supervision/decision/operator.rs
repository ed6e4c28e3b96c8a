//! What an operator may want of a child while the supervisor runs: to add, end, revive and delete it.

use super::{Action, By, Decision, Id, Phase, Role, Standing, groups::Stage};

impl Decision {
    /// Takes in a child that is to be started; if that fails, nothing of it stays.
    pub(crate) fn add(&mut self, role: Role, incarnation: u64) -> (Id, Action) {
        let child = self.insert(role, incarnation, Phase::Starting(By::Adder), None);
        (child, Action::Start { child, incarnation })
    }

    /// Forgets a child that is down; false if it is not.
    pub(crate) fn delete(&mut self, child: Id) -> bool {
        let down = self.standing(child) == Some(Standing::Stopped);
        down && self.children.remove(&child).is_some()
    }

    pub(super) fn terminate(&mut self, child: Id) -> Vec<Action> {
        let closing = self.closing;
        // While all end, each one's turn comes: nobody goes before those that build on it.
        let Some(it) = self.children.get_mut(&child).filter(|it| it.wanted && !closing) else {
            return Vec::new();
        };
        it.wanted = false;
        match it.phase {
            Phase::Up => self.stop(child),
            // It ends when it has started, or has ended already.
            Phase::Starting(_) | Phase::Stopping { .. } => Vec::new(),
            Phase::Waiting | Phase::Down => {
                let lived = it.phase;
                it.phase = Phase::Down;
                let led = self
                    .regroup
                    .as_mut()
                    .filter(|group| group.leader == child && group.stage == Stage::Waiting);
                led.into_iter().for_each(|group| group.stage = Stage::Starting);
                self.ended(child, lived)
            }
        }
    }

    pub(super) fn revive(&mut self, child: Id) -> Vec<Action> {
        let closing = self.closing;
        let Some(it) =
            self.children.get_mut(&child).filter(|it| it.phase == Phase::Down && !it.wanted && !closing)
        else {
            return Vec::new();
        };
        (it.wanted, it.in_a_row, it.phase) = (true, 0, Phase::Starting(By::Operator));
        it.incarnation += 1;
        vec![Action::Start { child, incarnation: it.incarnation }]
    }
}
