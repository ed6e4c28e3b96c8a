//! The shared tier against a real server that hangs, dies, fills up and is written into by others.

use std::time::{Duration, Instant};

use mainstay_actors::{
    cache::{
        control::{CacheControl, CachePolicy},
        entry::{Kept, KeptFrame, Windows},
        key::Scope,
        marks::Purge,
    },
    call::FrameKind,
    clock::SystemClock,
    error::{CallError, ErrorKind},
};

use super::*;

mod access;
mod hostile;
mod outages;
#[path = "../../../tests/system/redis.rs"]
mod server;
mod shared;

use server::RedisServer;

/// What the tiers give a call.
const DEADLINE: Duration = Duration::from_millis(50);
/// How soon a server that came back must be in use.
const RECOVERY: Duration = Duration::from_secs(2);

fn settings(url: &str) -> RedisSettings {
    RedisSettings { secret: Some("shared secret".into()), ..RedisSettings::new(url.into()) }
}

fn store(server: &RedisServer) -> RedisCache {
    RedisCache::new(settings(&server.url()), Arc::new(SystemClock)).unwrap()
}

fn key(n: u8) -> Key {
    Key([n; 32])
}

fn now() -> UnixMs {
    SystemClock.unix_time().as_millis() as UnixMs
}

fn entry(answer: Kept) -> Arc<Entry> {
    Arc::new(Entry {
        scope: Scope::default(),
        tags: vec!["v1".into()],
        begun: now(),
        windows: Windows::new(now(), &CachePolicy::default(), &CacheControl::default()),
        provider: "p".into(),
        model: "m".into(),
        upstream_request_id: None,
        usage: None,
        took_ms: 7,
        answer,
    })
}

fn whole(text: &str) -> Arc<Entry> {
    entry(Kept::Whole(text.to_owned().into()))
}

/// The text of a whole answer that was found.
fn text(found: &Found) -> Option<&str> {
    match found {
        Found::Entry(entry) => match &entry.answer {
            Kept::Whole(body) => str::from_utf8(body).ok(),
            _ => None,
        },
        _ => None,
    }
}

fn tag(name: &str) -> Purge {
    Purge::Tag { tenant: "t".into(), tag: name.into() }
}

/// A call as the tiers make it: nothing, if the deadline cut it.
async fn cut<T>(call: impl Future<Output = T>) -> Option<T> {
    let started = Instant::now();
    let answer = tokio::time::timeout(DEADLINE, call).await.ok();
    assert!(started.elapsed() < 3 * DEADLINE, "it kept its caller for {:?}", started.elapsed());
    answer
}

/// Asks until the key is found; gives how long that took.
async fn until_found(store: &RedisCache, key: Key, expected: &str) -> Duration {
    let started = Instant::now();
    loop {
        if let Some(Ok(found)) = cut(store.get(key)).await
            && text(&found) == Some(expected)
        {
            return started.elapsed();
        }
        assert!(started.elapsed() < 4 * RECOVERY, "it never came back");
        let _ = cut(store.put(vec![(key, whole(expected))])).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_put_is_found_by_everybody_with_the_same_secret() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let frame = KeptFrame { bytes: "data: x\n\n".into(), kind: FrameKind::Content, after_ms: 3 };
    let stream = entry(Kept::Stream(vec![frame.clone(), frame]));
    one.put(vec![(key(1), whole("hello")), (key(2), stream.clone())]).await.unwrap();
    assert_eq!(text(&other.get(key(1)).await.unwrap()), Some("hello")); // CA11
    let Found::Entry(found) = other.get(key(2)).await.unwrap() else { panic!("not found") };
    assert_eq!(format!("{found:?}"), format!("{stream:?}"));
    assert!(matches!(other.get(key(3)).await.unwrap(), Found::Nothing));
    other.take_out(&[key(1), key(3)]).await.unwrap();
    assert!(matches!(one.get(key(1)).await.unwrap(), Found::Nothing));
}

#[tokio::test]
async fn an_entry_stays_exactly_as_long_as_its_last_window() {
    let server = RedisServer::start();
    let store = store(&server);
    let ends_in = |ms: u64| {
        let mut entry = Entry::clone(&whole("x"));
        entry.windows.error = now() + ms;
        Arc::new(entry)
    };
    let over = Arc::new(Entry {
        windows: Windows { made: 0, fresh: 1, stale: 1, error: 1 },
        ..(*ends_in(0)).clone()
    });
    let mut endless = Entry::clone(&whole("x"));
    endless.windows.error = UnixMs::MAX;
    let entries = vec![(key(1), ends_in(80_000)), (key(2), over), (key(3), Arc::new(endless))];
    store.put(entries).await.unwrap();
    let left = server.say(&["PTTL", &store.name(&key(1))]);
    let left: u64 = left.trim().trim_start_matches(':').parse().unwrap();
    assert!((79_000..=80_000).contains(&left), "{left}"); // CA1
    assert!(matches!(store.get(key(2)).await.unwrap(), Found::Nothing));
    assert!(matches!(store.get(key(3)).await.unwrap(), Found::Entry(_)));
    let mut short = Entry::clone(&ends_in(100));
    short.windows = Windows { made: now(), fresh: now(), stale: now(), error: now() + 100 };
    store.put(vec![(key(4), Arc::new(short))]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(matches!(store.get(key(4)).await.unwrap(), Found::Nothing));
}

#[tokio::test]
async fn a_verdict_never_leaves_the_memory() {
    let server = RedisServer::start();
    let store = store(&server);
    let refused = CallError {
        kind: ErrorKind::BadRequest,
        attempts: vec![],
        retry_after: None,
        upstream: None,
        cache: None,
    };
    store.put(vec![(key(1), entry(Kept::Refused(Arc::new(refused))))]).await.unwrap();
    assert_eq!(server.say(&["DBSIZE"]), ":0\r\n");
}

#[tokio::test]
async fn the_fill_is_the_servers() {
    let server = RedisServer::start_with(&["--maxmemory", "64mb"]);
    let store = store(&server);
    store.put(vec![(key(1), whole("a")), (key(2), whole("b"))]).await.unwrap();
    let fill = store.fill().await.unwrap();
    assert!(fill.entries == 2 && fill.bytes > 1000, "{fill:?}"); // CA12
    assert_eq!(fill.capacity, Some(64 << 20));
    server.say(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(store.fill().await.unwrap().capacity, None);
}
