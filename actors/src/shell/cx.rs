//! What an actor can do besides handling messages: set timers, start tasks, end.
//!
//! All of it belongs to one life: what a task of an earlier life has to tell reaches nobody.

use std::{future::Future, time::Duration};

use ractor::ActorRef;

use super::Envelope;
use crate::commons::{Commons, Timer};

/// An actor's own surroundings during one life.
pub struct Cx<M: Send + 'static> {
    myself: ActorRef<Envelope<M>>,
    incarnation: u64,
    commons: Commons,
}

impl<M: Send + 'static> Cx<M> {
    pub(super) fn new(myself: ActorRef<Envelope<M>>, incarnation: u64, commons: Commons) -> Self {
        Self { myself, incarnation, commons }
    }

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

    /// The same, for work that ends with whoever holds what is returned: at the latest with this life.
    pub fn hold(&self, work: impl Future<Output = M> + Send + 'static) -> Timer {
        let myself = self.mailbox();
        self.commons.tasks.hold(async move { myself.tell(work.await) })
    }

    /// An address for the tasks that this actor starts.
    pub(crate) fn mailbox(&self) -> Mailbox<M> {
        Mailbox(self.myself.clone())
    }

    pub(crate) fn cell(&self) -> ractor::ActorCell {
        self.myself.get_cell()
    }
}

/// Where an actor's own tasks send their results. It belongs to one life and dies with it.
pub(crate) struct Mailbox<M: Send + 'static>(ActorRef<Envelope<M>>);

impl<M: Send + 'static> Mailbox<M> {
    /// A result for a life that has ended is nobody's any more.
    pub(crate) fn tell(&self, msg: M) {
        let _ = self.0.cast(Envelope::Own(msg));
    }
}
