//! The tiers below the memory in earnest: a real Redis that dies, hangs, fills up and comes back under load, gateways
//! that share it, and a disk that outlives the process.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use mainstay::{Mode, providers::scripted::Scripted};
use serde_json::{Value, json};

use crate::{
    process::{Folder, Process},
    redis::RedisServer,
    support::{Answer, Keeps, Speaks, World, answered, http, scripted, until},
};

/// No tier but the Redis, so that every call has to do with it.
const ALONE: &str = "[cache]\nmemory = false\n[cache.redis]\nurl_env = \"REDIS_URL\"\n";

/// How long a caller waits for a tier below the memory.
const DEADLINE: Duration = Duration::from_millis(50);

/// How long after an answer it may be lost to a kill: a commit waits half a second for company.
const COMMITTED: Duration = Duration::from_secs(2);

/// What a busy machine may take for itself.
const SLACK: Duration = Duration::from_millis(250);

fn question(prompt: &str) -> String {
    let messages = json!([{"role": "user", "content": prompt}]);
    json!({"model": "chat", "temperature": 0, "messages": messages}).to_string()
}

async fn ask(http: &reqwest::Client, url: &str, prompt: &str) -> Answer {
    answered(http.post(format!("{url}/v1/chat/completions")).body(question(prompt))).await
}

fn is_hit(answer: &Answer, level: &str) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    let status = answer.header("cache-status");
    status.starts_with("mainstay; hit;") && status.ends_with(&format!("detail={level}"))
}

/// Clients that go on asking, half of it what was asked before.
#[derive(Default)]
struct Load {
    done: AtomicBool,
    asked: AtomicU64,
    failed: AtomicU64,
    /// The longest that a call took since it was looked at last, in microseconds.
    slowest: AtomicU64,
}

impl Load {
    async fn client(&self, url: &str, name: usize) {
        let http = http();
        let mut round = 0;
        while !self.done.load(Ordering::Relaxed) {
            round += 1;
            let prompt = if round % 2 == 0 { "known".into() } else { format!("{name} {round}") };
            let started = Instant::now();
            let sent = http.post(format!("{url}/v1/chat/completions")).body(question(&prompt)).send().await;
            let is_good = match sent {
                Ok(answer) => answer.status() == 200 && answer.bytes().await.is_ok(),
                Err(_) => false,
            };
            self.slowest.fetch_max(started.elapsed().as_micros() as u64, Ordering::Relaxed);
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.failed.fetch_add(u64::from(!is_good), Ordering::Relaxed);
        }
    }

    fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.swap(0, Ordering::Relaxed))
    }

    /// The slowest of the next so many calls.
    async fn slowest_of(&self, calls: u64) -> Duration {
        self.slowest();
        let until_then = self.asked.load(Ordering::Relaxed) + calls;
        until("they go on asking", async || self.asked.load(Ordering::Relaxed) >= until_then).await;
        self.slowest()
    }
}

async fn tier(world: &World) -> Value {
    world.see("/admin/cache").await.json()["tiers"][0].clone()
}

async fn is_left_out(world: &World) {
    world.until_mode(Mode::Degraded).await;
    let answer = ask(&http(), &world.url, "known").await;
    let notice = answer.header("x-mainstay-notice");
    assert!(notice.contains("DEGRADED: the redis cache is left out and tried again by itself"), "{answer:?}"); // CA6
    let tier = tier(world).await;
    assert!(tier["up"] == false && tier["trouble"].is_string(), "{tier}");
}

