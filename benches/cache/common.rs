//! What all sides share: entries and their keys, a provider, rules whose keys cost nothing, the runtime.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::{FutureExt, future::BoxFuture};
use mainstay::{
    Chain, ChainPolicy, Clock, Provider, ProviderCall, ProviderError, ProviderPolicy, Request,
    actors::{
        cache::{
            CachePlan,
            control::{CacheControl, CachePolicy},
            entry::{Entry, Kept, Windows},
            key::{Key, Scope},
            tier::TierPlan,
        },
        call::{FullReply, ProviderReply},
        clock::SystemClock,
        ports::{CacheRules, NotKept},
        system::{Supervised, SystemBuilder},
    },
};
use tokio::{runtime::Runtime, task::yield_now};

/// Bytes of an answer.
pub(crate) const ANSWER: usize = 2048;
/// Bytes of memory.
pub(crate) const MEMORY: u64 = 64 << 20;
/// How often one iteration does what a runtime is needed for.
pub(crate) const ROUNDS: usize = 100;
/// How many ask the same at once.
pub(crate) const CALLERS: usize = 64;

/// How well an answer can be compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Words,
    Noise,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Words, Kind::Noise];

impl Kind {
    /// The answer of this number.
    pub(crate) fn answer(self, number: u64) -> Vec<u8> {
        let mut chance = fastrand::Rng::with_seed(number);
        match self {
            Self::Noise => (0..ANSWER).map(|_| chance.u8(..)).collect(),
            Self::Words => (0..).flat_map(|_| word(chance.u64(..4000))).take(ANSWER).collect(),
        }
    }

    pub(crate) fn entry(self, number: u64) -> Arc<Entry> {
        let now = SystemClock.unix_time().as_millis() as u64;
        Arc::new(Entry {
            scope: Scope::default(),
            tags: Vec::new(),
            begun: now,
            windows: Windows::new(now, &CachePolicy::default(), &CacheControl::default()),
            provider: "one".into(),
            model: "m".into(),
            upstream_request_id: None,
            usage: None,
            took_ms: 1500,
            answer: Kept::Whole(self.answer(number).into()),
        })
    }
}

/// One of some thousand words.
fn word(number: u64) -> Vec<u8> {
    let mut chance = fastrand::Rng::with_seed(number);
    let letters = (0..chance.usize(2..10)).map(|_| chance.lowercase() as u8);
    letters.chain([b' ']).collect()
}

/// The key of this number, as random as a digest.
pub(crate) fn key(number: u64) -> Key {
    let mut chance = fastrand::Rng::with_seed(number);
    Key(array::from_fn(|_| chance.u8(..)))
}

/// All numbers below `end`, again and again.
pub(crate) fn numbers(end: u64) -> impl FnMut() -> u64 {
    let mut next = 0;
    move || {
        next = (next + 1) % end;
        next
    }
}

/// A provider that answers as soon as so many have asked.
pub(crate) struct Answering {
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) enough: u64,
}

impl Provider for Answering {
    fn call<'a>(&'a self, _: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        async {
            all_asked(&self.asked, self.enough).await;
            Ok(ProviderReply::Full(FullReply::new("{}")))
        }
        .boxed()
    }
}

/// Until a multiple of `enough` have asked.
pub(crate) async fn all_asked(asked: &AtomicU64, enough: u64) {
    while !asked.load(Relaxed).is_multiple_of(enough) {
        yield_now().await;
    }
}

/// Keys that cost nothing: so many calls after each other ask the same.
pub(crate) struct Counting {
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) same: u64,
}

impl CacheRules for Counting {
    fn key(&self, _: &Request, _: &Scope, _: &str, _: bool) -> Result<Key, NotKept> {
        let number = self.asked.fetch_add(1, Relaxed) / self.same;
        let mut key = [7; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Ok(Key(key))
    }
}

/// A chain of one provider that answers at once, or when enough have asked; with a cache in front of it.
pub(crate) struct Side {
    pub(crate) tokio: Runtime,
    pub(crate) chain: Arc<Chain>,
    pub(crate) tree: Supervised,
}

impl Side {
    pub(crate) fn new(tokio: Runtime, provider: Answering, cache: Option<CachePlan>) -> Self {
        let started = tokio.block_on(async {
            let mut system = SystemBuilder::new(Arc::new(SystemClock), 1, 1);
            if let Some(cache) = cache {
                system.cache(cache).unwrap();
            }
            let policy = ProviderPolicy { max_concurrent: None, ..ProviderPolicy::default() };
            system.provider("one", Arc::new(provider), policy).unwrap();
            system.chain("chat", [("one", "m")], ChainPolicy::default()).unwrap();
            system.start(|_| Ok(Vec::new())).await.unwrap()
        });
        let chain = started.system().chain("chat").unwrap();
        Self { tokio, chain, tree: started }
    }

    pub(crate) fn answering_at_once(cache: Option<CachePlan>) -> Self {
        Self::new(runtime(1), Answering { asked: Arc::default(), enough: 1 }, cache)
    }

    /// The same call, again and again.
    pub(crate) fn calls(&self, request: &Request) -> impl Future<Output = ()> + use<> {
        let (chain, request) = (self.chain.clone(), request.clone());
        async move {
            for _ in 0..ROUNDS {
                chain.call(request.clone()).await.unwrap();
            }
        }
    }
}

pub(crate) fn plan(rules: impl CacheRules, tiers: Vec<TierPlan>) -> CachePlan {
    CachePlan { policy: CachePolicy::default(), rules: Arc::new(rules), memory: Some(MEMORY), tiers }
}

/// The caller runs as a task on a worker, as the actors do.
pub(crate) fn runtime(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
}

pub(crate) fn run<T: Send + 'static>(tokio: &Runtime, work: impl Future<Output = T> + Send + 'static) -> T {
    tokio.block_on(tokio.spawn(work)).unwrap()
}
