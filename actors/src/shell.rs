//! The one place that implements ractor's `Actor`: every actor of ours lives in a [`Shell`].
//!
//! The shell turns whatever ends a life into a typed [`Exit`], returns the sender's lane once a message is
//! done, and lets the supervisor ask for an orderly end. It decides nothing.

use std::{
    future::{Future, ready},
    marker::PhantomData,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use self::exit::{contain, contain_now, panic_text};
pub use self::{
    cx::Cx,
    exit::{Exit, Failure},
};
use crate::{commons::Commons, supervision::life::Pulse};

mod cx;
mod exit;

#[cfg(panic = "abort")]
compile_error!("supervision rests on unwinding: build with panic = \"unwind\"");

/// What an actor does with its messages.
///
/// Nothing should wait inside a handler that another message could be waiting for: long work belongs into a
/// task that reports back with a message.
pub trait Behavior: Send + 'static {
    /// What it is told.
    type Msg: Send + 'static;

    /// Runs before the first message; an error here is a failed start.
    fn started(&mut self, cx: &Cx<Self::Msg>) -> impl Future<Output = Result<Start, Failure>> + Send {
        let _ = cx;
        ready(Ok(Start::Ready))
    }

    /// Handles one message. An error ends this life; the supervisor decides what follows.
    fn handle(
        &mut self,
        msg: Self::Msg,
        cx: &Cx<Self::Msg>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The supervisor asks for an orderly end. Whoever overrides this must call [`Cx::stop`] in the end.
    fn shutdown(&mut self, cx: &Cx<Self::Msg>) {
        cx.stop();
    }

    /// Cleans up. It runs once after the last message, when a life ended in order or a handler returned an error:
    /// the state is sound then. It does not run after a panic, which may have left the state half changed, nor
    /// after a kill, which ends the task; there only `Drop` runs. It has the time that the child's
    /// [`Shutdown`](crate::supervision::Shutdown) gives for an end; after that its life is killed.
    fn stopped(&mut self, cx: &Cx<Self::Msg>) -> impl Future<Output = ()> + Send {
        let _ = cx;
        ready(())
    }
}

/// Whether a life begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It does.
    Ready,
    /// It has nothing to do for now: its place is kept, and it runs when it is asked for.
    Skip,
}

/// The only message type that ractor carries for us.
pub(crate) enum Envelope<M> {
    /// From outside; the lane goes back to the senders when the message is done.
    Deliver(M, OwnedSemaphorePermit, Option<Expiry>),
    /// From the actor to itself: a timer, or a task that ended.
    Own(M),
    /// Has the mailbox come this far?
    Ping,
    /// An orderly end, please.
    Shutdown,
    /// A rehearsal: panic as a bug would.
    Crash,
}

/// When nobody waits for the answer to a message any more.
pub(crate) struct Expiry {
    pub(crate) at: Instant,
    /// Held by the caller.
    pub(crate) caller: Weak<()>,
}

impl Expiry {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.at || self.caller.strong_count() == 0
    }
}

/// What a life starts from.
pub(crate) struct Birth<B> {
    pub(crate) behavior: B,
    pub(crate) incarnation: u64,
    pub(crate) commons: Commons,
    pub(crate) patience: Option<Duration>,
    pub(crate) exit: Arc<OnceLock<Exit>>,
    pub(crate) pulse: Pulse,
}

pub(crate) struct Life<B: Behavior> {
    /// Gone when the life is over.
    behavior: Option<B>,
    cx: Cx<B::Msg>,
    patience: Option<Duration>,
    exit: Arc<OnceLock<Exit>>,
    pulse: Pulse,
}

/// ractor's actor around a [`Behavior`].
pub(crate) struct Shell<B>(PhantomData<fn() -> B>);

impl<B> Default for Shell<B> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

#[cfg(feature = "ractor-cluster")]
impl<M: Send + 'static> ractor::Message for Envelope<M> {}

