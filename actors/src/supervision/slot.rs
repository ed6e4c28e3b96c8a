//! An address that outlives the actor behind it.
//!
//! The supervisor publishes each child's [`SlotState`]; a [`Handle`] reads it and sends. A message that could
//! not be delivered comes back, so sending it again is always safe; a call whose message was delivered but not
//! answered is [`CallError::Interrupted`], and repeating it is the caller's decision. Mailboxes are bounded by
//! lanes: a message takes one before it is sent and returns it when it was handled, or lost with its actor.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ractor::ActorRef;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::shell::{Envelope, Expiry};

/// How many messages may wait in one actor's mailbox.
pub const LANES: usize = 1024;

/// What a supervisor says of a child.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SlotState {
    /// It has not run yet, or its next life is being started.
    #[default]
    Starting,
    /// It runs.
    Up,
    /// It ended and will be started again.
    Restarting {
        /// Which restart in a row this is, from 1.
        attempt: u32,
        /// When, in time since the Unix epoch.
        at_unix_ms: u64,
    },
    /// It is asked to end, or has ended and its supervisor with it.
    ShuttingDown,
    /// It ended for good.
    Down,
}

struct Occupied<M: Send + 'static> {
    state: SlotState,
    address: Option<ActorRef<Envelope<M>>>,
}

/// What both ends share. Those who wait are woken in the order in which they came.
struct Shared<M: Send + 'static> {
    occupied: ArcSwap<Occupied<M>>,
    settled: Notify,
    lanes: Arc<Semaphore>,
}

/// The supervisor's end: where it publishes who lives at this address.
pub(crate) struct Slot<M: Send + 'static>(Arc<Shared<M>>);

/// The senders' end of a [`Slot`]: it works across all lives of the actor.
pub struct Handle<M: Send + 'static>(Arc<Shared<M>>);

impl<M: Send + 'static> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A message that was never delivered; it may be sent again.
#[derive(Debug, thiserror::Error)]
#[error("not delivered: the actor {reason}")]
pub struct Undelivered<M> {
    /// The message.
    pub msg: M,
    /// Why.
    pub reason: Obstacle,
}

/// What stood between a message and its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No life is up at the moment.
    NotUp,
    /// There will be no further life.
    Down,
    /// Its mailbox is full.
    Overloaded,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotUp => "is not up: try again when it is",
            Self::Down => "is down for good: do without it",
            Self::Overloaded => "has a full mailbox: try again later",
        })
    }
}

/// What a caller does while nobody is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Fail at once, as when another actor could do the work.
    FailFast,
    /// Wait for the next life until the deadline.
    Wait,
}

/// Why a call was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The actor never saw it: calling again is safe.
    #[error("not delivered: the actor {0}")]
    NotDelivered(Obstacle),
    /// The actor's life ended, or it dropped the question, before it answered: it may have acted on it.
    #[error("interrupted: the actor may have acted on the call; repeat it only if that does no harm")]
    Interrupted,
    /// No answer came in time: the actor may have acted on it, unless it had not begun by then.
    #[error("no answer came in time; the actor may have acted on the call")]
    TimedOut,
}

/// Where the answer to a call goes.
pub struct Reply<T>(oneshot::Sender<T>);

impl<T> From<oneshot::Sender<T>> for Reply<T> {
    fn from(sender: oneshot::Sender<T>) -> Self {
        Self(sender)
    }
}

impl<T> Reply<T> {
    /// Answers; an answer that nobody waits for any more is dropped.
    pub fn send(self, answer: T) {
        let _ = self.0.send(answer);
    }
}

pub(crate) fn slot<M: Send + 'static>() -> (Slot<M>, Handle<M>) {
    let occupied = ArcSwap::from_pointee(Occupied { state: SlotState::Starting, address: None });
    let (settled, lanes) = (Notify::new(), Arc::new(Semaphore::new(LANES)));
    let shared = Arc::new(Shared { occupied, settled, lanes });
    (Slot(shared.clone()), Handle(shared))
}

impl<M: Send + 'static> Slot<M> {
    pub(crate) fn occupy(&self, address: ActorRef<Envelope<M>>) {
        self.put(SlotState::Up, Some(address));
    }

    pub(crate) fn publish(&self, state: SlotState) {
        self.put(state, None);
    }

    /// Whoever waits does so for a life, or for the end of all: nothing else wakes them.
    fn put(&self, state: SlotState, address: Option<ActorRef<Envelope<M>>>) {
        let settled = matches!(state, SlotState::Up | SlotState::Down);
        self.0.occupied.store(Arc::new(Occupied { state, address }));
        if settled {
            self.0.settled.notify_waiters();
        }
    }
}

