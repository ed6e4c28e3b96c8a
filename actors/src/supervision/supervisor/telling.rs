//! What a supervisor tells the world of its children: slots, the tree, the health board, events, metrics.
//!
//! The slot comes first, so that whoever hears of a change finds it there.

use std::{sync::Arc, time::Duration};

use super::{ChildNews, Supervisor};
use crate::{
    event::EventKind,
    mode::board::Health,
    shell::{Cx, Exit},
    supervision::{
        child::{ChildSpec, locked},
        decision::Id,
        slot::SlotState,
    },
};

impl Supervisor {
    pub(super) fn say_restarting(&mut self, child: Id, attempt: u32, delay: Duration, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get(&child) else { return };
        let actor = kid.spec.path().clone();
        let reason: Arc<str> = self.last_exit.as_deref().unwrap_or("stopped").into();
        let restart_in_ms = delay.as_millis() as u64;
        let at_unix_ms = (cx.commons().clock.unix_time() + delay).as_millis() as u64;
        kid.spec.publish(SlotState::Restarting { attempt, at_unix_ms });
        metrics::counter!("mainstay_actor_restarts_total", "child" => actor.to_string()).increment(1);
        let text = format!("{reason}; it restarts in {restart_in_ms} ms and callers keep its last decision");
        kid.spec.report(Health::Degraded, &text);
        cx.commons().events.publish(EventKind::ActorRestarting { actor, reason, restart_in_ms });
    }

    /// A failure without another life is a trouble; an end in order, or one that was asked for, is not. After
    /// giving up, it is the parent's to say whether it is for good, and the trouble that led to it stays.
    pub(super) fn say_down(&mut self, child: Id, cx: &Cx<ChildNews>) {
        let Some(kid) = self.kids.get_mut(&child) else { return };
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
        cx.commons().events.publish(EventKind::ActorStopped { actor: kid.spec.path().clone() });
    }

    pub(super) fn forget(&mut self, child: Id, cx: &Cx<ChildNews>) {
        self.say_down(child, cx);
        if let Some(kid) = self.kids.remove(&child) {
            kid.spec.report(Health::Ok, "");
            self.take_out(&kid.spec);
        }
    }

    pub(super) fn take_out(&self, spec: &Arc<ChildSpec>) {
        locked(&self.below).retain(|known| !Arc::ptr_eq(known, spec));
        self.show_children();
    }

    pub(super) fn say_given_up(&mut self, child: Id, cx: &Cx<ChildNews>) {
        let reason: Arc<str> = self.last_exit.as_deref().unwrap_or("stopped").into();
        tracing::error!(supervisor = %self.path, %reason, "gave up: too many restarts");
        let text = format!("{} gave up after too many restarts; last: {reason}", self.path);
        self.kids.get(&child).into_iter().for_each(|kid| kid.spec.report(Health::Failed, &text));
        self.gave_up = Some(reason.clone());
        cx.commons().events.publish(EventKind::SupervisorGaveUp { actor: self.path.clone(), reason });
    }

    pub(super) fn show_children(&self) {
        self.node.set_children(locked(&self.below).iter().map(|spec| spec.node.clone()).collect());
    }
}
