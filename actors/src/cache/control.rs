//! What a caller asks of the cache, and what the cache does unasked.
//!
//! How a header or a file spells it is not known here.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// The tiers, fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// In this process.
    Memory,
    /// On this machine; it outlives the process.
    Disk,
    /// Shared with other machines.
    Redis,
}

impl Level {
    /// All of them, fastest first.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Redis];

    /// Its name in settings, headers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Redis => "redis",
        }
    }
}

/// Some of the tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels([bool; 3]);

impl Levels {
    /// Every tier there is.
    pub const ALL: Self = Self([true; 3]);

    /// Is this one among them?
    pub fn has(self, level: Level) -> bool {
        self.0[level as usize]
    }
}

impl FromIterator<Level> for Levels {
    fn from_iter<I: IntoIterator<Item = Level>>(levels: I) -> Self {
        let mut chosen = [false; 3];
        levels.into_iter().for_each(|level| chosen[level as usize] = true);
        Self(chosen)
    }
}

/// What one caller asks of the cache (CA13).
#[derive(Clone, Debug, Default)]
pub struct CacheControl {
    /// Who asks: entries are never shared between tenants. Default: nobody in particular.
    pub tenant: Option<Arc<str>>,
    /// The namespace to look in and to keep the answer in. Default: `default`.
    pub namespace: Option<Arc<str>>,
    /// What the answer depends on; whoever changes that purges the tag.
    pub tags: Vec<Arc<str>>,
    /// The tiers to use. Default: all.
    pub levels: Option<Levels>,
    /// How long the answer stays fresh; it also says that a sampled answer may be kept. Default: the policy's.
    pub ttl: Option<Duration>,
    /// Ask a provider whatever is kept, and keep its answer.
    pub no_cache: bool,
    /// Keep nothing of this call.
    pub no_store: bool,
    /// Nothing older than this.
    pub max_age: Option<Duration>,
    /// When nobody answers: an answer that went stale no longer ago than this; zero for none. Default: the policy's.
    pub stale_if_error: Option<Duration>,
    /// Ask no provider.
    pub only_if_cached: bool,
}

/// What the cache does unless a caller asks for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// How long an answer is fresh, 1 s to 8760 h. Until then it is given without asking anybody.
    pub ttl: Duration,
    /// How long after that it is still given at once, while a fresh one is asked for behind it, 0 s to 8760 h.
    pub stale: Duration,
    /// How long after its freshness it is given, marked as stale, when nobody answers, 0 s to 8760 h.
    pub stale_if_error: Duration,
    /// How long a verdict on the request itself is kept (a prompt that is too long, say), 0 s to 1 h; 0 s: not at all.
    pub negative_ttl: Duration,
    /// The largest answer that is kept, in bytes, 1 KiB to 16 MiB.
    pub max_entry: usize,
    /// May answers be kept that chance had a part in: those of requests without `temperature` 0?
    pub sampled: bool,
    /// May answers be kept that call the caller's tools? Each repetition calls them again.
    pub tool_calls: bool,
    /// Are the events of a kept stream given as slowly as they came, rather than at once?
    pub paced: bool,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            stale: Duration::from_secs(600),
            stale_if_error: Duration::from_secs(24 * 3600),
            negative_ttl: Duration::ZERO,
            max_entry: 1 << 20,
            sampled: false,
            tool_calls: false,
            paced: false,
        }
    }
}

/// The longest that an entry may stay in any window.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl CachePolicy {
    /// What is out of its range.
    pub fn check(&self) -> Result<(), &'static str> {
        let rules = [
            ((1..=LONGEST.as_secs()).contains(&self.ttl.as_secs()), "`ttl` must be 1s to 8760h"),
            (self.stale <= LONGEST, "`stale` must be 0s to 8760h"),
            (self.stale_if_error <= LONGEST, "`stale_if_error` must be 0s to 8760h"),
            (self.negative_ttl <= Duration::from_secs(3600), "`negative_ttl` must be 0s to 1h"),
            ((1 << 10..=16 << 20).contains(&self.max_entry), "`max_entry` must be 1KiB to 16MiB"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, problem)| Err(problem))
    }
}
