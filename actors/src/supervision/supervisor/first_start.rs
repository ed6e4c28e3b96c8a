//! The start of a supervisor: its children in order, before it is up itself.
//!
//! If one does not start, those before it are stopped in reverse, and the start has failed. Here it waits, as
//! nowhere else: nobody can ask anything of it yet.

use std::time::Duration;

use super::{ChildNews, News, Supervisor};
use crate::{
    shell::{Cx, Exit, Failure},
    supervision::{
        child::ChildSpec,
        decision::Id,
        policy::{Restart, Shutdown},
        slot::SlotState,
    },
};

impl Supervisor {
    pub(super) async fn start_all(&mut self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        for spec in &self.below.begin() {
            let incarnation = spec.next_incarnation();
            let launched = spec.launch(Some(cx.cell()), cx.commons().clone(), incarnation).await;
            let up = launched.is_ok().then(|| cx.commons().now());
            let child = self.decision.adopt(spec.role, incarnation, up);
            self.take_in(child, spec.clone(), cx);
            match launched {
                Ok((running, ended)) => {
                    self.adopt(child, incarnation, running, cx);
                    cx.spawn(async move { ChildNews(News::Exited(child, incarnation, ended.exit().await)) });
                }
                Err(Exit::Skipped) => self.skipped(child, spec),
                Err(exit) => {
                    self.stop_all().await;
                    return Err(Failure(format!("{}: {exit}", spec.path())));
                }
            }
        }
        Ok(())
    }

    /// It is there when it is asked for; a temporary one never is again.
    fn skipped(&mut self, child: Id, spec: &ChildSpec) {
        spec.publish(SlotState::Down);
        if spec.role.restart == Restart::Temporary {
            self.decision.delete(child);
            self.take_out(child);
        }
    }

    async fn stop_all(&mut self) {
        for kid in self.kids.values().rev() {
            let Some(running) = &kid.running else { continue };
            kid.spec.end(running);
            let limit = kid.spec.patience().unwrap_or(Duration::MAX);
            if tokio::time::timeout(limit, running.gone()).await.is_err() {
                running.kill();
                let _ = tokio::time::timeout(Shutdown::GRACE, running.gone()).await;
            }
            // Whether there is another life is for whoever hears of the failed start to say.
            kid.spec.publish(SlotState::ShuttingDown);
        }
    }
}
