//! What the cache costs, beside the libraries and servers that it rests on, in the same run.
//!
//! Absolute times depend on the machine; read the ratios within one group. docs/benchmarks.md has them, beside what
//! they should be. It starts a redis-server of its own on a free port, which must be installed.
//!
//! Run with `cargo bench --bench cache`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A benchmark that cannot set up has nothing to measure.
#![allow(clippy::print_stdout)] // Sizes are no times: divan has no place for them.

use std::sync::Arc;

use divan::{Bencher, Divan, black_box};
use futures_util::FutureExt;
use mainstay::{
    Request,
    actors::{
        cache::{
            CachePlan, control::CacheControl, entry::Entry, key::Key, memory::MemoryStore, tier::TierPlan,
        },
        clock::SystemClock,
        ports::{CacheStore, Found, StoreError},
    },
    caching::Rules,
    storage::redis_cache::{RedisCache, RedisSettings},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use tokio::runtime::Runtime;

use common::{
    ANSWER, Answering, Counting, KINDS, Kind, MEMORY, ROUNDS, Side, key, numbers, plan, run, runtime,
};
use files::Folder;
use redis_server::RedisServer;

mod common;
mod files;
mod peers;
#[path = "../../tests/system/redis.rs"]
mod redis_server;
mod together;

fn main() {
    Divan::default().config_with_args().main();
}

/// How many answers are kept where they are looked up.
const ANSWERS: u64 = 10_000;

fn keys() -> Vec<Key> {
    (0..ANSWERS).map(key).collect()
}

/// A question that may be kept.
fn question() -> Request {
    let body = r#"{"model":"chat","temperature":0,"messages":[{"role":"user","content":"hello"}]}"#;
    Request::new(body.into(), 9..15, false)
}

/// An answer in memory, found by its key: at most twice what the library needs.
#[divan::bench_group(sample_count = 1000)]
mod memory_hit {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (store, keys) = (MemoryStore::new(MEMORY), keys());
        (0..).zip(&keys).for_each(|(n, key)| store.keep(*key, Kind::Noise.entry(n)));
        let mut next = numbers(ANSWERS);
        bencher.bench_local(|| black_box(&store).find(&keys[next() as usize]).unwrap());
    }

    #[divan::bench]
    fn peer_quick_cache(bencher: Bencher<'_, '_>) {
        let (store, keys) = (peers::quick_cache(ANSWERS as usize), keys());
        (0..).zip(&keys).for_each(|(n, key)| store.insert(*key, Kind::Noise.entry(n)));
        let mut next = numbers(ANSWERS);
        bencher.bench_local(|| black_box(&store).get(&keys[next() as usize]).unwrap());
    }

    #[divan::bench]
    fn peer_moka(bencher: Bencher<'_, '_>) {
        let (store, keys) = (moka::sync::Cache::new(ANSWERS), keys());
        (0..).zip(&keys).for_each(|(n, key)| store.insert(*key, Kind::Noise.entry(n)));
        store.run_pending_tasks();
        let mut next = numbers(ANSWERS);
        bencher.bench_local(|| black_box(&store).get(&keys[next() as usize]).is_some());
    }
}

/// A whole call that the cache answers, with a question of 80 bytes, or with a key that costs nothing; beside one
/// that a provider answers at once, where there is no cache. A hundred times.
#[divan::bench_group(sample_count = 1000)]
mod whole_call {
    use super::*;

    fn calls(bencher: Bencher<'_, '_>, cache: Option<CachePlan>) {
        let (side, request) = (Side::answering_at_once(cache), question());
        bencher.bench_local(|| run(&side.tokio, side.calls(&request)));
    }

    #[divan::bench]
    fn mainstay_hit(bencher: Bencher<'_, '_>) {
        calls(bencher, Some(plan(Rules, Vec::new())));
    }

    #[divan::bench]
    fn mainstay_hit_key_given(bencher: Bencher<'_, '_>) {
        let asked = Arc::default();
        calls(bencher, Some(plan(Counting { asked, same: u64::MAX }, Vec::new())));
    }