impl<M: Send + 'static> Drop for Slot<M> {
    fn drop(&mut self) {
        self.publish(SlotState::Down);
    }
}

impl<M: Send + 'static> Handle<M> {
    /// Sends without waiting.
    pub fn tell(&self, msg: M) -> Result<(), Undelivered<M>> {
        self.send(msg, None)
    }

    fn send(&self, msg: M, expiry: Option<Expiry>) -> Result<(), Undelivered<M>> {
        let Ok(lane) = self.0.lanes.clone().try_acquire_owned() else {
            return Err(Undelivered { msg, reason: Obstacle::Overloaded });
        };
        let occupied = self.0.occupied.load();
        let Some(address) = &occupied.address else {
            let down = occupied.state == SlotState::Down;
            return Err(Undelivered { msg, reason: if down { Obstacle::Down } else { Obstacle::NotUp } });
        };
        match address.cast(Envelope::Deliver(msg, lane, expiry)) {
            Err(ractor::MessagingErr::SendErr(Envelope::Deliver(msg, ..))) => {
                Err(Undelivered { msg, reason: Obstacle::NotUp })
            }
            _ => Ok(()),
        }
    }

    /// Asks, and waits for the answer until `timeout` is over. A message that was not delivered is sent again
    /// to the next life if the caller is patient; one that was is never sent twice. An actor skips calls whose
    /// caller has left or whose time is over.
    pub async fn call<T>(
        &self,
        msg: impl FnOnce(Reply<T>) -> M,
        timeout: Duration,
        patience: Patience,
    ) -> Result<T, CallError> {
        let deadline = tokio::time::Instant::from_std(now() + timeout);
        let (reply, answer) = oneshot::channel();
        let caller = Arc::new(());
        let expiry = || Expiry { at: deadline.into_std(), caller: Arc::downgrade(&caller) };
        if let Err(failed) = self.send(msg(Reply(reply)), Some(expiry())) {
            let later = tokio::time::timeout_at(deadline, self.send_later(failed, expiry, patience)).await;
            later.unwrap_or(Err(Obstacle::NotUp)).map_err(CallError::NotDelivered)?;
        }
        // Most answers are there by then, and need neither a timer nor somebody who is woken.
        one_turn().await;
        let answer = tokio::time::timeout_at(deadline, answer).await.map_err(|_| CallError::TimedOut)?;
        answer.map_err(|_| CallError::Interrupted)
    }

    async fn send_later(
        &self,
        mut failed: Undelivered<M>,
        expiry: impl Fn() -> Expiry,
        patience: Patience,
    ) -> Result<(), Obstacle> {
        while patience == Patience::Wait && failed.reason != Obstacle::Down {
            // Before the next try, so that no change is missed.
            let settled = self.0.settled.notified();
            let Err(again) = self.send(failed.msg, Some(expiry())) else { return Ok(()) };
            match again.reason {
                Obstacle::NotUp => settled.await,
                Obstacle::Overloaded => drop(self.0.lanes.acquire().await),
                Obstacle::Down => {}
            }
            failed = again;
        }
        Err(failed.reason)
    }

    /// What its supervisor says of it.
    pub fn state(&self) -> SlotState {
        self.0.occupied.load().state.clone()
    }

    /// Waits until a life is up, or none will be any more; tells which.
    pub async fn up(&self) -> bool {
        self.until(|state| matches!(state, SlotState::Up | SlotState::Down)).await == SlotState::Up
    }

    /// Waits until it is down: it has ended and is not started again, or it never was. A restart is no end; an
    /// operator may revive it all the same.
    pub async fn down(&self) {
        self.until(|state| *state == SlotState::Down).await;
    }

    async fn until(&self, reached: impl Fn(&SlotState) -> bool) -> SlotState {
        loop {
            let settled = self.0.settled.notified();
            let state = self.state();
            if reached(&state) {
                return state;
            }
            settled.await;
        }
    }

    /// How many messages wait or are being handled.
    pub fn waiting(&self) -> usize {
        LANES - self.0.lanes.available_permits()
    }

    /// Rehearses a bug: the actor panics on its next message. For supervision scenarios and tests.
    pub fn crash(&self) {
        if let Some(address) = &self.0.occupied.load().address {
            let _ = address.cast(Envelope::Crash);
        }
    }
}

/// Lets everything run that is to run now. tokio's own `yield_now` looks after timers as well, which takes longer.
fn one_turn() -> impl Future<Output = ()> {
    let mut over = false;
    poll_fn(move |task| {
        if over {
            return Poll::Ready(());
        }
        over = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
}

fn now() -> Instant {
    use crate::ports::Clock;
    crate::clock::SystemClock.now()
}
