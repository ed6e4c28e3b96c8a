//! The actor that tries an independent target when the way out is in doubt, and tells what came of it.
//!
//! What it has found out stands in the [`Egress`], so its next life goes on from there. It keeps no count of
//! failures: that is the [`rule`](super::rule)'s.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;

use super::Egress;
use crate::{
    commons::{Commons, Timer},
    mode::board::{Concern, Health, Reporter},
    ports::Reach,
    shell::{Behavior, Cx, Failure, Start, contain},
    supervision::ChildSpec,
    system::Directory,
};

/// How long after one look there may be another.
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);
/// A target that has not answered by then does not.
const PATIENCE: Duration = Duration::from_secs(5);

const DOWN: &str = "this machine cannot reach the network: providers and the `egress` targets are all silent; check its \
                    connection, no provider is blamed";

/// What the actor is told.
#[derive(Clone, Copy, Debug)]
pub enum EgressNews {
    /// There may be something to find out, or to take back.
    Look,
    /// The pause between two looks is over.
    Rested,
    /// Was the target reached?
    Reached(bool),
}

/// The actor.
pub struct EgressActor {
    egress: Egress,
    reach: Arc<dyn Reach>,
    directory: Arc<ArcSwap<Directory>>,
    report: Arc<Reporter>,
    /// The look under way, or the pause after it.
    busy: Option<Timer>,
}

impl EgressActor {
    /// Its place in the tree. It excuses the providers that stand in `directory` when there is something to excuse.
    pub(crate) fn spec(
        reach: Arc<dyn Reach>,
        directory: Arc<ArcSwap<Directory>>,
        commons: &Commons,
    ) -> ChildSpec {
        let egress = commons.egress.clone();
        let report = Arc::new(commons.health.reporter(&"egress".into(), "network", Concern::Own));
        let known = egress.clone();
        let (spec, handle) = ChildSpec::new("root/egress", move |_| Self {
            egress: known.clone(),
            reach: reach.clone(),
            directory: directory.clone(),
            report: report.clone(),
            busy: None,
        });
        let _ = egress.0.actor.set(handle);
        spec
    }

    /// Takes back what no longer holds, and tries the target if there is any doubt.
    fn look(&mut self, cx: &Cx<EgressNews>) {
        let (down, now) = (self.egress.is_down(), cx.commons().now());
        if !down {
            self.report.clear();
        }
        if self.busy.is_none() && (down || self.egress.suspected_since(now).is_some()) {
            let reach = self.reach.clone();
            self.busy = Some(cx.hold(async move {
                let reached = tokio::time::timeout(PATIENCE, contain(async { Ok(reach.reach().await) }));
                EgressNews::Reached(matches!(reached.await, Ok(Ok(true))))
            }));
        }
    }

    fn reached(&mut self, reached: bool, cx: &Cx<EgressNews>) {
        self.busy = Some(cx.after(BETWEEN_LOOKS, EgressNews::Rested));
        if reached {
            self.egress.is_fine();
            return self.report.clear();
        }
        // Nobody is silent any more who answered meanwhile.
        let since = self.egress.suspected_since(cx.commons().now()).filter(|_| !self.egress.is_down());
        if let Some(since) = since {
            self.egress.0.down.store(true, Ordering::Release);
            self.directory.load().desks.values().for_each(|desk| desk.pardon(since));
            self.report.report(Health::Failed, DOWN, None);
        }
    }
}

impl Behavior for EgressActor {
    type Msg = EgressNews;

    async fn started(&mut self, cx: &Cx<EgressNews>) -> Result<Start, Failure> {
        self.look(cx);
        Ok(Start::Ready)
    }

    async fn handle(&mut self, news: EgressNews, cx: &Cx<EgressNews>) -> Result<(), Failure> {
        match news {
            EgressNews::Look => self.look(cx),
            EgressNews::Reached(reached) => self.reached(reached, cx),
            EgressNews::Rested => {
                self.busy = None;
                self.look(cx);
            }
        }
        Ok(())
    }
}