async fn is_back(world: &World) {
    world.until_mode(Mode::Normal).await;
    let http = http();
    until("it keeps answers again", async || is_hit(&ask(&http, &world.url, "known").await, "redis")).await; // CA6
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_and_none_waits_long_while_redis_hangs_dies_fills_up_and_comes_back() {
    let mut redis = RedisServer::start();
    let keeps = Keeps { section: ALONE, redis_url: &redis.url() };
    let world = World::keeping(Speaks::OpenAi, keeps).await;
    let load = Load::default();
    let clients = join_all((0..8).map(|name| load.client(&world.url, name)));
    let story = async {
        is_back(&world).await;
        let usual = load.slowest_of(200).await;

        redis.pause();
        is_left_out(&world).await;
        let hung = load.slowest();
        let afterwards = load.slowest_of(200).await;
        assert!(hung <= usual + DEADLINE + SLACK, "{hung:?}, usually {usual:?}"); // CA6
        assert!(afterwards <= usual + SLACK, "{afterwards:?}, usually {usual:?}"); // CA6
        let waited = tier(&world).await["timeouts"].as_u64().unwrap();
        redis.resume();
        is_back(&world).await;

        redis.kill();
        is_left_out(&world).await;
        redis.restart();
        is_back(&world).await;

        redis.fill();
        is_left_out(&world).await;
        redis.say(&["CONFIG", "SET", "maxmemory", "0"]);
        is_back(&world).await;
        load.done.store(true, Ordering::Relaxed);
        (usual, hung, afterwards, waited)
    };
    let (_, (usual, hung, afterwards, waited)) = tokio::join!(clients, story);
    let (asked, failed) = (load.asked.into_inner(), load.failed.into_inner());
    println!(
        "{asked} calls, {failed} failed; slowest {usual:?}, hung {hung:?} ({waited} waited), then {afterwards:?}"
    );
    assert!(failed == 0 && asked > 500, "{failed} of {asked}"); // CA6
}

/// A gateway process over one scripted provider, with its own configuration.
fn gateway(name: &str, provider: &Scripted, cache: &str, redis_url: &str, more: &[&str]) -> Process {
    let folder = Folder::new(name);
    let base_url = provider.base_url();
    let text = format!(
        "[provider.a]\nkind = \"openai\"\nbase_url = \"{base_url}\"\n[chain.chat]\ntargets = [\"a/m\"]\n{cache}"
    );
    folder.write("mainstay.toml", &text);
    let args = [&["--listen", "127.0.0.1:0", "--config", "mainstay.toml"], more].concat();
    Process::start_with(folder, &args, &[("REDIS_URL", redis_url)])
}

#[tokio::test]
async fn two_gateways_share_a_redis_and_each_other_s_purges() {
    let (redis, provider, http) = (RedisServer::start(), scripted("a").await, http());
    let cache = "[cache.redis]\nurl_env = \"REDIS_URL\"\n";
    let one = gateway("shares-one", &provider, cache, &redis.url(), &[]);
    let other = gateway("shares-other", &provider, cache, &redis.url(), &[]);
    let first = ask(&http, &one.url, "hi").await;
    until("it is shared", async || redis.say(&["DBSIZE"]) != ":0\r\n").await;
    let asked = provider.requests();
    let shared = ask(&http, &other.url, "hi").await;
    assert!(is_hit(&shared, "redis") && shared.text == first.text, "{shared:?}"); // CA11
    assert!(is_hit(&ask(&http, &other.url, "hi").await, "memory"), "it was copied up");
    assert_eq!(provider.requests(), asked);
    let order = http.post(format!("{}/admin/cache/purge", one.admin)).body(r#"{"namespace": "default"}"#);
    let purged = answered(order).await;
    assert_eq!(purged.json()["kept_by"], json!(["memory", "disk", "redis"]), "{purged:?}");
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let anew = ask(&http, &other.url, "hi").await;
    assert_eq!(anew.header("cache-status"), "mainstay; fwd=miss", "after {:?}", started.elapsed()); // CA11
}

#[tokio::test]
async fn what_is_on_disk_outlives_the_process_however_it_ends() {
    let (provider, http) = (scripted("a").await, http());
    let data = Folder::new("outlives-data");
    let dir = data.path("kept");
    let dir = dir.to_str().unwrap();
    for (signal, prompt) in [("TERM", "one"), ("KILL", "two")] {
        let mut process = gateway("outlives", &provider, "", "", &["--data-dir", dir]);
        let first = ask(&http, &process.url, prompt).await;
        if signal == "KILL" {
            tokio::time::sleep(COMMITTED).await;
        }
        process.signal(signal);
        process.ended().await;
        drop(process);
        let asked = provider.requests();
        let process = gateway("outlives", &provider, "", "", &["--data-dir", dir]);
        let again = ask(&http, &process.url, prompt).await;
        assert!(is_hit(&again, "disk") && again.text == first.text, "{signal}: {again:?}"); // CA11
        assert_eq!(provider.requests(), asked);
        let order = http.post(format!("{}/admin/cache/purge", process.admin)).body(r#"{"all": true}"#);
        assert_eq!(answered(order).await.json()["kept_by"], json!(["memory", "disk"]));
        process.signal("KILL");
        drop(process);
        let process = gateway("outlives", &provider, "", "", &["--data-dir", dir]);
        let purged = ask(&http, &process.url, prompt).await;
        assert_eq!(purged.header("cache-status"), "mainstay; fwd=miss", "{signal}: a purge outlives it too"); // CA3
    }
}
