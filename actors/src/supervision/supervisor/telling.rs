//! What a supervisor tells the world of its children: slots, the tree, the health board, events, metrics.
//!
//! The slot comes first, so that whoever hears of a change finds it there.

use std::time::Duration;

use super::{ChildNews, Supervisor, kid::Kid};
use crate::{
    event::EventKind,
    mode::board::Health,
    shell::{Cx, Exit},
    supervision::{decision::Id, policy::Strategy, slot::SlotState},
};

impl Kid {
    fn say_waiting(&self, reason: &str, ms: u64) {
        let text = format!("{reason}; it restarts in {ms} ms and callers keep its last decision");
        self.spec.report(Health::Degraded, &text);
    }
}

impl Supervisor {
    /// That a child, and perhaps others along with it, are to be restarted for its end.
    pub(super) fn blame(&mut self, child: Id) {
        let Some(kid) = self.kids.get(&child) else { return };
        self.blamed = format!("{} {}", kid.spec.path(), kid.how_it_ended()).into();
    }

    pub(super) fn say_restarting(&mut self, child: Id, attempt: u32, delay: Duration, cx: &Cx<ChildNews>) {
        let alone = self.policy.strategy == Strategy::OneForOne;
        let Some(kid) = self.kids.get_mut(&child) else { return };
        let (actor, reason) = (kid.spec.path().clone(), self.blamed.clone());
        let restart_in_ms = delay.as_millis() as u64;
        let at_unix_ms = (cx.commons().clock.unix_time() + delay).as_millis() as u64;
        kid.spec.publish(SlotState::Restarting { attempt, at_unix_ms });
        metrics::counter!("mainstay_actor_restarts_total", "child" => actor.clone()).increment(1);
        match std::mem::take(&mut kid.lived) && alone && delay.is_zero() {
            true => kid.untold = Some(reason.clone()),
            false => kid.say_waiting(&reason, restart_in_ms),
        }
        cx.commons().events.publish(EventKind::ActorRestarting { actor, reason, attempt, restart_in_ms });
    }

    /// An instant restart is an event and no trouble, unless its start takes long.
    pub(super) fn delayed(&mut self, child: Id, incarnation: u64) {
        let kid = self.is_current(child, incarnation).then(|| self.kids.get_mut(&child)).flatten();
        let Some(kid) = kid else { return };
        kid.untold.take().into_iter().for_each(|reason| kid.say_waiting(&reason, 0));
    }

    /// A failure without another life is a trouble; an end in order, or one that was asked for, is not. After
    /// giving up, it is the parent's to say whether it is for good, and the trouble that led to it stays.
    pub(super) fn say_down(&mut self, child: Id, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get_mut(&child) else { return };
        kid.wait = None;
        kid.spec.publish(if self.gave_up.is_some() { SlotState::ShuttingDown } else { SlotState::Down });
        match kid.last_exit.as_ref().filter(|_| !self.decision.is_closing() && !kid.is_expected_down()) {
            Some(exit) if !matches!(exit, Exit::Normal | Exit::Skipped) => {
                let text = format!("{} {exit}; it is not started again", kid.spec.path());
                kid.spec.report(Health::Degraded, &text);
            }
            _ if self.gave_up.is_some() => {}
            _ => kid.spec.report(Health::Ok, ""),
        }
        kid.answer(false, None);
        let exit = kid.last_exit.clone().filter(|exit| *exit != Exit::Skipped);
        kid.answer(true, exit);
        let (actor, reason) = (kid.spec.path().clone(), kid.how_it_ended().to_string().into());
        cx.commons().events.publish(EventKind::ActorStopped { actor, reason });
    }

    pub(super) fn forget(&mut self, child: Id, cx: &Cx<ChildNews>) {
        self.say_down(child, cx);
        self.kids.get(&child).into_iter().for_each(|kid| kid.spec.report(Health::Ok, ""));
        self.take_out(child);
    }

    pub(super) fn say_given_up(&mut self, child: Id, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get(&child) else { return };
        let (actor, reason, restarts) = (self.path.clone(), self.blamed.clone(), kid.spec.node.restarts());
        let child = kid.spec.path().clone();
        tracing::error!(supervisor = %actor, %child, %reason, restarts, "gave up: too many restarts");
        let text = format!("{actor} gave up after too many restarts; last: {reason}");
        kid.spec.report(Health::Failed, &text);
        self.gave_up = Some(reason.clone());
        cx.commons().events.publish(EventKind::SupervisorGaveUp { actor, child, reason, restarts });
    }
}