    #[divan::bench]
    fn peer_call_without_a_cache(bencher: Bencher<'_, '_>) {
        calls(bencher, None);
    }
}

/// An answer of 2 KiB in a file of 10 000, found by its key.
#[divan::bench_group(sample_count = 1000)]
mod disk_hit {
    use super::*;

    #[divan::bench(args = KINDS)]
    fn mainstay(bencher: Bencher<'_, '_>, kind: Kind) {
        let (tokio, folder) = (runtime(1), Folder::new());
        let (cache, keys) = (files::ours(&folder), keys());
        files::fill_ours(&tokio, &cache, kind, ANSWERS);
        let mut next = numbers(ANSWERS);
        bencher.bench_local(|| found(cache.get(keys[next() as usize]).now_or_never()));
    }

    fn found(found: Option<Result<Found, StoreError>>) -> Arc<Entry> {
        match found {
            Some(Ok(Found::Entry(entry))) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[divan::bench(args = KINDS)]
    fn peer_redb(bencher: Bencher<'_, '_>, kind: Kind) {
        let folder = Folder::new();
        let (database, keys) = (files::theirs(&folder), keys());
        files::fill_theirs(&database, kind, ANSWERS);
        let mut next = numbers(ANSWERS);
        bencher.bench_local(|| files::get(&database, &keys[next() as usize]).unwrap());
    }
}

/// An answer of 2 KiB in a Redis of this machine, found by its key; a hundred times.
mod redis_hit {
    use super::*;

    #[divan::bench(args = KINDS)]
    fn mainstay(bencher: Bencher<'_, '_>, kind: Kind) {
        let (tokio, server) = (runtime(1), RedisServer::start());
        let (cache, keys) = (shared(&server), keys());
        let entries = keys[..ROUNDS].iter().zip(0..).map(|(key, n)| (*key, kind.entry(n)));
        tokio.block_on(cache.put(entries.collect())).unwrap();
        bencher.bench_local(|| {
            let (cache, keys) = (cache.clone(), keys[..ROUNDS].to_vec());
            run(&tokio, async move {
                for key in keys {
                    assert!(matches!(cache.get(key).await.unwrap(), Found::Entry(_)));
                }
            });
        });
    }

    #[divan::bench(args = KINDS)]
    fn peer_redis(bencher: Bencher<'_, '_>, kind: Kind) {
        let (tokio, server) = (runtime(1), RedisServer::start());
        let connection = connect(&tokio, &server);
        let names: Vec<_> = (0..ROUNDS as u64).map(|n| key(n).to_string()).collect();
        for (name, n) in names.iter().zip(0..) {
            let mut connection = connection.clone();
            let set = async { connection.set::<_, _, ()>(name, kind.answer(n)).await };
            tokio.block_on(set).unwrap();
        }
        bencher.bench_local(|| {
            let (mut connection, names) = (connection.clone(), names.clone());
            run(&tokio, async move {
                for name in names {
                    assert_eq!(connection.get::<_, Vec<u8>>(name).await.unwrap().len(), ANSWER);
                }
            });
        });
    }
}

/// A question whose answer is in no tier: memory, a file of 10 000 and a Redis are asked, and no provider. Beside the
/// same three, asked alone. A hundred times.
mod miss_through_three_tiers {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (tokio, server, folder) = (runtime(1), RedisServer::start(), Folder::new());
        let disk = files::ours(&folder);
        files::fill_ours(&tokio, &disk, Kind::Noise, ANSWERS);
        let tiers = vec![TierPlan::disk(Arc::new(disk)), TierPlan::redis(shared(&server))];
        let provider = Answering { asked: Arc::default(), enough: 1 };
        let side = Side::new(tokio, provider, Some(plan(Counting { asked: Arc::default(), same: 1 }, tiers)));
        let cache = CacheControl { only_if_cached: true, ..CacheControl::default() };
        let request = Request { cache, ..question() };
        bencher.bench_local(|| {
            let (chain, request) = (side.chain.clone(), request.clone());
            run(&side.tokio, async move {
                for _ in 0..ROUNDS {
                    chain.call(request.clone()).await.unwrap_err();
                }
            });
        });
        assert!(side.tree.system().cache().unwrap().status().tiers.iter().all(|tier| tier.up));
    }

    #[divan::bench]
    fn peers_quick_cache_redb_redis(bencher: Bencher<'_, '_>) {
        let (tokio, server, folder) = (runtime(1), RedisServer::start(), Folder::new());
        let (memory, disk) = (peers::quick_cache(ANSWERS as usize), files::theirs(&folder));
        let (memory, disk) = (Arc::new(memory), Arc::new(disk));
        files::fill_theirs(&disk, Kind::Noise, ANSWERS);
        let connection = connect(&tokio, &server);
        let mut next = ANSWERS..;
        bencher.bench_local(|| {
            let keys: Vec<_> = next.by_ref().take(ROUNDS).map(key).collect();
            let (memory, disk, mut redis) = (memory.clone(), disk.clone(), connection.clone());
            run(&tokio, async move {
                for key in keys {
                    assert!(memory.get(&key).is_none() && files::get(&disk, &key).is_none());
                    assert!(redis.get::<_, Option<Vec<u8>>>(key.to_string()).await.unwrap().is_none());
                }
            });
        });
    }
}

/// 64 tasks that ask the same at once, on one worker and on 64.
mod single_flight {
    use super::*;

