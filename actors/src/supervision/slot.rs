//! An address that outlives the actor behind it.
//!
//! The supervisor publishes each child's [`SlotState`]; a [`Handle`] reads it and sends. A message that could
//! not be delivered comes back, so sending it again is always safe. Mailboxes are bounded by lanes: a message
//! takes one before it is sent and returns it when it was handled, or lost with its actor.

use std::sync::Arc;

use ractor::ActorRef;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use crate::shell::Envelope;

/// How many messages may wait in one actor's mailbox.
pub const LANES: usize = 1024;

/// What a supervisor says of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SlotState {
    /// It has not run yet, or its next life is being started.
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

pub(crate) struct Occupied<M: Send + 'static> {
    pub(crate) state: SlotState,
    pub(crate) address: Option<ActorRef<Envelope<M>>>,
}

/// The supervisor's end: where it publishes who lives at this address.
pub(crate) struct Slot<M: Send + 'static>(pub(crate) watch::Sender<Occupied<M>>);

/// The senders' end of a [`Slot`]: it works across all lives of the actor.
pub struct Handle<M: Send + 'static> {
    occupied: watch::Receiver<Occupied<M>>,
    lanes: Arc<Semaphore>,
}

impl<M: Send + 'static> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { occupied: self.occupied.clone(), lanes: self.lanes.clone() }
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
    /// Its mailbox is full.
    Overloaded,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotUp => "is not up",
            Self::Overloaded => "has a full mailbox",
        })
    }
}

pub(crate) fn slot<M: Send + 'static>() -> (Slot<M>, Handle<M>) {
    let (sender, occupied) = watch::channel(Occupied { state: SlotState::Starting, address: None });
    (Slot(sender), Handle { occupied, lanes: Arc::new(Semaphore::new(LANES)) })
}

impl<M: Send + 'static> Slot<M> {
    pub(crate) fn publish(&self, state: SlotState) {
        self.0.send_modify(|occupied| {
            occupied.state = state;
            occupied.address = None;
        });
    }
}

impl<M: Send + 'static> Handle<M> {
    /// Sends without waiting.
    pub fn tell(&self, msg: M) -> Result<(), Undelivered<M>> {
        let Ok(lane) = self.lanes.clone().try_acquire_owned() else {
            return Err(Undelivered { msg, reason: Obstacle::Overloaded });
        };
        let occupied = self.occupied.borrow();
        let Some(address) = &occupied.address else {
            return Err(Undelivered { msg, reason: Obstacle::NotUp });
        };
        match address.cast(Envelope::Deliver(msg, lane)) {
            Err(ractor::MessagingErr::SendErr(Envelope::Deliver(msg, _))) => {
                Err(Undelivered { msg, reason: Obstacle::NotUp })
            }
            _ => Ok(()),
        }
    }

    /// What its supervisor says of it.
    pub fn state(&self) -> SlotState {
        self.occupied.borrow().state.clone()
    }

    /// Waits until a life is up, or none will be any more; tells which.
    pub async fn up(&mut self) -> bool {
        let seen = self.occupied.wait_for(|o| matches!(o.state, SlotState::Up | SlotState::Down)).await;
        seen.is_ok_and(|o| o.state == SlotState::Up)
    }

    /// How many messages wait or are being handled.
    pub fn waiting(&self) -> usize {
        LANES - self.lanes.available_permits()
    }

    /// Rehearses a bug: the actor panics on its next message. For supervision scenarios and tests.
    pub fn crash(&self) {
        if let Some(address) = &self.occupied.borrow().address {
            let _ = address.cast(Envelope::Crash);
        }
    }
}
