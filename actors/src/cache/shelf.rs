//! The whole cache, as callers use it: ask, keep, purge, and see how it is.
//!
//! Everything is done on the caller's task: the memory is read at once, the tiers below it within their deadlines,
//! and what is found there is copied upwards as it is. How a call goes on without an answer is the
//! [chain](crate::chain)'s business.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{
    control::{CacheControl, CachePolicy, Level, Levels},
    entry::{Entry, Freshness, UnixMs, Windows},
    flight::{Flights, Name, Streams},
    key::{Key, Scope},
    marks::{Marks, Purge},
    memory::MemoryStore,
    stats::{Efficiency, Happened, Savings},
    tier::{
        Tier, TierPlan, TierStatus,
        actor::{TierActor, TierNews, unix_ms},
    },
};
use crate::{
    call::{Finish, FullReply, Request, Story},
    commons::Commons,
    error::CallError,
    event::{EventKind, EventLog},
    ports::{CacheRules, Clock, NotKept},
    supervision::{ChildSpec, Patience},
};

/// Refreshes of stale entries at once; a further one is left to the next caller.
const REFRESHES: usize = 16;
/// How long a purge waits for the tiers to keep it for good.
const PURGE_PATIENCE: Duration = Duration::from_secs(2);

/// What is to be built.
pub struct CachePlan {
    /// What it does unasked.
    pub policy: CachePolicy,
    /// What determines an answer.
    pub rules: Arc<dyn CacheRules>,
    /// Bytes of memory; nothing for a cache without.
    pub memory: Option<u64>,
    /// The tiers below, fastest first.
    pub tiers: Vec<TierPlan>,
}

/// The cache.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    policy: ArcSwap<CachePolicy>,
    rules: Arc<dyn CacheRules>,
    memory: Option<Arc<MemoryStore>>,
    /// All tiers, the memory included, fastest first.
    tiers: Vec<Arc<Tier>>,
    marks: Arc<Marks>,
    efficiency: Efficiency,
    flights: Flights<Landed>,
    streams: Streams,
    refreshing: Arc<Semaphore>,
    /// The scope of callers who name none.
    usual: Scope,
    clock: Arc<dyn Clock>,
    events: EventLog,
}

/// How a shared call ended.
pub(crate) type Landed = Result<(FullReply, Story), CallError>;

/// A call's question to the cache.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) key: Key,
    pub(crate) scope: Scope,
    pub(crate) levels: Levels,
    pub(crate) begun: UnixMs,
    purges: u64,
}

impl Question {
    /// Whom it may fly with.
    pub(crate) fn flight(&self) -> Name {
        (self.key, self.purges)
    }
}

/// What is kept, and what it is good for to this caller.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) level: Level,
    pub(crate) entry: Arc<Entry>,
    pub(crate) freshness: Freshness,
}

/// What became of a purge: it holds in this process at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// The tiers that have it for good.
    pub kept_by: Vec<Level>,
    /// Those that do not answer; they get it before they are asked for anything again. If this process ends before
    /// that, the purge has to be repeated.
    pub pending: Vec<Level>,
}

/// How the cache is (CA12).
#[derive(Clone, Debug, Serialize)]
pub struct CacheStatus {
    /// By tier, fastest first.
    pub tiers: Vec<TierStatus>,
    /// What it saved, by namespace.
    pub namespaces: Vec<Savings>,
}

impl Cache {
    /// A cache, and the actors of its tiers.
    pub(crate) fn new(plan: CachePlan, commons: &Commons) -> (Self, Vec<ChildSpec>) {
        let CachePlan { policy, rules, memory, tiers } = plan;
        let marks = Arc::new(Marks::default());
        let memory = memory.map(|bytes| Arc::new(MemoryStore::new(bytes)));
        let plans = memory.iter().map(|store| TierPlan::memory(store.clone())).chain(tiers);
        let (specs, tiers) = plans.map(|plan| TierActor::spec(plan, &marks, commons)).unzip();
        let cache = Inner {
            policy: ArcSwap::from_pointee(policy),
            rules,
            memory,
            tiers,
            marks,
            efficiency: Efficiency::default(),
            flights: Flights::default(),
            streams: Streams::default(),
            refreshing: Arc::new(Semaphore::new(REFRESHES)),
            usual: Scope::default(),
            clock: commons.clock.clone(),
            events: commons.events.clone(),
        };
        (Self(Arc::new(cache)), specs)
    }

    /// What it does unasked.
    pub fn policy(&self) -> CachePolicy {
        **self.0.policy.load()
    }

    /// Does something else unasked from now on; what is kept stays as it is.
    pub fn set_policy(&self, policy: CachePolicy) {
        self.0.policy.store(Arc::new(policy));
    }

    /// The tier, for supervision scenarios.
    pub fn tier(&self, level: Level) -> Option<&Arc<Tier>> {
        self.0.tiers.iter().find(|tier| tier.level() == level)
    }

    /// How it is.
    pub fn status(&self) -> CacheStatus {
        CacheStatus {
            tiers: self.0.tiers.iter().map(|tier| tier.status()).collect(),
            namespaces: self.0.efficiency.report(),
        }
    }

