//! The start of a supervisor: its children in order, before it is up itself.
//!
//! If one does not start, those before it are stopped in reverse, and the start has failed. Here it waits, as
//! nowhere else: nobody can ask anything of it yet.

use std::time::Duration;

use super::{ChildNews, Supervisor, kid::Kid};
use crate::{
    shell::{Cx, Exit, Failure},
    supervision::{child::locked, slot::SlotState},
};

impl Supervisor {
    pub(super) async fn start_all(&mut self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        self.forget_added();
        for spec in self.fixed.clone().iter() {
            let incarnation = spec.next_incarnation();
            let launched = spec.launch(Some(cx.cell()), cx.commons(), incarnation).await;
            let up = launched.is_ok().then(|| cx.commons().now());
            let child = self.decision.adopt(spec.role, incarnation, up);
            self.kids.insert(child, Kid::new(spec.clone(), cx));
            match launched {
                Ok((running, ended)) => self.adopt(child, incarnation, running, ended, cx),
                Err(Exit::Skipped) => spec.publish(SlotState::Down),
                Err(exit) => {
                    self.stop_all().await;
                    return Err(Failure(format!("{}: {exit}", spec.path())));
                }
            }
        }
        self.look_for_hangs(cx);
        Ok(())
    }

    /// What was added to an earlier life is not there in this one.
    fn forget_added(&self) {
        locked(&self.below).drain(self.fixed.len()..).for_each(|spec| spec.publish(SlotState::Down));
        self.show_children();
    }

    async fn stop_all(&mut self) {
        for kid in self.kids.values().rev() {
            let Some(running) = &kid.running else { continue };
            running.stop();
            let limit = kid.spec.patience().unwrap_or(Duration::MAX);
            if tokio::time::timeout(limit, running.gone()).await.is_err() {
                running.kill();
            }
            // Whether there is another life is for whoever hears of the failed start to say.
            kid.spec.publish(SlotState::ShuttingDown);
        }
    }
}
