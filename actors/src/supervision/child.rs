//! What a supervisor knows of a child: how it is made, started, ended and shown.
//!
//! A next life waits until the last one is over: it never meets that one's resources, unless that one was
//! abandoned. Whether and when there is a next life is not decided here.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ractor::ActorCell;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    below::Below,
    decision::Role,
    life::{Begin, Ended, Launch, Launcher, Running},
    policy::{Restart, Shutdown},
    slot::{Handle, Slot, SlotState, slot},
    tree::Node,
};
use crate::{
    commons::Commons,
    mode::board::{Concern, Health, Reporter},
    shell::{Behavior, Exit, contain},
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
    below: Option<Arc<Below>>,
    /// Cancelled when its last life is over.
    last_life: Mutex<CancellationToken>,
    reporter: OnceLock<Reporter>,
    launcher: Box<dyn Launch>,
}

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
    pub(crate) fn at<B, F>(slot: Slot<B::Msg>, node: Arc<Node>, below: Option<Arc<Below>>, make: F) -> Self
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

    /// Begins the end of one of its lives.
    pub(crate) fn end(&self, running: &Running) {
        match self.shutdown {
            Shutdown::Brutal => running.kill(),
            Shutdown::Within(_) | Shutdown::Infinity => running.stop(),
        }
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
            below.publish(&state);
        }
        self.node.publish(state.clone());
        self.launcher.publish(state);
    }

    /// Starts a life under `parent`; it is up, and published, when this returns.
    pub(crate) async fn launch(
        &self,
        parent: Option<ActorCell>,
        commons: Commons,
        incarnation: u64,
    ) -> Result<(Running, Ended), Exit> {
        let launch = async {
            let (over, patience) = (self.claim().await, self.patience());
            let begin = Begin { parent, commons, incarnation, patience, over };
            self.launcher.launch(begin).await
        };
        let late = || Exit::Failed(format!("did not start within {:?}", self.start));
        // A start that is cut off is dropped in here too: what panics then is contained.
        let launched =
            contain(async { tokio::time::timeout(self.start, launch).await.unwrap_or_else(|_| Err(late())) });
        let launched = launched.await?;
        self.node.up(incarnation);
        Ok(launched)
    }

    /// Waits until no other life is there, or on its way: a supervisor that crashed may have left a start behind.
    /// The next life waits in turn until what this returns is dropped.
    async fn claim(&self) -> DropGuard {
        loop {
            let last = self.last_life().clone();
            last.cancelled().await;
            let mut last = self.last_life();
            if last.is_cancelled() {
                *last = CancellationToken::new();
                return last.clone().drop_guard();
            }
        }
    }

    /// Its next life need not wait for the last one to be over.
    pub(crate) fn abandon(&self) {
        self.last_life().cancel();
    }

    fn last_life(&self) -> MutexGuard<'_, CancellationToken> {
        self.last_life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