    /// Makes everything invisible, in every tier, that `what` names and that was begun before now; also what is
    /// still being made. It returns when the tiers have that for good, or do not answer.
    pub async fn purge(&self, what: Purge) -> Purged {
        self.0.marks.purge(what.clone(), self.now());
        self.0.events.publish(EventKind::CachePurged { what: Arc::new(what) });
        let sharing = self.0.tiers.iter().map(|tier| async {
            let shared = match tier.actor() {
                Some(actor) => actor.call(TierNews::Share, PURGE_PATIENCE, Patience::Wait).await.is_ok(),
                None => false,
            };
            (tier.level(), shared)
        });
        let shared = futures_util::future::join_all(sharing).await;
        let (kept, pending): (Vec<_>, Vec<_>) = shared.into_iter().partition(|(_, shared)| *shared);
        let levels = |tiers: Vec<(Level, bool)>| tiers.into_iter().map(|(level, _)| level).collect();
        Purged { kept_by: levels(kept), pending: levels(pending) }
    }

    /// The question that a request asks, or why the cache has nothing to do with it.
    pub(crate) fn question(&self, request: &Request, targets: &str) -> Result<Question, NotKept> {
        let CacheControl { tenant, namespace, levels, ttl, .. } = &request.cache;
        let usual = &self.0.usual;
        let scope = Scope {
            tenant: tenant.as_ref().unwrap_or(&usual.tenant).clone(),
            namespace: namespace.as_ref().unwrap_or(&usual.namespace).clone(),
        };
        let sampled = ttl.is_some() || self.0.policy.load().sampled;
        let key = self.0.rules.key(request, &scope, targets, sampled)?;
        // In this order: a purge between the two makes it fly alone, and not with those of before.
        let (begun, purges) = (self.0.marks.begin(self.now()), self.0.marks.version());
        Ok(Question { key, scope, levels: levels.unwrap_or(Levels::ALL), begun, purges })
    }

    /// The best that is kept, for this caller. A copy further down is looked for as long as none is fresh.
    pub(crate) async fn find(&self, question: &Question, control: &CacheControl) -> Option<Held> {
        let mut best: Option<Held> = None;
        for (i, tier) in self.0.tiers.iter().enumerate() {
            if !question.levels.has(tier.level()) {
                continue;
            }
            let found = self.look(tier, question).await;
            tier.stats().add(if found.is_some() { Happened::Hit } else { Happened::Miss }, 1);
            let Some((entry, now)) = found else { continue };
            let freshness = entry.windows.for_caller(now, control);
            if best.as_ref().is_some_and(|best| best.freshness <= freshness) {
                continue;
            }
            self.promote(question, &entry, i);
            let held = best.insert(Held { level: tier.level(), entry, freshness });
            if held.freshness == Freshness::Fresh {
                break;
            }
        }
        match best {
            Some(held) if held.freshness != Freshness::Fresh => self.still(question, held, control),
            best => best,
        }
    }

    /// What was found, as far as it is still good for this caller, whatever happened meanwhile.
    pub(crate) fn still(&self, question: &Question, held: Held, control: &CacheControl) -> Option<Held> {
        let freshness = held.entry.windows.for_caller(self.now(), control);
        let is_good = freshness != Freshness::Over && self.0.marks.allow(&question.key, &held.entry);
        is_good.then_some(Held { freshness, ..held })
    }

    /// What may be seen there, and when that was.
    async fn look(&self, tier: &Tier, question: &Question) -> Option<(Arc<Entry>, UnixMs)> {
        let entry = match (&self.0.memory, tier.level()) {
            (Some(memory), Level::Memory) => memory.find(&question.key),
            _ => tier.find(&question.key).await,
        }?;
        let now = self.now();
        let is_visible = entry.scope == question.scope
            && entry.windows.at(now) != Freshness::Over
            && self.0.marks.allow(&question.key, &entry);
        is_visible.then_some((entry, now))
    }

    /// Copies what was found into the faster tiers, with its instants (CA1).
    fn promote(&self, question: &Question, entry: &Arc<Entry>, found_at: usize) {
        self.put(question, entry, &self.0.tiers[..found_at]);
    }

    /// Keeps an answer in all tiers that the caller asked for.
    pub(crate) fn keep(&self, question: &Question, entry: Entry) {
        let entry = Arc::new(entry);
        if self.0.marks.allow(&question.key, &entry) {
            self.put(question, &entry, &self.0.tiers);
        }
    }

    fn put(&self, question: &Question, entry: &Arc<Entry>, tiers: &[Arc<Tier>]) {
        for tier in tiers.iter().filter(|tier| question.levels.has(tier.level())) {
            match (&self.0.memory, tier.level()) {
                (Some(memory), Level::Memory) => {
                    memory.keep(question.key, entry.clone());
                    tier.stats().add(Happened::Filled, 1);
                }
                _ if entry.may_travel() => tier.keep(question.key, entry.clone()),
                _ => {}
            }
        }
    }

    /// When an answer that is complete now is good for what.
    pub(crate) fn windows(&self, control: &CacheControl) -> Windows {
        Windows::new(self.now(), &self.policy(), control)
    }

    /// May an answer that ended like that, and is so large, be kept? (CA5)
    pub(crate) fn may_keep(&self, finish: Option<Finish>, bytes: usize) -> bool {
        let policy = self.0.policy.load();
        let is_good = match finish {
            None | Some(Finish::Complete) => true,
            Some(Finish::ToolCalls) => policy.tool_calls,
            Some(Finish::CutShort | Finish::Refused) => false,
        };
        is_good && bytes <= policy.max_entry
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn efficiency(&self) -> &Efficiency {
        &self.0.efficiency
    }

    pub(crate) fn flights(&self) -> &Flights<Landed> {
        &self.0.flights
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.0.streams
    }

    pub(crate) fn refreshing(&self) -> &Arc<Semaphore> {
        &self.0.refreshing
    }

    pub(crate) fn now(&self) -> UnixMs {
        unix_ms(&*self.0.clock)
    }
}
