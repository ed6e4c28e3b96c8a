//! What the outside must provide.
//!
//! Everything that could make two runs differ comes in through here: time, chance, ids, the wire and the
//! store. With other implementations the whole system runs on virtual time and repeats itself from a seed.
//! No implementation is here that touches a network, a disk or a real clock.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;

use crate::{
    cache::{
        entry::{Entry, UnixMs},
        key::{Key, Scope},
        marks::{Mark, Marks},
    },
    call::{ProviderReply, Request},
    error::ProviderError,
};

/// Time, as far as decisions need it.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time: for every timeout, lease and backoff. It must be tokio's clock
    /// (`tokio::time::Instant::now().into_std()`) so that sleeping and deciding agree.
    fn now(&self) -> Instant;

    /// Time since the Unix epoch: for people, and for what outlives the process.
    fn unix_time(&self) -> Duration;
}

/// One attempt, as a provider sees it.
#[derive(Clone, Copy)]
pub struct ProviderCall<'a> {
    /// What to send.
    pub request: &'a Request,
    /// The model to ask for, in place of the one in the request.
    pub model: &'a str,
    /// The call's id, to be sent along for tracing.
    pub id: &'a str,
    /// When the attempt will be abandoned.
    pub deadline: Instant,
}

/// Something that answers requests.
///
/// The future runs on the caller's task: dropping it must abandon the request. Retries, timeouts (but for
/// connecting) and limits are the runtime's work; an adapter makes exactly one request. A panic is contained
/// and counted as [`ErrorKind::Panicked`](crate::error::ErrorKind::Panicked).
pub trait Provider: Send + Sync + 'static {
    /// Sends one request. A streaming request must be answered with [`ProviderReply::Stream`].
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>>;

    /// Asks, at no cost, whether the provider can be reached; nothing, if there is no such way. It must be quick to
    /// give the future, which is dropped when it takes too long. What it says never stands against what calls say.
    fn probe(&self) -> Option<BoxFuture<'_, Result<(), ProviderError>>> {
        None
    }
}

/// A way to find out whether this machine reaches anything at all, whatever becomes of its providers.
pub trait Reach: Send + Sync + 'static {
    /// True if it does. It should take no longer than a few seconds, and must not ask any provider.
    fn reach(&self) -> BoxFuture<'_, bool>;
}

/// A store failed; nothing is known about whether the write was kept.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct StoreError {
    /// Which store, for people: a path or an address.
    pub place: String,
    /// What happened, and what to do next.
    pub problem: String,
    /// Is it only in use by another process, and may be free in a moment?
    pub in_use: bool,
}

/// The small facts that one boot leaves to the next.
///
/// Called at start and on rare changes only, never on the request path.
pub trait StateStore: Send + Sync + 'static {
    /// The value last saved under `key`.
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Saves `value`; it is durable when this returns.
    fn save(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
}

/// What a store found under a key.
#[derive(Clone, Debug)]
pub enum Found {
    /// This.
    Entry(Arc<Entry>),
    /// Nothing.
    Nothing,
    /// Something that is not what was put there. The store has taken it out, or will.
    Corrupt,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Entries in it, also those whose time is over.
    pub entries: u64,
    /// Bytes that they take there.
    pub bytes: u64,
    /// Bytes that it may take; nothing, where somebody else sees to that.
    pub capacity: Option<u64>,
}

/// What was taken out of a store to make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Those whose time was over, or which had been purged.
    pub expired: u64,
    /// Those which had to go before.
    pub evicted: u64,
}

/// Where a tier below the memory keeps its entries.
///
/// Each call has a deadline, after which its future is dropped: a write may have been made nevertheless. Nothing is
/// tried twice in here. A store need not know what is purged, but for keeping the marks and making room.
pub trait CacheStore: Send + Sync + 'static {
    /// Looks a key up.
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Found, StoreError>>;

    /// Keeps entries; an older one under the same key goes.
    fn put(&self, entries: Vec<(Key, Arc<Entry>)>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Keeps these marks with those that it has, the later of two, durably; gives all that it has then. What was put
    /// before is kept durably by then too.
    fn exchange(&self, marks: Vec<Mark>) -> BoxFuture<'_, Result<Vec<Mark>, StoreError>>;

    /// Makes room: takes out what nobody can see any more, and of the rest what was used least recently, until it
    /// keeps to its capacity. It does a bounded piece of that work at a time.
    fn tidy(&self, now: UnixMs, marks: &Marks) -> BoxFuture<'_, Result<Tidied, StoreError>>;

    /// How full it is. It must be quick to find out.
    fn fill(&self) -> BoxFuture<'_, Result<Fill, StoreError>>;
}

/// Why an answer is not kept, and none that is kept is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Chance has a part in it, and neither the policy nor the caller says that it may be kept.
    Sampled,
    /// The provider does something, or keeps something itself, when it is asked.
    SideEffects,
    /// The request cannot be read.
    Unreadable,
}

impl NotKept {
    /// A word for headers and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sampled => "sampled",
            Self::SideEffects => "side-effects",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What determines an answer, as far as the dialects know.
pub trait CacheRules: Send + Sync + 'static {
    /// The key of this request within `scope`, asked of a chain whose targets are `targets`. `sampled` says whether
    /// answers that chance had a part in may be kept.
    fn key(&self, request: &Request, scope: &Scope, targets: &str, sampled: bool) -> Result<Key, NotKept>;
}

impl fmt::Debug for ProviderCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderCall")
            .field("id", &self.id)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
