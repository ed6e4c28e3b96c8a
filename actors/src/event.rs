//! What happened, in order: one numbered line per lifecycle, circuit and mode change.
//!
//! Publishing never waits: a slow reader learns how many events it missed and goes on from the newest. The
//! last [`HISTORY`] events are kept for those who come back. Nothing is derived from events; whoever needs
//! the state reads the snapshot.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{cache::marks::Purge, mode::Mode, ports::Clock};

/// How many events are kept for readers who come back.
pub const HISTORY: usize = 256;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// The life of the process it happened in: numbers start again in the next.
    pub boot: u64,
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// An actor runs.
    ActorUp {
        /// Its place in the tree.
        actor: Arc<str>,
        /// Its n-th life, from 1.
        incarnation: u64,
    },
    /// An actor ended and will be started again.
    ActorRestarting {
        /// Its place in the tree.
        actor: Arc<str>,
        /// Why it ended, and who did if it was another one.
        reason: Arc<str>,
        /// Which restart in a row this is, from 1.
        attempt: u32,
        /// How long its supervisor waits.
        restart_in_ms: u64,
    },
    /// An actor was stopped, or not started again.
    ActorStopped {
        /// Its place in the tree.
        actor: Arc<str>,
        /// How it ended last.
        reason: Arc<str>,
    },
    /// A supervisor saw more crashes than it may repair, and ended.
    SupervisorGaveUp {
        /// Its place in the tree.
        actor: Arc<str>,
        /// Whose crash was one too many.
        child: Arc<str>,
        /// Who that was, and why it crashed.
        reason: Arc<str>,
        /// How often that child had been restarted.
        restarts: u64,
    },
    /// An actor crashed again and again with what its lives had left to each other: its next one begins anew.
    VaultReset {
        /// Its place in the tree.
        actor: Arc<str>,
    },
    /// Nothing ran on the runtime for so long: some code blocks its threads.
    RuntimeBlocked {
        /// How long at least.
        limit_ms: u64,
    },
    /// A provider's circuit changed.
    CircuitChanged {
        /// The provider.
        provider: Arc<str>,
        /// The model; nothing for the circuit of the whole account.
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<Arc<str>>,
        /// Its state before.
        from: &'static str,
        /// Its state now.
        to: &'static str,
        /// Why.
        reason: Arc<str>,
    },
    /// The configuration is another one.
    ConfigApplied {
        /// What changed, in one line.
        summary: Arc<str>,
    },
    /// A new configuration was not taken; the one before still holds.
    ConfigRejected {
        /// All that is wrong with it, one problem a line.
        reason: Arc<str>,
    },
    /// The system's mode changed.
    ModeChanged {
        /// The mode before.
        from: Mode,
        /// The mode now.
        to: Mode,
        /// The snapshot's number.
        epoch: u64,
        /// Why, one sentence each.
        reasons: Vec<Arc<str>>,
    },
    /// Kept answers were made invisible.
    CachePurged {
        /// Which.
        what: Arc<Purge>,
    },
    /// The system no longer takes calls and ends when those under way are done.
    Draining,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActorUp { actor, incarnation } => write!(f, "{actor} is up, life {incarnation}"),
            Self::ActorRestarting { actor, reason, attempt, restart_in_ms } => {
                write!(f, "{reason}; {actor} restarts in {restart_in_ms} ms (restart {attempt} in a row)")
            }
            Self::ActorStopped { actor, reason } => write!(f, "{actor} {reason}"),
            Self::SupervisorGaveUp { actor, reason, .. } => write!(f, "{actor} gave up: {reason}"),
            Self::VaultReset { actor } => write!(f, "{actor} begins anew, without what it had learnt"),
            Self::RuntimeBlocked { limit_ms } => {
                write!(f, "nothing ran for {limit_ms} ms: threads are blocked")
            }
            Self::CircuitChanged { provider, model: Some(model), from, to, .. } => {
                write!(f, "circuit of {provider}/{model}: {from} -> {to}")
            }
            Self::CircuitChanged { provider, from, to, .. } => {
                write!(f, "circuit of {provider}: {from} -> {to}")
            }
            Self::ModeChanged { from, to, reasons, .. } => {
                write!(f, "mode {from} -> {to}")?;
                reasons.iter().try_for_each(|reason| write!(f, "; {reason}"))
            }
            Self::ConfigApplied { summary } => write!(f, "configuration applied: {summary}"),
            Self::ConfigRejected { reason } => {
                write!(f, "configuration rejected, the one before still holds: {reason}")
            }
            Self::CachePurged { what } => write!(f, "the cache was purged of {what}"),
            Self::Draining => f.write_str("draining"),
        }
    }
}