    const WORKERS: [usize; 2] = [1, 64];

    #[divan::bench(args = WORKERS)]
    fn mainstay(bencher: Bencher<'_, '_>, workers: usize) {
        let (side, request) = (together::ours(workers), question());
        bencher.bench_local(|| together::call(&side, &request));
    }

    #[divan::bench(args = WORKERS)]
    fn peer_once_cell(bencher: Bencher<'_, '_>, workers: usize) {
        let tokio = runtime(workers);
        bencher.bench_local(|| together::once_cell(&tokio));
    }

    #[divan::bench(args = WORKERS)]
    fn peer_shared_future(bencher: Bencher<'_, '_>, workers: usize) {
        let tokio = runtime(workers);
        bencher.bench_local(|| together::shared(&tokio));
    }
}

/// A file of 100 000 answers of 2 KiB, and what its bytes are for each of theirs; after an orderly end, or a kill.
#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod opening {
    use super::*;

    const MANY: u64 = 100_000;
    const CASES: [(Kind, End); 3] =
        [(Kind::Words, End::Orderly), (Kind::Noise, End::Orderly), (Kind::Noise, End::Killed)];

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum End {
        Orderly,
        Killed,
    }

    /// What a kill leaves is what is in the file while it is open.
    fn leave<T>(end: End, folder: Folder, open: T) -> Folder {
        if end == End::Orderly {
            drop(open);
            return folder;
        }
        let left = Folder::new();
        left.copy(&folder);
        left
    }

    fn measure<T>(bencher: Bencher<'_, '_>, left: &Folder, open: impl Fn(&Folder) -> T) {
        println!("{:.2} bytes for each stored", left.bytes() as f64 / (MANY * ANSWER as u64) as f64);
        let copy = Folder::new();
        bencher.with_inputs(|| copy.copy(left)).bench_local_values(|()| open(&copy));
    }

    #[divan::bench(args = CASES)]
    fn mainstay(bencher: Bencher<'_, '_>, (kind, end): (Kind, End)) {
        let folder = Folder::new();
        let cache = files::ours(&folder);
        files::fill_ours(&runtime(1), &cache, kind, MANY);
        measure(bencher, &leave(end, folder, cache), files::ours);
    }

    #[divan::bench(args = CASES)]
    fn peer_redb(bencher: Bencher<'_, '_>, (kind, end): (Kind, End)) {
        let folder = Folder::new();
        let database = files::theirs(&folder);
        files::fill_theirs(&database, kind, MANY);
        measure(bencher, &leave(end, folder, database), files::theirs);
    }
}

fn shared(server: &RedisServer) -> Arc<RedisCache> {
    let settings = RedisSettings::new(server.url().into());
    Arc::new(RedisCache::new(settings, Arc::new(SystemClock)).unwrap())
}

fn connect(tokio: &Runtime, server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    tokio.block_on(client.get_multiplexed_async_connection()).unwrap()
}
