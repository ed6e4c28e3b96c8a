//! What is asked of a supervisor by name: to add, end, revive and delete children.
//!
//! An answer is given when the work is done: until then it waits with the child.

use std::sync::Arc;

use super::{Answer, ChildNews, Supervisor, kid::Waiter};
use crate::{
    shell::{Cx, Failure},
    supervision::{
        admin::{AdminError, BadSpec, Order},
        child::ChildSpec,
        decision::{Event, Id, Standing},
    },
};

impl Supervisor {
    pub(super) fn asked(&mut self, order: Order, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match order {
            Order::Start(spec) => self.add(*spec, answer, cx),
            Order::Terminate(name) => self.terminate(&name, answer, cx),
            Order::Restart(name) => self.revive(&name, answer, cx),
            Order::Delete(name) => {
                answer.send(self.delete(&name));
                Ok(())
            }
            Order::Hire(name) => {
                answer.send(self.hire(&name));
                Ok(())
            }
            Order::Dismiss(name) => {
                let deleted = self.delete(&name);
                if deleted.is_ok() {
                    self.below.dismiss(&format!("{}/{name}", self.path));
                }
                answer.send(deleted);
                Ok(())
            }
        }
    }

    fn find(&self, name: &str) -> Result<(Id, Standing), AdminError> {
        let child = self.ids.get(&*format!("{}/{name}", self.path)).copied();
        let found = child.and_then(|child| Some((child, self.decision.standing(child)?)));
        found.ok_or_else(|| AdminError::NotFound(name.into()))
    }

    fn add(&mut self, spec: ChildSpec, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        if let Err(refused) = self.check(&spec) {
            answer.send(Err(refused));
            return Ok(());
        }
        spec.enlist(cx.commons());
        let (child, start) = self.decision.add(spec.role, spec.next_incarnation());
        self.take_in(child, Arc::new(spec), cx).waiters.push(Waiter::Up(answer));
        self.act(start, cx)
    }

    fn check(&self, spec: &ChildSpec) -> Result<(), AdminError> {
        BadSpec::check(&self.path, &self.policy, spec)?;
        match self.find(spec.name()) {
            Ok((_, Standing::Stopped)) => Err(AdminError::AlreadyPresent(spec.name().into())),
            Ok(_) => Err(AdminError::AlreadyStarted(spec.name().into())),
            Err(_) if self.decision.is_closing() => Err(AdminError::ShuttingDown),
            Err(_) => Ok(()),
        }
    }

    fn terminate(&mut self, name: &str, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match self.find(name) {
            Ok((child, Standing::Running | Standing::Restarting)) => {
                self.kids.entry(child).and_modify(|kid| kid.waiters.push(Waiter::Down(answer)));
                self.decide(Event::Terminate { child }, cx)
            }
            done => {
                answer.send(done.map(|_| ()));
                Ok(())
            }
        }
    }

    fn revive(&mut self, name: &str, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        match self.find(name) {
            Ok((child, Standing::Stopped)) if !self.decision.is_closing() => {
                self.kids.entry(child).and_modify(|kid| kid.waiters.push(Waiter::Up(answer)));
                return self.decide(Event::Revive { child }, cx);
            }
            Ok((_, Standing::Stopped)) => answer.send(Err(AdminError::ShuttingDown)),
            Ok((_, Standing::Running)) => answer.send(Err(AdminError::Running(name.into()))),
            Ok((_, Standing::Restarting)) => answer.send(Err(AdminError::Restarting(name.into()))),
            Err(unknown) => answer.send(Err(unknown)),
        }
        Ok(())
    }

    fn hire(&self, name: &str) -> Result<(), AdminError> {
        let (child, _) = self.find(name)?;
        self.kids.get(&child).into_iter().for_each(|kid| self.below.hire(&kid.spec));
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<(), AdminError> {
        match self.find(name)? {
            (child, Standing::Stopped) => {
                self.decision.delete(child);
                self.take_out(child);
                Ok(())
            }
            (_, Standing::Running) => Err(AdminError::Running(name.into())),
            (_, Standing::Restarting) => Err(AdminError::Restarting(name.into())),
        }
    }
}
