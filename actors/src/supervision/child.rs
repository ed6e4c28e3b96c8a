//! How one child is started, and how its end is noticed.
//!
//! Each life is awaited by a task of its own, which reports only when the life's task is over: the next life
//! never meets the last one's resources, unless that one was abandoned. Whether and when there is a next life
//! is not decided here.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell};
use tokio_util::sync::CancellationToken;

use super::{
    decision::Role,
    policy::{Restart, Shutdown},
    slot::{Handle, Slot, SlotState, slot},
    tree::Node,
};
use crate::{
    commons::Commons,
    mode::board::{Concern, Health, Reporter},
    shell::{Behavior, Birth, Envelope, Exit, Shell, panic_text},
};

/// What a supervisor knows of a child before it runs.
pub struct ChildSpec {
    pub(crate) node: Arc<Node>,
    pub(crate) role: Role,
    pub(crate) shutdown: Shutdown,
    pub(crate) hang_after: Option<Duration>,
    pub(crate) answer_within: Option<Duration>,
    start: Duration,
    /// Those it supervises, if it is a supervisor.
    below: Option<Below>,
    /// Cancelled when its last life is over.
    last_life: Mutex<CancellationToken>,
    reporter: OnceLock<Reporter>,
    launcher: Box<dyn Launch>,
}

/// The children of one supervisor, in start order.
pub(crate) type Below = Arc<Mutex<Vec<Arc<ChildSpec>>>>;

pub(crate) fn locked(below: &Below) -> MutexGuard<'_, Vec<Arc<ChildSpec>>> {
    below.lock().unwrap_or_else(PoisonError::into_inner)
}

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

impl ChildSpec {
    /// A child at `path`, made anew by `make` for each of its lives (the argument counts them from 1). It is
    /// permanent, has 10 s to start and 5 s to end, and is never taken for hung.
    pub fn new<B, F>(path: impl Into<Arc<str>>, make: F) -> (Self, Handle<B::Msg>)
    where
        B: Behavior,
        F: Fn(u64) -> B + Send + Sync + 'static,
    {
        let (slot, handle) = slot();
        (Self::at(slot, Node::worker(path.into()), None, make), handle)
    }

    /// A child at an address and a place that are already known, over those `below` it.
    pub(crate) fn at<B, F>(slot: Slot<B::Msg>, node: Arc<Node>, below: Option<Below>, make: F) -> Self
    where
        B: Behavior,
        F: Fn(u64) -> B + Send + Sync + 'static,
    {
        let never_lived = CancellationToken::new();
        never_lived.cancel();
        Self {
            node,
            role: Role::default(),
            shutdown: Shutdown::default(),
            hang_after: None,
            answer_within: None,
            start: Duration::from_secs(10),
            below,
            last_life: Mutex::new(never_lived),
            reporter: OnceLock::new(),
            launcher: Box::new(Launcher { slot, make }),
        }
    }

    /// Whether it is started again when it has ended. Default permanent.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.role.restart = restart;
        self
    }

    /// Its own end may end its supervisor, as that one's [`AutoShutdown`](super::AutoShutdown) says.
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.role.significant = true;
        self
    }

    /// How it is brought to its end. Default: asked, and killed after 5 s.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// How long it may take to start; then the start has failed. Default 10 s.
    #[must_use]
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.start = limit;
        self
    }

    /// A handler that runs this long is taken for hung: its life is killed, and abandoned where that does not
    /// take. Default: never.
    #[must_use]
    pub fn hang_after(mut self, limit: Duration) -> Self {
        self.hang_after = Some(limit);
        self
    }

    /// A ping must come through its mailbox within this time; else it is taken for starved, by too many messages
    /// or too slow ones, and its life is killed as a hung one is. Default: it is not asked.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = Some(limit);
        self
    }

    /// Its place in the tree.
    pub fn path(&self) -> &Arc<str> {
        &self.node.path
    }

    /// Its name: the last part of its path.
    pub fn name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    /// Puts it on the health board.
    pub(crate) fn enlist(&self, commons: &Commons) {
        self.reporter.get_or_init(|| commons.health.reporter(self.path(), "actor", Concern::Own));
    }

    pub(crate) fn report(&self, health: Health, text: &str) {
        self.reporter.get().into_iter().for_each(|reporter| reporter.report(health, text, None));
    }

    /// How long its end may take before it is killed, or before a kill is given up.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.shutdown {
            Shutdown::Brutal => Some(Shutdown::GRACE),
            Shutdown::Within(limit) => Some(limit),
            Shutdown::Infinity => None,
        }
    }

    /// The number of its next life: numbers go on when its supervisor is itself restarted.
    pub(crate) fn next_incarnation(&self) -> u64 {
        self.node.incarnation() + 1
    }

    /// Says how it is. When a supervisor is to be restarted, or is down for good, so are all below it: of one
    /// that ended by a crash nobody else says so.
    pub(crate) fn publish(&self, state: SlotState) {
        if let (Some(below), SlotState::Restarting { .. } | SlotState::Down) = (&self.below, &state) {
            locked(below).iter().for_each(|child| child.publish(state.clone()));
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
        let over = CancellationToken::new();
        let launch = async {
            let last = self.last_life().clone();
            last.cancelled().await;
            self.launcher.launch(parent, commons.clone(), incarnation, over.clone()).await
        };
        let launched = tokio::time::timeout(self.start, launch)
            .await
            .unwrap_or_else(|_| Err(Exit::Failed(format!("did not start within {:?}", self.start))))?;
        *self.last_life() = over;
        self.node.up(incarnation);
        Ok(launched)
    }

    /// Its next life need not wait for the last one to be over.
    pub(crate) fn abandon(&self) {
        self.last_life().cancel();
    }

    fn last_life(&self) -> MutexGuard<'_, CancellationToken> {
        self.last_life.lock().unwrap_or_else(PoisonError::into_inner)
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

trait Launch: Send + Sync {
    fn launch(
        &self,
        parent: Option<ActorCell>,
        commons: Commons,
        incarnation: u64,
        over: CancellationToken,
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
