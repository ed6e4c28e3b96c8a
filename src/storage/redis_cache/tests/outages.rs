//! The server is away, hangs, dies, comes back, or has no room.

use super::*;

#[tokio::test]
async fn a_server_that_is_absent_costs_nothing_at_the_start_and_is_used_when_it_comes() {
    let mut server = RedisServer::absent();
    let started = Instant::now();
    let store = store(&server);
    assert!(started.elapsed() < Duration::from_millis(20));
    for _ in 0..20 {
        let error = cut(store.get(key(1))).await.expect("it fails at once").unwrap_err();
        assert!(error.to_string().contains(&server.port().to_string()), "{error}");
        assert!(error.problem.contains("cannot be reached") && error.problem.contains("start it"), "{error}");
    }
    server.restart();
    let took = until_found(&store, key(1), "back").await;
    assert!(took < RECOVERY, "{took:?}"); // CA6
}

#[tokio::test]
async fn a_server_that_dies_in_use_fails_fast_and_is_used_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let store = store(&server);
    store.put(vec![(key(1), whole("x"))]).await.unwrap();
    server.kill();
    for _ in 0..50 {
        assert!(cut(store.get(key(1))).await.expect("it fails at once").is_err()); // CA6
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.restart();
    let took = until_found(&store, key(1), "again").await;
    assert!(took < RECOVERY, "{took:?}");
}

#[tokio::test]
async fn a_server_that_dies_while_nobody_asks_is_back_before_anybody_does() {
    let mut server = RedisServer::start();
    let store = store(&server);
    store.put(vec![(key(1), whole("x"))]).await.unwrap();
    server.restart();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(cut(store.get(key(1))).await, Some(Ok(Found::Nothing))));
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_few_deadlines_and_then_nothing() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(vec![(key(1), whole("x"))]).await.unwrap();
    server.pause();
    let mut cuts = 0;
    while cut(store.get(key(1))).await.is_none() {
        cuts += 1;
        assert!(cuts < 10, "it never stops waiting");
    }
    assert!(cuts >= 2, "one slow answer is no outage");
    let started = Instant::now();
    for _ in 0..100 {
        assert!(cut(store.get(key(1))).await.expect("it fails at once").is_err()); // CA6
    }
    assert!(started.elapsed() < 2 * DEADLINE, "{:?}", started.elapsed());
    // Long enough for attempts to connect to be given up too.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.resume();
    let took = until_found(&store, key(1), "x").await;
    assert!(took < RECOVERY, "{took:?}");
}

#[tokio::test]
async fn answers_that_come_too_late_go_to_nobody() {
    let server = RedisServer::start();
    let store = store(&server);
    let entries = (0..20).map(|n| (key(n), whole(&n.to_string()))).collect();
    store.put(entries).await.unwrap();
    for round in 0..10 {
        server.pause();
        for n in 0..2 {
            assert!(cut(store.get(key(n))).await.is_none());
        }
        server.resume();
        for n in 2..20 {
            let found = store.get(key(n)).await.unwrap();
            assert_eq!(text(&found), Some(&*n.to_string()), "round {round}");
        }
    }
}

#[tokio::test]
async fn calls_given_up_at_any_moment_leave_the_answers_of_the_others_alone() {
    let server = RedisServer::start();
    let store = Arc::new(store(&server));
    let long = "y".repeat(10_000);
    let entries = (0..50).map(|n| (key(n), whole(&format!("{n}{long}")))).collect();
    store.put(entries).await.unwrap();
    // Every other call is given up after so many turns of the others.
    let patience = async |turns: u64| {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    let (mut answered, mut given_up) = (0, 0);
    for round in 0..40_u64 {
        let calls = (0..50_u8).map(|n| {
            let turns = if n % 2 == 0 { round % 8 } else { u64::MAX };
            let store = store.clone();
            async move {
                tokio::select! {
                    biased;
                    found = store.get(key(n)) => Some((n, found.unwrap())),
                    () = patience(turns) => None,
                }
            }
        });
        for answer in futures_util::future::join_all(calls).await {
            match answer {
                Some((n, found)) => {
                    answered += 1;
                    assert_eq!(text(&found), Some(&*format!("{n}{long}")), "round {round}");
                }
                None => given_up += 1,
            }
        }
    }
    assert!(answered >= 1000 && given_up > 100, "{answered} {given_up}");
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_is_read_on() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(vec![(key(1), whole("kept"))]).await.unwrap();
    let marks = vec![(tag("a"), 5)];
    store.exchange(marks.clone()).await.unwrap();
    server.fill();
    let error = store.put(vec![(key(2), whole("x"))]).await.unwrap_err();
    assert!(error.problem.contains("memory is full") && error.problem.contains("allkeys-lru"), "{error}");
    assert!(store.exchange(vec![(tag("b"), 6)]).await.is_err());
    assert_eq!(text(&store.get(key(1)).await.unwrap()), Some("kept")); // CA6
    assert_eq!(store.exchange(Vec::new()).await.unwrap(), marks);
    server.say(&["CONFIG", "SET", "maxmemory", "0"]);
    store.put(vec![(key(2), whole("x"))]).await.unwrap();
    assert_eq!(store.exchange(vec![(tag("b"), 6)]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_caller_without_a_deadline_is_not_kept_either() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(vec![(key(1), whole("x"))]).await.unwrap();
    server.pause();
    let started = Instant::now();
    let error = store.get(key(1)).await.unwrap_err();
    assert!(error.problem.contains("no answer within"), "{error}");
    assert!(started.elapsed() < 2 * RECOVERY);
}

#[tokio::test]
async fn a_store_that_is_dropped_leaves_no_connection_behind() {
    let server = RedisServer::start();
    // The one who asks is a client too.
    let others = || server.say(&["CLIENT", "LIST"]).matches(" laddr=").count() - 1;
    let store = store(&server);
    store.fill().await.unwrap();
    assert_eq!(others(), 1);
    drop(store);
    let started = Instant::now();
    while others() > 0 {
        assert!(started.elapsed() < RECOVERY, "it stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_store_outlives_the_runtime_that_it_was_first_used_on() {
    let server = RedisServer::start();
    let store = store(&server);
    let run = |store: &RedisCache| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(until_found(store, key(1), "x"))
    };
    run(&store);
    assert!(run(&store) < RECOVERY);
}
