//! One life of a child: how it begins, what it shows of itself, and how its end is noticed.
//!
//! Each life is awaited by a task of its own, which reports only when the life's task is over.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell};
use tokio_util::sync::CancellationToken;

use super::slot::{Slot, SlotState};
use crate::{
    commons::Commons,
    shell::{Behavior, Birth, Envelope, Exit, Shell, panic_text},
};

/// A life under way.
pub(crate) struct Running {
    stop: Box<dyn Fn() + Send + Sync>,
    cell: ActorCell,
    exit: Arc<OnceLock<Exit>>,
    pulse: Pulse,
    ping: Box<dyn Fn() + Send + Sync>,
}

/// What a life shows of its work without being asked.
#[derive(Clone, Default)]
pub(crate) struct Pulse(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Beginnings and ends of handlers: odd while one runs.
    beats: AtomicU64,
    /// Pings that came through the mailbox.
    pongs: AtomicU64,
}

impl Pulse {
    pub(crate) fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pong(&self) {
        self.0.pongs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Resolves when a life is over and its resources are gone.
pub(crate) type Ended = BoxFuture<'static, Exit>;

impl Running {
    /// Asks for an orderly end.
    pub(crate) fn stop(&self) {
        (self.stop)();
    }

    /// Ends it at its next await.
    pub(crate) fn kill(&self) {
        self.cell.kill();
    }

    /// The same, and says why.
    pub(crate) fn kill_hung(&self, busy: Duration) {
        let _ = self.exit.set(Exit::Hung(busy.as_millis() as u64));
        self.kill();
    }

    /// How many handlers have begun and ended.
    pub(crate) fn beats(&self) -> u64 {
        self.pulse.0.beats.load(Ordering::Relaxed)
    }

    /// How many pings have come through.
    pub(crate) fn pongs(&self) -> u64 {
        self.pulse.0.pongs.load(Ordering::Relaxed)
    }

    /// Sends a ping through the mailbox.
    pub(crate) fn ping(&self) {
        (self.ping)();
    }

    /// Waits until it no longer runs.
    pub(crate) async fn gone(&self) {
        let _ = self.cell.wait(None).await;
    }
}

/// What begins the lives of one child.
pub(super) trait Launch: Send + Sync {
    fn launch(
        &self,
        parent: Option<ActorCell>,
        commons: Commons,
        incarnation: u64,
        over: CancellationToken,
    ) -> BoxFuture<'_, Result<(Running, Ended), Exit>>;

    fn publish(&self, state: SlotState);
}

pub(super) struct Launcher<M: Send + 'static, F> {
    pub(super) slot: Slot<M>,
    pub(super) make: F,
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
        over: CancellationToken,
    ) -> BoxFuture<'_, Result<(Running, Ended), Exit>> {
        Box::pin(async move {
            let (exit, pulse) = (Arc::new(OnceLock::new()), Pulse::default());
            let made = catch_unwind(AssertUnwindSafe(|| (self.make)(incarnation)));
            let behavior = made.map_err(|panic| Exit::Panicked(panic_text(&*panic)))?;
            let birth = Birth { behavior, incarnation, commons, exit: exit.clone(), pulse: pulse.clone() };
            let shell = Shell::<B>::default();
            let spawned = match parent {
                Some(parent) => Actor::spawn_linked(None, shell, birth, parent).await,
                None => Actor::spawn(None, shell, birth).await,
            };
            let (actor, task) = spawned.map_err(|error| {
                exit.get().cloned().unwrap_or_else(|| Exit::Failed(format!("start: {error}")))
            })?;
            self.slot.occupy(actor.clone());
            let (cell, reason) = (actor.get_cell(), exit.clone());
            let pinged = actor.clone();
            let ping = Box::new(move || drop(pinged.cast(Envelope::Ping)));
            let stop = Box::new(move || drop(actor.cast(Envelope::Shutdown)));
            let over = over.drop_guard();
            let ended: Ended = Box::pin(async move {
                let _ = task.await;
                drop(over);
                reason.get().cloned().unwrap_or(Exit::Killed)
            });
            Ok((Running { stop, cell, exit, pulse, ping }, ended))
        })
    }

    fn publish(&self, state: SlotState) {
        self.slot.publish(state);
    }
}
