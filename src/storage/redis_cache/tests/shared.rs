//! Marks that several processes tell each other.

use super::*;

/// How often a command was run, as the server counts.
fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.say(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_purge_reaches_the_other_process_with_its_next_look() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    assert_eq!(other.exchange(Vec::new()).await.unwrap(), []);
    one.exchange(vec![(tag("a"), 5), (Purge::Key(key(1)), 6)]).await.unwrap();
    assert_eq!(other.exchange(Vec::new()).await.unwrap(), [(tag("a"), 5), (Purge::Key(key(1)), 6)]); // CA11
    assert_eq!(other.exchange(vec![(tag("b"), 9)]).await.unwrap().len(), 3);
    assert_eq!(one.exchange(Vec::new()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn of_two_marks_the_later_one_stays_whoever_comes_first() {
    let server = RedisServer::start();
    for (name, first, second) in [("a", 5, 90), ("b", 90, 5), ("c", 90, 90), ("d", 90, u64::MAX)] {
        store(&server).exchange(vec![(tag(name), first)]).await.unwrap();
        let all = store(&server).exchange(vec![(tag(name), second)]).await.unwrap();
        assert!(all.contains(&(tag(name), first.max(second))), "{name}: {all:?}"); // CA3
    }
}

#[tokio::test]
async fn looking_for_news_costs_one_command_however_many_marks_there_are() {
    let server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    let marks: Vec<_> = (0..5000).map(|n| (tag(&n.to_string()), n)).collect();
    one.exchange(marks.clone()).await.unwrap();
    other.exchange(Vec::new()).await.unwrap();
    let before = (calls(&server, "eval"), calls(&server, "hgetall"), calls(&server, "hset"));
    for _ in 0..10 {
        assert_eq!(other.exchange(Vec::new()).await.unwrap().len(), 5000);
        // Who tells all it knows each time costs no more.
        assert_eq!(one.exchange(marks.clone()).await.unwrap().len(), 5000);
    }
    assert_eq!(
        (before.0 + 20, before.1, before.2),
        (calls(&server, "eval"), calls(&server, "hgetall"), calls(&server, "hset"))
    );
}

#[tokio::test]
async fn a_purge_of_everything_takes_the_place_of_all_before_it() {
    let server = RedisServer::start();
    let store = store(&server);
    store.exchange(vec![(tag("old"), 5), (tag("new"), 50)]).await.unwrap();
    store.exchange(vec![(Purge::All, 20)]).await.unwrap();
    let all = self::store(&server).exchange(Vec::new()).await.unwrap();
    assert_eq!(all, [(Purge::All, 20), (tag("new"), 50)]);
}

#[tokio::test]
async fn marks_beyond_the_bound_become_a_purge_of_everything_for_all() {
    let server = RedisServer::start();
    let store = store(&server);
    for first in (0..12_000_u64).step_by(3000) {
        store
            .exchange((first..first + 3000).map(|n| (tag(&n.to_string()), 100 + n)).collect())
            .await
            .unwrap();
    }
    let all = self::store(&server).exchange(Vec::new()).await.unwrap();
    assert!(all.len() <= 10_000, "{}", all.len());
    let everything = all.iter().find(|(what, _)| *what == Purge::All).expect("a purge of everything").1;
    for n in 0..12_000 {
        let is_hidden = 100 + n <= everything || all.binary_search(&(tag(&n.to_string()), 100 + n)).is_ok();
        assert!(is_hidden, "{n}"); // CA3
    }
}

#[tokio::test]
async fn marks_that_the_server_lost_are_written_again_by_whoever_knows_them() {
    let mut server = RedisServer::start();
    let (one, other) = (store(&server), store(&server));
    one.exchange(vec![(tag("a"), 5)]).await.unwrap();
    other.exchange(Vec::new()).await.unwrap();
    server.say(&["FLUSHALL"]);
    // Somebody who knows nothing writes first.
    store(&server).exchange(vec![(tag("b"), 6)]).await.unwrap();
    assert_eq!(other.exchange(Vec::new()).await.unwrap().len(), 2);
    assert_eq!(store(&server).exchange(Vec::new()).await.unwrap().len(), 2);
    server.restart();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.exchange(Vec::new()).await.unwrap().len(), 1);
    assert_eq!(other.exchange(Vec::new()).await.unwrap().len(), 2);
    assert_eq!(store(&server).exchange(Vec::new()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_mark_that_was_not_written_is_told_again() {
    let mut server = RedisServer::start();
    let store = store(&server);
    store.exchange(Vec::new()).await.unwrap();
    server.kill();
    assert!(store.exchange(vec![(tag("a"), 5)]).await.is_err());
    server.restart();
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.exchange(vec![(tag("a"), 5)]).await.unwrap();
    assert_eq!(self::store(&server).exchange(Vec::new()).await.unwrap(), [(tag("a"), 5)]);
}

#[tokio::test]
async fn a_name_too_long_to_share_is_refused_and_says_so() {
    let server = RedisServer::start();
    let error = store(&server).exchange(vec![(tag(&"x".repeat(2000)), 5)]).await.unwrap_err();
    assert!(error.problem.contains("use tags below"), "{error}");
}
