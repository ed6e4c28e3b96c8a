//! Others write into the server.

use super::*;

/// Writes as somebody who may, whatever the bytes.
async fn plant(store: &RedisCache, command: &str, name: &str, rest: &[&[u8]]) {
    let mut commands = pipe();
    commands.cmd(command).arg(name);
    rest.iter().for_each(|part| _ = commands.arg(*part));
    store.link.done(&commands).await.unwrap();
}

/// It was rejected, and is gone.
async fn assert_rejected(store: &RedisCache, server: &RedisServer, n: u8, what: &str) {
    let found = store.get(key(n)).await.unwrap();
    assert!(matches!(found, Found::Corrupt), "{what}: {found:?}"); // SE9
    assert_eq!(server.say(&["EXISTS", &store.name(&key(n))]), ":0\r\n", "{what}");
}

#[tokio::test]
async fn a_row_with_any_byte_flipped_is_rejected() {
    let server = RedisServer::start();
    let store = store(&server);
    let row = row::seal(&key(1), &whole("the answer"), &store.secret).unwrap();
    for at in 0..row.len() {
        let mut flipped = row.clone();
        flipped[at] ^= 1 << (at % 8);
        plant(&store, "SET", &store.name(&key(1)), &[&flipped]).await;
        let found = store.get(key(1)).await.unwrap();
        assert!(matches!(found, Found::Corrupt), "{at}: {found:?}"); // SE9
    }
    plant(&store, "SET", &store.name(&key(1)), &[&row]).await;
    assert_eq!(text(&store.get(key(1)).await.unwrap()), Some("the answer"));
}

#[tokio::test]
async fn what_others_put_there_is_rejected_and_taken_out() {
    let server = RedisServer::start();
    let store = store(&server);
    let name = store.name(&key(1));
    let row = |secret| row::seal(&key(1), &whole("x"), secret).unwrap();
    let moved = row::seal(&key(2), &whole("x"), &store.secret).unwrap();
    let cut = &row(&store.secret)[..40];
    let unkeyed = blake3::derive_key("mainstay redis cache 1: rows", b"");
    let values: [(&str, &[u8]); 5] = [
        ("text", b"an answer, honestly"),
        ("another key's row", &moved),
        ("half a row", cut),
        ("a row made with another secret", &row(&[9; 32])),
        ("a row made without a secret", &row(&unkeyed)),
    ];
    for (what, value) in values {
        plant(&store, "SET", &name, &[value]).await;
        assert_rejected(&store, &server, 1, what).await;
    }
    plant(&store, "RPUSH", &name, &[b"a list"]).await;
    assert_rejected(&store, &server, 1, "a list").await;
    server.say(&["SETRANGE", &name, "100000000", "x"]);
    assert_rejected(&store, &server, 1, "100 MB").await;
}

#[tokio::test]
async fn a_planted_mark_purges_nothing_and_hides_no_true_one() {
    let server = RedisServer::start();
    let (store, other) = (store(&server), store(&server));
    let hash = format!("{}marks", store.prefix);
    let true_mark = vec![(tag("a"), 7)];
    store.exchange(true_mark.clone()).await.unwrap();
    let field = serde_json::to_string(&tag("a")).unwrap();
    let later = format!("{:020}{}", u64::MAX, "0".repeat(64));
    for value in [&*later, "short", &later[..84 - 1], &"z".repeat(84)] {
        plant(&store, "HSET", &hash, &[field.as_bytes(), value.as_bytes(), b"\"all\"", later.as_bytes()])
            .await;
        plant(&store, "HSET", &hash, &[b"version", value.as_bytes(), b"\xff", b"\xff"]).await;
        assert_eq!(store.exchange(Vec::new()).await.unwrap(), true_mark, "{value}"); // SE9
        assert_eq!(self::store(&server).exchange(Vec::new()).await.unwrap(), true_mark, "{value}");
        assert_eq!(other.exchange(Vec::new()).await.unwrap(), true_mark, "{value}");
    }
}

#[tokio::test]
async fn a_hash_that_others_blew_up_is_thrown_away_and_the_marks_are_written_again() {
    let server = RedisServer::start();
    let store = store(&server);
    let hash = format!("{}marks", store.prefix);
    let marks = vec![(tag("a"), 7), (tag("b"), 8)];
    store.exchange(marks.clone()).await.unwrap();
    let script = "for i = 1, 40000 do redis.call('HSET', KEYS[1], i, string.rep('x', 900)) end";
    server.say(&["EVAL", script, "1", &hash]);
    let large = "redis.call('HSET', KEYS[1], 'version', string.rep('x', 2e6), string.rep('x', 2e6), 1)";
    assert_eq!(store.exchange(Vec::new()).await.unwrap(), marks);
    server.say(&["EVAL", large, "1", &hash]);
    assert_eq!(store.exchange(Vec::new()).await.unwrap(), marks);
    assert_eq!(self::store(&server).exchange(Vec::new()).await.unwrap(), marks);
    server.say(&["DEL", &hash]);
    server.say(&["SET", &hash, "no hash"]);
    assert_eq!(store.exchange(Vec::new()).await.unwrap(), marks);
    assert_eq!(self::store(&server).exchange(Vec::new()).await.unwrap(), marks);
}
