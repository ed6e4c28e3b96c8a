//! The words of a decision: what a supervisor learns, and what it is then to do.
//!
//! Numbers and moments only: nothing here knows an actor or a spec.

use std::time::Duration;

use crate::supervision::policy::Restart;

/// Which of a supervisor's children; the numbers follow the order of start and are never used again.
pub(crate) type Id = u64;

/// How a life ended, as far as decisions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, in order.
    Normal,
    /// By a failure, a panic, a kill; or it did not even start.
    Abnormal,
    /// It did not want to start.
    Skipped,
}

/// What a supervisor learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A started child is ready.
    Started { child: Id, incarnation: u64 },
    /// A child ended, or was not started.
    Exited { child: Id, incarnation: u64, ending: Ending },
    /// The backoff of a child is over.
    BackoffOver { child: Id, incarnation: u64 },
    /// A child that was asked to end, or was killed, has had its time.
    Overdue { child: Id, incarnation: u64 },
    /// A handler of a child hangs, and its life was killed.
    Hung { child: Id, incarnation: u64 },
    /// An operator wants a child to end and stay down.
    Terminate { child: Id },
    /// An operator wants a child that is down to run again.
    Revive { child: Id },
    /// All shall end.
    Shutdown,
}

impl Event {
    /// The life that it tells of, if it is news of one.
    pub(crate) fn life(&self) -> Option<(Id, u64)> {
        match *self {
            Self::Started { child, incarnation }
            | Self::Exited { child, incarnation, .. }
            | Self::BackoffOver { child, incarnation }
            | Self::Overdue { child, incarnation }
            | Self::Hung { child, incarnation } => Some((child, incarnation)),
            Self::Terminate { .. } | Self::Revive { .. } | Self::Shutdown => None,
        }
    }
}

/// What the supervisor is to do about it, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Say that the child is down, and report back when `delay` is over.
    AwaitBackoff { child: Id, incarnation: u64, attempt: u32, delay: Duration },
    /// Say that the child is down along with another one, whose backoff it shares.
    HoldBack { child: Id, attempt: u32, delay: Duration },
    /// Start this life of the child.
    Start { child: Id, incarnation: u64 },
    /// Bring the child to its end, and report back when it is overdue.
    Stop { child: Id, incarnation: u64 },
    /// End the child by force, and report back when even that is overdue.
    Kill { child: Id, incarnation: u64 },
    /// The child does not even die: go on without it.
    Abandon { child: Id },
    /// Say that the child is down and stays so.
    StayDown { child: Id },
    /// The same, and nothing is left to know of it.
    Forget { child: Id },
    /// Say that this child's crash was one too many.
    GiveUp { child: Id },
    /// Every child is gone: end.
    Finish,
}

impl Action {
    /// A backoff of nothing is over when the other actions are carried out.
    pub(crate) fn over_at_once(&self) -> Option<Event> {
        match *self {
            Self::AwaitBackoff { child, incarnation, delay: Duration::ZERO, .. } => {
                Some(Event::BackoffOver { child, incarnation })
            }
            _ => None,
        }
    }
}

/// What decisions need to know of a child's spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
}

impl Role {
    /// Is it started again when it has ended by itself like this?
    pub(super) fn comes_back(self, ending: Ending) -> bool {
        match self.restart {
            Restart::Permanent => true,
            Restart::Transient => ending == Ending::Abnormal,
            Restart::Temporary => false,
        }
    }
}

/// How a child is, for those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Restarting,
    Stopped,
}
