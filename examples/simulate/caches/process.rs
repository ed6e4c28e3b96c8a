//! One of the processes: a system with a cache, its authors, and what can be done to it.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mainstay::{
    ChainPolicy, ErrorKind, Mode, ProviderPolicy,
    actors::{
        cache::{
            Cache, CachePlan,
            control::{CachePolicy, Level},
            key::Scope,
            marks::Purge,
            tier::TierPlan,
        },
        ports::Clock,
        system::{StartError, Supervised, SystemBuilder},
        testing::{
            Act, Broken, FakeProvider, VirtualClock,
            store::{FakeStore, PlainRules, Weather},
        },
    },
};

use super::{
    asking::{NAMESPACES, TAGS, TENANTS, often_first},
    authors::{Author, Desk},
    claims::Claims,
};
use crate::SECOND;

/// Less than all answers take together.
const MEMORY: u64 = 24 << 10;
const NAMES: [&str; 2] = ["a", "b"];
const MODELS: [&str; 2] = ["m", "n"];

/// Wall time that leaps, in all processes alike.
#[derive(Clone)]
pub(super) struct Wall {
    clock: VirtualClock,
    leapt: Arc<AtomicU64>,
}

impl Wall {
    pub(super) fn unix_ms(&self) -> u64 {
        self.unix_time().as_millis() as u64
    }
}

impl Clock for Wall {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn unix_time(&self) -> Duration {
        self.clock.unix_time() + Duration::from_millis(self.leapt.load(Ordering::Relaxed))
    }
}

pub(super) struct Process {
    pub(super) number: usize,
    pub(super) tree: Supervised,
    pub(super) wall: Wall,
    pub(super) desk: Arc<Desk>,
    authors: Vec<Arc<Author>>,
    disk: Arc<FakeStore>,
    shared: Arc<FakeStore>,
}

/// Two of them that share a store.
pub(super) async fn two(seed: u64, claims: &Arc<Claims>) -> Result<[Arc<Process>; 2], String> {
    let wall = Wall { clock: VirtualClock::start(), leapt: Arc::default() };
    let shared = Arc::default();
    let start = |number| Process::start(seed, number, claims, &wall, &shared);
    let error = |error: StartError| error.to_string();
    Ok([Arc::new(start(0).await.map_err(error)?), Arc::new(start(1).await.map_err(error)?)])
}

impl Process {
    async fn start(
        seed: u64,
        number: usize,
        claims: &Arc<Claims>,
        wall: &Wall,
        shared: &Arc<FakeStore>,
    ) -> Result<Self, StartError> {
        let (disk, policy): (Arc<FakeStore>, _) = (Arc::default(), CachePolicy::default());
        let desk = Desk::new(claims, wall, policy);
        let mut builder = SystemBuilder::new(Arc::new(wall.clone()), seed + number as u64, 1);
        let tiers = vec![TierPlan::disk(disk.clone()), TierPlan::redis(shared.clone())];
        builder.cache(CachePlan { policy, rules: Arc::new(PlainRules), memory: Some(MEMORY), tiers })?;
        let author = || Arc::new(Author { desk: desk.clone(), fake: FakeProvider::default() });
        let authors: Vec<_> = NAMES.iter().map(|_| author()).collect();
        for (name, author) in NAMES.into_iter().zip(&authors) {
            builder.provider(name, author.clone(), ProviderPolicy::NONE)?;
        }
        builder.chain("chat", NAMES.map(|name| (name, MODELS[0])), ChainPolicy::default())?;
        let tree = builder.start(|_| Ok(Vec::new())).await?;
        Ok(Self { number, tree, wall: wall.clone(), desk, authors, disk, shared: shared.clone() })
    }

    pub(super) fn cache(&self) -> Result<&Cache, String> {
        self.tree.system().cache().ok_or_else(|| "there is no cache".into())
    }

