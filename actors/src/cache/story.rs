//! What the cache had to do with one call, to be told to its caller (RFC 9211).

use std::time::Duration;

use super::{control::Level, key::Key, stats::Use};
use crate::ports::NotKept;

/// What the cache had to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheStory {
    /// It was not asked, and keeps nothing of it.
    Bypassed(NotKept),
    /// A provider was asked.
    Missed {
        /// What the answer is kept under, if it is.
        key: Key,
        /// Why what is kept was not good enough.
        why: Lack,
        /// It was the answer to somebody else's equal question, which was under way.
        joined: bool,
    },
    /// It answered.
    Answered {
        /// What the answer is kept under.
        key: Key,
        /// Where it was found.
        level: Level,
        /// Why it was good enough.
        how: Use,
        /// How long ago it was made.
        age: Duration,
        /// How long it stays fresh; zero, if it is stale.
        fresh_for: Duration,
        /// How long it has been stale; zero, if it is fresh.
        stale_for: Duration,
    },
}

/// Why a provider had to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Nothing was kept.
    Nothing,
    /// What was kept was too old.
    TooOld,
    /// The caller wanted nothing so old, or nothing kept at all.
    Unwanted,
}

impl CacheStory {
    /// Was no provider asked for the answer?
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}
