//! How one child is started, and how its end is noticed.
//!
//! Each life is awaited by a task of its own, which reports only when the life's task is over: the next life
//! never meets the last one's resources. Whether and when there is a next life is not decided here.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell};

use super::{
    slot::{Handle, Occupied, Slot, SlotState, slot},
    tree::Node,
};
use crate::{
    commons::Commons,
    shell::{Behavior, Birth, Envelope, Exit, Shell},
};

/// What a supervisor knows of a child before it runs.
pub struct ChildSpec {
    pub(crate) node: Arc<Node>,
    pub(crate) timing: Timing,
    /// Those it supervises, if it is a supervisor.
    below: Arc<Vec<ChildSpec>>,
    launcher: Box<dyn Launch>,
}

/// How long a supervisor waits for a child.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For it to start; then the start has failed. Default 10 s.
    pub start: Duration,
    /// For it to end in order; then it is killed. Default 5 s.
    pub shutdown: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { start: Duration::from_secs(10), shutdown: Duration::from_secs(5) }
    }
}

/// A life under way.
pub(crate) struct Running {
    stop: Box<dyn Fn() + Send + Sync>,
    cell: ActorCell,
}

/// Resolves when a life is over and its resources are gone.
pub(crate) type Ended = BoxFuture<'static, Exit>;

impl ChildSpec {
    /// A child at `path`, made anew by `make` for each of its lives (the argument counts them from 1).
    pub fn new<B, F>(path: impl Into<Arc<str>>, make: F) -> (Self, Handle<B::Msg>)
    where
        B: Behavior,
        F: Fn(u64) -> B + Send + Sync + 'static,
    {
        let (slot, handle) = slot();
        (Self::at(slot, path, Arc::default(), make), handle)
    }

    /// A child at an address that is already known, over those `below` it.
    pub(crate) fn at<B, F>(
        slot: Slot<B::Msg>,
        path: impl Into<Arc<str>>,
        below: Arc<Vec<ChildSpec>>,
        make: F,
    ) -> Self
    where
        B: Behavior,
        F: Fn(u64) -> B + Send + Sync + 'static,
    {
        let launcher = Box::new(Launcher { slot, make });
        let nodes = below.iter().map(|child| child.node.clone()).collect();
        Self { node: Node::new(path.into(), nodes), timing: Timing::default(), below, launcher }
    }

    /// Other patience than the default.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Its place in the tree.
    pub fn path(&self) -> &Arc<str> {
        &self.node.path
    }

    /// The number of its next life: numbers go on when its supervisor is itself restarted.
    pub(crate) fn next_incarnation(&self) -> u64 {
        self.node.incarnation() + 1
    }

    /// Says how it is. When a supervisor is to be restarted, or is down for good, so are all below it: of one
    /// that ended by a crash nobody else says so.
    pub(crate) fn publish(&self, state: SlotState) {
        if matches!(state, SlotState::Restarting { .. } | SlotState::Down) {
            self.below.iter().for_each(|child| child.publish(state.clone()));
        }
        self.node.publish(state.clone());
        self.launcher.publish(state);
    }

    /// Starts a life under `parent`; it is up, and published, when this returns.
    pub(crate) async fn launch(
        &self,
        parent: Option<ActorCell>,
        commons: &Commons,
        incarnation: u64,
    ) -> Result<(Running, Ended), Exit> {
        let launch = self.launcher.launch(parent, commons.clone(), incarnation);
        let launched = tokio::time::timeout(self.timing.start, launch)
            .await
            .unwrap_or_else(|_| Err(Exit::Failed(format!("did not start within {:?}", self.timing.start))))?;
        self.node.up(incarnation);
        Ok(launched)
    }
}

impl Running {
    /// Asks for an orderly end.
    pub(crate) fn stop(&self) {
        (self.stop)();
    }

    /// Ends it at its next await.
    pub(crate) fn kill(&self) {
        self.cell.kill();
    }

    /// Waits until it no longer runs.
    pub(crate) async fn gone(&self) {
        let _ = self.cell.wait(None).await;
    }
}

trait Launch: Send + Sync {
    fn launch(
        &self,
        parent: Option<ActorCell>,
        commons: Commons,
        incarnation: u64,
    ) -> BoxFuture<'_, Result<(Running, Ended), Exit>>;

    fn publish(&self, state: SlotState);
}

struct Launcher<M: Send + 'static, F> {
    slot: Slot<M>,
    make: F,
}

impl<B, F> Launch for Launcher<B::Msg, F>
where
    B: Behavior,
    F: Fn(u64) -> B + Send + Sync + 'static,
{
    fn launch(
        &self,
        parent: Option<ActorCell>,
        commons: Commons,
        incarnation: u64,
    ) -> BoxFuture<'_, Result<(Running, Ended), Exit>> {
        Box::pin(async move {
            let exit = Arc::new(OnceLock::new());
            let behavior = (self.make)(incarnation);
            let birth = Birth { behavior, incarnation, commons, exit: exit.clone() };
            let shell = Shell::<B>::default();
            let spawned = match parent {
                Some(parent) => Actor::spawn_linked(None, shell, birth, parent).await,
                None => Actor::spawn(None, shell, birth).await,
            };
            let (actor, task) = spawned.map_err(|error| {
                exit.get().cloned().unwrap_or_else(|| Exit::Failed(format!("start: {error}")))
            })?;
            self.slot.0.send_replace(Occupied { state: SlotState::Up, address: Some(actor.clone()) });
            let cell = actor.get_cell();
            let stop = Box::new(move || drop(actor.cast(Envelope::Shutdown)));
            let ended: Ended = Box::pin(async move {
                let _ = task.await;
                exit.get().cloned().unwrap_or(Exit::Killed)
            });
            Ok((Running { stop, cell }, ended))
        })
    }

    fn publish(&self, state: SlotState) {
        self.slot.publish(state);
    }
}
