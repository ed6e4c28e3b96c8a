//! What is asked of a supervisor by name: to add, end, revive and delete children.
//!
//! An answer is given when the work is done: until then it waits with the child.

use std::sync::Arc;

use super::{
    Answer, ChildNews, Supervisor,
    kid::{Kid, Waiter},
};
use crate::{
    shell::{Cx, Failure},
    supervision::{
        admin::{AdminError, BadSpec, Order},
        child::{ChildSpec, locked},
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
        }
    }

    fn find(&self, name: &str) -> Result<(Id, Standing), AdminError> {
        let found = self.kids.iter().find(|(_, kid)| kid.spec.name() == name).map(|(child, _)| *child);
        let found = found.and_then(|child| Some((child, self.decision.standing(child)?)));
        found.ok_or_else(|| AdminError::NotFound(name.into()))
    }

    fn add(&mut self, spec: ChildSpec, answer: Answer, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let refused = match self.find(spec.name()) {
            Ok((_, Standing::Stopped)) => Some(AdminError::AlreadyPresent(spec.name().into())),
            Ok(_) => Some(AdminError::AlreadyStarted(spec.name().into())),
            Err(_) if self.decision.is_closing() => Some(AdminError::ShuttingDown),
            Err(_) => BadSpec::check(&spec).err().map(AdminError::BadSpec),
        };
        if let Some(refused) = refused {
            answer.send(Err(refused));
            return Ok(());
        }
        spec.enlist(cx.commons());
        let spec = Arc::new(spec);
        locked(&self.below).push(spec.clone());
        self.show_children();
        let (child, start) = self.decision.add(spec.role, spec.next_incarnation());
        let mut kid = Kid::new(spec, cx);
        kid.waiters.push(Waiter::Up(answer));
        self.kids.insert(child, kid);
        self.look_for_hangs(cx);
        self.act(start, cx)
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

    fn delete(&mut self, name: &str) -> Result<(), AdminError> {
        match self.find(name)? {
            (child, Standing::Stopped) => {
                self.decision.delete(child);
                self.kids.remove(&child).into_iter().for_each(|kid| self.take_out(&kid.spec));
                Ok(())
            }
            (_, Standing::Running) => Err(AdminError::Running(name.into())),
            (_, Standing::Restarting) => Err(AdminError::Restarting(name.into())),
        }
    }
}
