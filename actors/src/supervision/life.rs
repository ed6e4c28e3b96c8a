//! One life of a child: how it begins, what it shows of itself, and how its end is noticed.
//!
//! Each life is awaited by a task of its own, which reports only when the life's task is over.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use super::slot::{Slot, SlotState};
use crate::{
    commons::Commons,
    shell::{Behavior, Birth, Envelope, Exit, Shell},
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
    /// Has the last callback begun?
    winding_up: AtomicBool,
}

impl Pulse {
    /// Only the life itself counts, so nothing comes between the two halves.
    pub(crate) fn beat(&self) {
        self.0.beats.store(self.0.beats.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The last callback begins.
    pub(crate) fn wind_up(&self) {
        self.0.winding_up.store(true, Ordering::Relaxed);
        self.beat();
    }

    pub(crate) fn pong(&self) {
        self.0.pongs.fetch_add(1, Ordering::Relaxed);
    }
}

/// The end of a life to come.
pub(crate) struct Ended {
    task: JoinHandle<()>,
    exit: Arc<OnceLock<Exit>>,
    over: DropGuard,
}

impl Ended {
    /// Waits until the life is over and its resources are gone.
    pub(crate) async fn exit(self) -> Exit {
        let _ = self.task.await;
        drop(self.over);
        self.exit.get().cloned().unwrap_or(Exit::Killed)
    }
}

impl Running {
    fn new<M: Send + 'static>(actor: ActorRef<Envelope<M>>, exit: Arc<OnceLock<Exit>>, pulse: Pulse) -> Self {
        let (cell, pinged) = (actor.get_cell(), actor.clone());
        let ping = Box::new(move || drop(pinged.cast(Envelope::Ping)));
        let stop = Box::new(move || drop(actor.cast(Envelope::Shutdown)));
        Self { stop, cell, exit, pulse, ping }
    }

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

    /// How it ends, as far as that is known yet.
    pub(crate) fn exit_so_far(&self) -> Exit {
        self.exit.get().cloned().unwrap_or(Exit::Killed)
    }

    /// How many handlers have begun and ended.
    pub(crate) fn beats(&self) -> u64 {
        self.pulse.0.beats.load(Ordering::Relaxed)
    }

    /// How many pings have come through.
    pub(crate) fn pongs(&self) -> u64 {
        self.pulse.0.pongs.load(Ordering::Relaxed)
    }

    /// Does it only clean up any more?
    pub(crate) fn is_winding_up(&self) -> bool {
        self.pulse.0.winding_up.load(Ordering::Relaxed)
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

/// What is given to a life that begins.
pub(super) struct Begin {
    pub(super) parent: Option<ActorCell>,
    pub(super) commons: Commons,
    pub(super) incarnation: u64,
    /// How long its end may take.
    pub(super) patience: Option<Duration>,
    /// Dropped when it is over.
    pub(super) over: DropGuard,
}

/// What begins the lives of one child.
pub(super) trait Launch: Send + Sync {
    fn launch(&self, begin: Begin) -> BoxFuture<'_, Result<(Running, Ended), Exit>>;

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
    fn launch(&self, begin: Begin) -> BoxFuture<'_, Result<(Running, Ended), Exit>> {
        Box::pin(async move {
            let Begin { parent, commons, incarnation, patience, over } = begin;
            let (exit, pulse) = (Arc::new(OnceLock::new()), Pulse::default());
            let behavior = (self.make)(incarnation);
            let signs = (exit.clone(), pulse.clone());
            let birth = Birth { behavior, incarnation, commons, patience, exit: signs.0, pulse: signs.1 };
            let (actor, task) = spawn(parent, birth).await.map_err(|error| {
                exit.get().cloned().unwrap_or_else(|| Exit::Failed(format!("start: {error}")))
            })?;
            self.slot.occupy(actor.clone());
            let ended = Ended { task, exit: exit.clone(), over };
            Ok((Running::new(actor, exit, pulse), ended))
        })
    }

    fn publish(&self, state: SlotState) {
        self.slot.publish(state);
    }
}

type Spawned<M> = (ActorRef<Envelope<M>>, JoinHandle<()>);

async fn spawn<B: Behavior>(parent: Option<ActorCell>, birth: Birth<B>) -> Result<Spawned<B::Msg>, SpawnErr> {
    let shell = Shell::<B>::default();
    match parent {
        Some(parent) => Actor::spawn_linked(None, shell, birth, parent).await,
        None => Actor::spawn(None, shell, birth).await,
    }
}
