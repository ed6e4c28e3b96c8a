//! One tier, as callers see it: a store that they read themselves, within a deadline, if its gate is open.
//!
//! Whatever is wrong with a tier is a miss, never an error and hardly a wait (CA6). What callers found goes to its
//! [`actor`], which decides about the gate, writes behind everybody's back, and shares purges.

pub mod actor;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use serde::Serialize;

use self::actor::TierNews;
use super::{
    control::Level,
    entry::Entry,
    gate::Trouble,
    key::Key,
    stats::{Happened, TierStats},
};
use crate::{
    ports::{CacheStore, Clock, Fill, Found},
    shell::contain,
    supervision::Handle,
};

/// A store, and how it is to be treated.
pub struct TierPlan {
    /// Which tier it is.
    pub level: Level,
    /// The store.
    pub store: Arc<dyn CacheStore>,
    /// How long a caller waits for it.
    pub deadline: Duration,
    /// How often purges are shared with it and room is made in it.
    pub every: Duration,
}

impl TierPlan {
    /// A disk: 50 ms, and every second.
    pub fn disk(store: Arc<dyn CacheStore>) -> Self {
        let (deadline, every) = (Duration::from_millis(50), Duration::from_secs(1));
        Self { level: Level::Disk, store, deadline, every }
    }

    /// A store that other processes share: 50 ms, and every quarter of a second, so that their purges are seen in
    /// time.
    pub fn redis(store: Arc<dyn CacheStore>) -> Self {
        let (deadline, every) = (Duration::from_millis(50), Duration::from_millis(250));
        Self { level: Level::Redis, store, deadline, every }
    }

    pub(crate) fn memory(store: Arc<dyn CacheStore>) -> Self {
        let (deadline, every) = (Duration::MAX, Duration::from_secs(10));
        Self { level: Level::Memory, store, deadline, every }
    }
}

/// One tier.
pub struct Tier {
    level: Level,
    store: Arc<dyn CacheStore>,
    deadline: Duration,
    stats: TierStats,
    open: AtomicBool,
    told: ArcSwap<Told>,
    actor: OnceLock<Handle<TierNews>>,
    clock: Arc<dyn Clock>,
}

/// What its actor said last.
#[derive(Clone, Debug, Default)]
struct Told {
    fill: Fill,
    trouble: Option<Arc<str>>,
}

/// A tier as it is now (CA12).
#[derive(Clone, Debug, Serialize)]
pub struct TierStatus {
    /// Which.
    pub tier: Level,
    /// Is it asked?
    pub up: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Arc<str>>,
    /// Entries in it, also those whose time is over.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that they may take; nothing, where somebody else sees to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// How often what has happened since the start.
    #[serde(flatten)]
    pub counts: std::collections::BTreeMap<&'static str, u64>,
}

impl Tier {
    fn new(plan: &TierPlan, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            level: plan.level,
            store: plan.store.clone(),
            deadline: plan.deadline,
            stats: TierStats::new(plan.level),
            open: AtomicBool::new(false),
            told: ArcSwap::default(),
            actor: OnceLock::new(),
            clock,
        })
    }

    /// Which tier it is.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What it did.
    pub fn stats(&self) -> &TierStats {
        &self.stats
    }

    /// Its actor, for supervision scenarios.
    pub fn actor(&self) -> Option<&Handle<TierNews>> {
        self.actor.get()
    }

    /// How it is.
    pub fn status(&self) -> TierStatus {
        let Told { fill, trouble } = Told::clone(&self.told.load());
        let (tier, up) = (self.level, self.open.load(Ordering::Acquire));
        let Fill { entries, bytes, capacity } = fill;
        TierStatus { tier, up, trouble, entries, bytes, capacity, counts: self.stats.counts() }
    }

    /// What is kept there under this key, if it answers in time.
    pub(super) async fn find(&self, key: &Key) -> Option<Arc<Entry>> {
        if !self.open.load(Ordering::Acquire) {
            self.stats.add(Happened::Skipped, 1);
            return None;
        }
        let started = self.clock.now();
        let asked = contain(async { Ok(self.store.get(*key).await) });
        let found = tokio::time::timeout(self.deadline, asked).await;
        let took = self.clock.now().saturating_duration_since(started);
        self.stats.looked_up(took);
        // A store that waits without saying so holds its caller all the same.
        if found.is_err() || took > self.deadline {
            self.troubled(Trouble::Slow, format!("did not answer within {} ms", self.deadline.as_millis()));
        }
        match found.ok()? {
            Ok(Ok(Found::Entry(entry))) => return Some(entry),
            Ok(Ok(Found::Nothing)) => {}
            Ok(Ok(Found::Corrupt)) => self.stats.add(Happened::Corrupt, 1),
            Ok(Err(error)) => self.troubled(Trouble::Failed, error.to_string()),
            Err(exit) => self.troubled(Trouble::Failed, exit.to_string()),
        }
        None
    }

    /// Keeps an entry there, some time later.
    pub(super) fn keep(&self, key: Key, entry: Arc<Entry>) {
        if self.actor.get().is_none_or(|actor| actor.tell(TierNews::Keep(key, entry)).is_err()) {
            self.stats.add(Happened::Dropped, 1);
        }
    }

    /// One that is lost is made up for by the next.
    fn troubled(&self, trouble: Trouble, text: String) {
        let event = if trouble == Trouble::Slow { Happened::TimedOut } else { Happened::Failed };
        self.stats.add(event, 1);
        if let Some(actor) = self.actor.get() {
            let _ = actor.tell(TierNews::Troubled(trouble, text.into()));
        }
    }
}