#[cfg_attr(feature = "ractor-async-trait", ractor::async_trait)]
impl<B: Behavior> Actor for Shell<B> {
    type Msg = Envelope<B::Msg>;
    type State = Life<B>;
    type Arguments = Birth<B>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        birth: Birth<B>,
    ) -> Result<Life<B>, ActorProcessingErr> {
        let mut life = Life::new(myself, birth);
        let started = contain(life.begin()).await;
        life.settle(started)?;
        Ok(life)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        life: &mut Life<B>,
    ) -> Result<(), ActorProcessingErr> {
        life.pulse.beat();
        let done = contain(life.open(envelope)).await;
        life.pulse.beat();
        let failed = matches!(done, Err(Exit::Failed(_)));
        let settled = life.settle(done);
        if failed {
            life.wind_up().await;
        }
        settled
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        _: ractor::SupervisionEvent,
        _: &mut Life<B>,
    ) -> Result<(), ActorProcessingErr> {
        // Supervisors learn of exits from the task that awaits each life: it also knows when the old life's
        // resources are gone. ractor's default would end the parent with the child.
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, life: &mut Life<B>) -> Result<(), ActorProcessingErr> {
        life.wind_up().await;
        let _ = life.exit.set(Exit::Normal);
        Ok(())
    }
}

impl<B: Behavior> Life<B> {
    fn new(myself: ActorRef<Envelope<B::Msg>>, birth: Birth<B>) -> Self {
        let Birth { behavior, incarnation, commons, patience, exit, pulse } = birth;
        let cx = Cx::new(myself, incarnation, commons);
        Self { behavior: Some(behavior), cx, patience, exit, pulse }
    }

    async fn begin(&mut self) -> Result<(), Exit> {
        let Some(behavior) = &mut self.behavior else { return Ok(()) };
        match behavior.started(&self.cx).await? {
            Start::Ready => Ok(()),
            Start::Skip => Err(Exit::Skipped),
        }
    }

    async fn open(&mut self, envelope: Envelope<B::Msg>) -> Result<(), Exit> {
        let Some(behavior) = &mut self.behavior else { return Ok(()) };
        match envelope {
            Envelope::Deliver(_, _, Some(expiry)) if expiry.is_over(self.cx.commons().now()) => {
                metrics::counter!("mainstay_requests_expired_total").increment(1);
            }
            Envelope::Deliver(msg, _lane, _) => behavior.handle(msg, &self.cx).await?,
            Envelope::Own(msg) => behavior.handle(msg, &self.cx).await?,
            Envelope::Ping => self.pulse.pong(),
            Envelope::Shutdown => behavior.shutdown(&self.cx),
            Envelope::Crash => panic!("crash requested"),
        }
        Ok(())
    }

    /// The last callback, and the end of the state. The first reason that a life ends for is the one that is told.
    async fn wind_up(&mut self) {
        self.pulse.wind_up();
        let stopped = contain(self.stopped()).await;
        self.pulse.beat();
        for done in [stopped, self.discard()] {
            if let Err(exit) = done {
                tracing::error!(%exit, "an actor did not end in order");
                let _ = self.exit.set(exit);
            }
        }
    }

    async fn stopped(&mut self) -> Result<(), Exit> {
        let Some(behavior) = &mut self.behavior else { return Ok(()) };
        let limit = self.patience.unwrap_or(Duration::MAX);
        tokio::time::timeout(limit, behavior.stopped(&self.cx)).await.map_err(|_| Exit::Killed)
    }

    /// Drops the state.
    fn discard(&mut self) -> Result<(), Exit> {
        let behavior = self.behavior.take();
        contain_now(|| drop(behavior))
    }

    fn settle(&self, done: Result<(), Exit>) -> Result<(), ActorProcessingErr> {
        done.map_err(|exit| {
            let failure = Failure(exit.to_string());
            let _ = self.exit.set(exit);
            failure.into()
        })
    }
}

impl<B: Behavior> Drop for Life<B> {
    /// After a panic or a kill. Whoever drops this, another actor perhaps, must not suffer from it.
    fn drop(&mut self) {
        if let Err(exit) = self.discard() {
            tracing::error!(%exit, "an actor's state could not be dropped in order");
        }
    }
}