    pub(super) fn turn(&self, shared: bool, weather: Weather) {
        if shared { &self.shared } else { &self.disk }.turn(weather);
        self.desk.claims.weathers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn crash_a_tier(&self, tier: usize) {
        let tier = self.tree.system().cache().and_then(|cache| cache.tier(Level::ALL[tier]));
        tier.and_then(|tier| tier.actor()).into_iter().for_each(|actor| actor.crash());
        self.desk.claims.weathers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn miscast(&self, chance: &mut fastrand::Rng) {
        let acts = [
            Act::Answer,
            Act::Answer,
            Act::Answer,
            Act::Answer,
            Act::Fail(ErrorKind::ServerError),
            Act::Hang,
            Act::Refuse(2),
            Act::Break(chance.usize(0..6), Broken::Ends),
        ];
        let fake = &self.authors[chance.usize(0..NAMES.len())].fake;
        fake.set(acts[chance.usize(0..acts.len())]);
        fake.takes(Duration::from_millis(chance.u64(0..3000)), Duration::from_millis(chance.u64(0..500)));
    }

    pub(super) async fn purge(&self, chance: &mut fastrand::Rng) {
        let tenant: Arc<str> = TENANTS[often_first(chance, TENANTS.len())].into();
        let namespace = NAMESPACES[often_first(chance, NAMESPACES.len())].into();
        let claims = &self.desk.claims;
        let (what, whole) = match (chance.u8(0..8), claims.some_key(chance.u64(..))) {
            (0, _) => (Purge::All, None),
            (1 | 2, Some((whole, key))) => (Purge::Key(key), Some(whole)),
            (3 | 4, _) => {
                let tag = TAGS[chance.usize(0..TAGS.len())].into();
                (Purge::Tag { tenant, tag }, None)
            }
            _ => (Purge::Namespace(Scope { tenant, namespace }), None),
        };
        let Ok(cache) = self.cache() else { return };
        let place = claims.purges(what.clone(), whole, self.number);
        let _ = cache.purge(what).await;
        claims.purged(place);
    }

    /// Wall time goes on, for all.
    pub(super) fn pass(&self, time: Duration) {
        self.wall.leapt.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn change_policy(&self, chance: &mut fastrand::Rng) {
        let hours = |n: u64| Duration::from_secs(3600 * n);
        let (ttl, stale) = (hours(chance.u64(1..6)), hours(chance.u64(0..3)));
        let policy =
            CachePolicy { ttl, stale, stale_if_error: hours(chance.u64(0..24)), ..CachePolicy::default() };
        self.tree.system().cache().into_iter().for_each(|cache| cache.set_policy(policy));
        *self.desk.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// Other targets for the chain, or the same.
    pub(super) async fn reload(&self, other: bool) -> Result<(), String> {
        let text = |error: StartError| error.to_string();
        let mut change = self.tree.change();
        for desk in self.tree.system().providers() {
            change.keep(desk, ProviderPolicy::NONE, None).map_err(text)?;
        }
        let model = MODELS[usize::from(other)];
        change.chain("chat", NAMES.map(|name| (name, model)), ChainPolicy::default()).map_err(text)?;
        change.apply().await.map_err(|error| error.to_string())
    }

    pub(super) fn heal(&self) {
        self.disk.turn(Weather::Fine);
        self.shared.turn(Weather::Fine);
        for author in &self.authors {
            author.fake.set(Act::Answer);
            author.fake.takes(Duration::ZERO, Duration::ZERO);
        }
    }

    /// After the recovery every tier is up, the mode is normal, and the memory within its bound.
    pub(super) fn is_well(&self) -> Result<(), String> {
        let (mode, status) = (self.tree.system().mode().now(), self.cache()?.status());
        let full = |bytes: u64, capacity: Option<u64>| capacity.is_some_and(|capacity| bytes > capacity);
        let ill = status.tiers.iter().find(|tier| !tier.up || full(tier.bytes, tier.capacity));
        match (mode, ill) {
            (Mode::Normal, None) => Ok(()),
            ill => Err(format!("process {} did not recover: {ill:?}", self.number)),
        }
    }

    pub(super) async fn end(self: Arc<Self>) -> Result<(), String> {
        let process = Arc::into_inner(self).ok_or("somebody holds a process still")?;
        let report = process.tree.shutdown(60 * SECOND).await;
        if report.is_clean() { Ok(()) } else { Err(format!("the shutdown left something: {report:?}")) }
    }
}
