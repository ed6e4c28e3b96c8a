//! What a provider's actor is told. What it makes of that is not here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Probed;
use crate::{
    error::ErrorKind,
    provider::{Circuit, permit::Passes},
    supervision::Reply,
};

/// What a provider's actor is told.
pub enum ProviderNews {
    /// An attempt ended.
    Outcome(Outcome),
    /// An attempt is slow, and goes on.
    Slow(Slow),
    /// Somebody wants something.
    Order(Order),
    /// Somebody wants something, and waits until it is done.
    Ordered(Order, Reply<()>),
    /// A wait is over: for an open time, for a step of a half-open circuit, or for a probe.
    Wake,
    /// A probe of its own ended.
    Probed(Probed),
}

/// How an attempt ended.
pub struct Outcome {
    pub(in crate::provider) model: Arc<Circuit>,
    pub(in crate::provider) passes: Passes,
    pub(in crate::provider) slow: bool,
    pub(in crate::provider) failure: Option<ErrorKind>,
    pub(in crate::provider) hint: Option<Duration>,
    pub(in crate::provider) started: Instant,
    /// How many attempts ran when it ended, itself included.
    pub(in crate::provider) in_flight: usize,
}

/// An attempt that is slow.
pub struct Slow {
    pub(in crate::provider) model: Arc<Circuit>,
    pub(in crate::provider) passes: Passes,
}

/// What somebody wants of a provider.
pub enum Order {
    /// Take it out.
    Isolate {
        /// That model alone; nothing: the whole account.
        model: Option<Arc<Circuit>>,
        /// Until when; nothing: until it is closed.
        until: Option<Instant>,
        /// Who wants it, and why.
        reason: Arc<str>,
    },
    /// Let calls pass.
    Close,
    /// Take back what was held against it since then.
    Pardon(Instant),
    /// Look at your desk: something is another one there.
    Adapt,
}
