//! The one place that implements ractor's `Actor`: every actor of ours lives in a [`Shell`].
//!
//! The shell turns whatever ends a life into a typed [`Exit`], returns the sender's lane once a message is
//! done, and lets the supervisor ask for an orderly end. It decides nothing.

use std::{
    any::Any,
    future::{Future, ready},
    marker::PhantomData,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    commons::{Commons, Timer},
    supervision::life::Pulse,
};

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
}

/// Whether a life begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It does.
    Ready,
    /// It has nothing to do for now: its place is kept, and it runs when it is asked for.
    Skip,
}

/// Why a life ends early, in one line for people.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "how", content = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exit {
    /// It stopped by itself or was asked to.
    Normal,
    /// A handler returned an error.
    Failed(String),
    /// A handler panicked.
    Panicked(String),
    /// It was killed, or its task was cancelled.
    Killed,
    /// A handler ran, or a ping waited, for so many milliseconds, and the life was killed.
    Hung(u64),
    /// It did not want to start.
    Skipped,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Panicked(why) => write!(f, "panicked: {why}"),
            Self::Killed => f.write_str("killed"),
            Self::Hung(ms) => write!(f, "hung: no progress for {ms} ms"),
            Self::Skipped => f.write_str("did not want to start"),
        }
    }
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

/// An actor's own surroundings during one life.
pub struct Cx<M: Send + 'static> {
    myself: ActorRef<Envelope<M>>,
    incarnation: u64,
    commons: Commons,
}

impl<M: Send + 'static> Cx<M> {
    /// Which life this is, from 1.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// What all actors share.
    pub fn commons(&self) -> &Commons {
        &self.commons
    }

    /// Ends this life after the present message.
    pub fn stop(&self) {
        self.myself.stop(None);
    }

    /// Tells itself `msg` after `delay`, unless the timer is dropped before.
    pub fn after(&self, delay: Duration, msg: M) -> Timer {
        let myself = self.mailbox();
        self.commons.tasks.after(delay, move || myself.tell(msg))
    }

    /// Runs `work` in a task of its own and tells itself the result, if this life is still the present one
    /// then.
    pub fn spawn(&self, work: impl Future<Output = M> + Send + 'static) {
        let myself = self.mailbox();
        self.commons.tasks.spawn(async move { myself.tell(work.await) });
    }

    /// An address for the tasks that this actor starts.
    fn mailbox(&self) -> Mailbox<M> {
        Mailbox(self.myself.clone())
    }

    pub(crate) fn cell(&self) -> ractor::ActorCell {
        self.myself.get_cell()
    }
}

/// Where an actor's own tasks send their results. It belongs to one life and dies with it.
struct Mailbox<M: Send + 'static>(ActorRef<Envelope<M>>);

impl<M: Send + 'static> Mailbox<M> {
    /// A result for a life that has ended is nobody's any more.
    fn tell(&self, msg: M) {
        let _ = self.0.cast(Envelope::Own(msg));
    }
}

/// What a life starts from.
pub(crate) struct Birth<B> {
    pub(crate) behavior: B,
    pub(crate) incarnation: u64,
    pub(crate) commons: Commons,
    pub(crate) exit: Arc<OnceLock<Exit>>,
    pub(crate) pulse: Pulse,
}

pub(crate) struct Life<B: Behavior> {
    behavior: B,
    cx: Cx<B::Msg>,
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
        let cx = Cx { myself, incarnation: birth.incarnation, commons: birth.commons };
        let mut life = Life { behavior: birth.behavior, cx, exit: birth.exit, pulse: birth.pulse };
        let start = contain(life.behavior.started(&life.cx)).await;
        life.settle(start.and_then(|start| match start {
            Start::Ready => Ok(()),
            Start::Skip => Err(Exit::Skipped),
        }))?;
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
        life.settle(done)
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
        let _ = life.exit.set(Exit::Normal);
        Ok(())
    }
}

impl<B: Behavior> Life<B> {
    async fn open(&mut self, envelope: Envelope<B::Msg>) -> Result<(), Failure> {
        match envelope {
            Envelope::Deliver(_, _, Some(expiry)) if expiry.is_over(self.cx.commons.now()) => {
                metrics::counter!("mainstay_requests_expired_total").increment(1);
                Ok(())
            }
            Envelope::Deliver(msg, _lane, _) => self.behavior.handle(msg, &self.cx).await,
            Envelope::Own(msg) => self.behavior.handle(msg, &self.cx).await,
            Envelope::Ping => {
                self.pulse.pong();
                Ok(())
            }
            Envelope::Shutdown => {
                self.behavior.shutdown(&self.cx);
                Ok(())
            }
            Envelope::Crash => panic!("crash requested"),
        }
    }

    fn settle(&self, done: Result<(), Exit>) -> Result<(), ActorProcessingErr> {
        done.map_err(|exit| {
            let failure = Failure(exit.to_string());
            let _ = self.exit.set(exit);
            failure.into()
        })
    }
}

/// Runs one callback; a panic becomes a value.
async fn contain<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Exit> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done.map_err(|failure| Exit::Failed(failure.0)),
        Err(panic) => Err(Exit::Panicked(panic_text(panic.as_ref()))),
    }
}

/// The text of a panic, where it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