/// An item of a subscription.
#[derive(Clone, Debug)]
pub enum Heard<T> {
    /// The next one.
    Item(T),
    /// This many were missed: the reader was too slow. What follows is newer.
    Gap(u64),
}

/// The numbered history and its subscribers.
#[derive(Clone)]
pub struct EventLog(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    boot: u64,
    history: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl EventLog {
    pub(crate) fn new(clock: Arc<dyn Clock>, boot: u64) -> Self {
        let (live, _) = broadcast::channel(HISTORY);
        Self(Arc::new(Inner { clock, boot, history: Mutex::default(), live }))
    }

    /// Numbers `kind`, keeps it and tells everybody.
    pub fn publish(&self, kind: EventKind) {
        tracing::info!("{kind}");
        // Sent under the lock: numbers reach the subscribers in order.
        let mut history = self.history();
        let seq = history.back().map_or(1, |last| last.seq + 1);
        let unix_ms = self.0.clock.unix_time().as_millis() as u64;
        let event = Arc::new(Event { boot: self.0.boot, seq, unix_ms, kind });
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(event.clone());
        let _ = self.0.live.send(event);
    }

    /// The life of the process that these events belong to.
    pub fn boot(&self) -> u64 {
        self.0.boot
    }

    /// The number of the last event; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.history().back().map_or(0, |last| last.seq)
    }

    /// The events kept, oldest first.
    pub fn recent(&self) -> Vec<Arc<Event>> {
        self.history().iter().cloned().collect()
    }

    /// The kept events after number `seq`, then everything that follows. A gap at the start means that some
    /// after `seq` are no longer kept.
    pub fn since(&self, seq: u64) -> impl Stream<Item = Heard<Arc<Event>>> + Send + 'static {
        let history = self.history();
        let live = self.0.live.subscribe();
        let kept: Vec<_> = history.iter().filter(|e| e.seq > seq).cloned().collect();
        let newest = history.back().map_or(0, |e| e.seq);
        drop(history);
        let first = kept.first().map_or(newest + 1, |e| e.seq);
        let lost = first.saturating_sub(seq + 1);
        let gap = (lost > 0).then_some(Heard::Gap(lost));
        let replay = gap.into_iter().chain(kept.into_iter().map(Heard::Item));
        stream::StreamExt::chain(stream::iter(replay), heard(live))
    }

    /// Everything that happens from now on.
    pub fn follow(&self) -> impl Stream<Item = Heard<Arc<Event>>> + Send + 'static {
        heard(self.0.live.subscribe())
    }

    fn history(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A broadcast as a stream whose gaps are items.
pub(crate) fn heard<T: Clone + Send + 'static>(
    receiver: broadcast::Receiver<T>,
) -> impl Stream<Item = Heard<T>> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(item) => Some((Heard::Item(item), receiver)),
            Err(RecvError::Lagged(missed)) => {
                metrics::counter!("mainstay_subscriber_gaps_total").increment(1);
                Some((Heard::Gap(missed), receiver))
            }
            Err(RecvError::Closed) => None,
        }
    })
}
