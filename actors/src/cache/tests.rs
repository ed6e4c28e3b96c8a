//! The tiers together, over stores that fail when they are told to, on virtual time.

use std::{sync::Arc, time::Duration};

use super::{
    control::{CacheControl, CachePolicy, Level},
    entry::{Entry, Freshness, Kept},
    key::Scope,
    marks::Purge,
    tier::TierPlan,
    *,
};
use crate::{
    call::Request,
    clock::SystemClock,
    mode::Mode,
    ports::Clock,
    system::{Supervised, SystemBuilder},
    testing::{
        VirtualClock, settle,
        store::{FakeStore, PlainRules, Weather},
    },
};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const ANY: CacheControl = CacheControl {
    tenant: None,
    namespace: None,
    tags: Vec::new(),
    levels: None,
    ttl: None,
    no_cache: false,
    no_store: false,
    max_age: None,
    stale_if_error: None,
    only_if_cached: false,
};

/// A process with a cache of its own over a disk of its own and a store that it shares.
pub(super) struct Process {
    pub(super) tree: Supervised,
    pub(super) disk: Arc<FakeStore>,
}

impl Process {
    async fn start(memory: Option<u64>, shared: &Arc<FakeStore>) -> Self {
        Self::over(memory, Arc::default(), shared).await
    }

    async fn over(memory: Option<u64>, disk: Arc<FakeStore>, shared: &Arc<FakeStore>) -> Self {
        Self::at(VirtualClock::start(), memory, disk, shared).await
    }

    pub(super) async fn at(
        clock: VirtualClock,
        memory: Option<u64>,
        disk: Arc<FakeStore>,
        shared: &Arc<FakeStore>,
    ) -> Self {
        let mut system = SystemBuilder::new(Arc::new(clock), 1, 1);
        let tiers = vec![TierPlan::disk(disk.clone()), TierPlan::redis(shared.clone())];
        let rules = Arc::new(PlainRules);
        system.cache(CachePlan { policy: CachePolicy::default(), rules, memory, tiers }).unwrap();
        Self { tree: system.start(|_| Ok(Vec::new())).await.unwrap(), disk }
    }

    pub(super) fn cache(&self) -> &Cache {
        self.tree.system().cache().unwrap()
    }

    async fn find(&self, what: &'static str) -> Option<(Level, String)> {
        self.held(what, &ANY).await.map(|held| (held.level, text(&held.entry)))
    }

    pub(super) async fn held(&self, what: &'static str, control: &CacheControl) -> Option<Held> {
        let question = self.cache().question(&question(what, control), "a/m").unwrap();
        self.cache().find(&question, control).await
    }

    pub(super) fn key(&self, what: &'static str, control: &CacheControl) -> key::Key {
        self.cache().question(&question(what, control), "a/m").unwrap().key
    }

    fn keep(&self, what: &'static str, answer: &str) {
        self.keep_for(what, answer, &ANY);
    }

    pub(super) fn keep_for(&self, what: &'static str, answer: &str, control: &CacheControl) {
        let question = self.cache().question(&question(what, control), "a/m").unwrap();
        let entry = entry(self.cache(), &question, answer, control);
        self.cache().keep(&question, entry);
    }

    fn mode(&self) -> Mode {
        self.tree.system().mode().now()
    }
}

fn now() -> std::time::Instant {
    SystemClock.now()
}

fn question(what: &'static str, control: &CacheControl) -> Request {
    Request { cache: control.clone(), ..Request::new(what.into(), 0..0, false) }
}

fn entry(cache: &Cache, question: &Question, answer: &str, control: &CacheControl) -> Entry {
    let answer = Kept::Whole(answer.to_string().into());
    Entry {
        scope: question.scope.clone(),
        tags: control.tags.clone(),
        begun: question.begun,
        windows: cache.windows(control),
        answer,
        ..Entry::clone(&testing::entry(0))
    }
}

pub(super) fn text(entry: &Entry) -> String {
    match &entry.answer {
        Kept::Whole(body) => String::from_utf8(body.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn some(level: Level, answer: &str) -> Option<(Level, String)> {
    Some((level, answer.into()))
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_to_every_tier_and_comes_back_up_with_its_instants() {
    let shared = Arc::default();
    let one = Process::start(Some(1 << 20), &shared).await;
    one.keep("q", "a");
    settle().await;
    assert_eq!(one.find("q").await, some(Level::Memory, "a"));
    let windows = one.held("q", &ANY).await.unwrap().entry.windows;
    let other = Process::start(Some(1 << 20), &shared).await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(other.find("q").await, some(Level::Redis, "a")); // CA11
    settle().await;
    assert_eq!(other.disk.rows().len(), 1);
    let promoted = other.held("q", &ANY).await.unwrap();
    assert_eq!((promoted.level, promoted.entry.windows), (Level::Memory, windows)); // CA1
}

#[tokio::test(start_paused = true)]
async fn callers_choose_their_tiers() {
    let shared: Arc<FakeStore> = Arc::default();
    let process = Process::start(Some(1 << 20), &shared).await;
    let only_disk = CacheControl { levels: Some([Level::Disk].into_iter().collect()), ..ANY };
    process.keep_for("q", "a", &only_disk);
    settle().await;
    assert!(shared.rows().is_empty());
    let found = process.held("q", &only_disk).await.unwrap();
    assert_eq!(found.level, Level::Disk); // CA13
    let only_memory = CacheControl { levels: Some([Level::Memory].into_iter().collect()), ..ANY };
    assert!(process.held("q", &only_memory).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hung_tier_costs_one_wait_and_then_nothing_and_comes_back_by_itself() {
    let shared: Arc<FakeStore> = Arc::default();
    let process = Process::start(None, &shared).await;
    process.keep("q", "a");
    settle().await;
    process.disk.rows().clear();
    shared.turn(Weather::Hung);
    let started = now();
    assert_eq!(process.find("q").await, None);
    assert_eq!(now() - started, Duration::from_millis(50)); // CA6
    settle().await;
    let (started, asked) = (now(), shared.asked());
    for _ in 0..1000 {
        assert_eq!(process.find("q").await, None);
    }
    assert_eq!((now() - started, shared.asked()), (Duration::ZERO, asked)); // CA6
    assert_eq!(process.mode(), Mode::Degraded);
    let status = &process.cache().status().tiers[1];
    assert!(!status.up && status.trouble.as_ref().unwrap().contains("50 ms"));
    tokio::time::sleep(20 * SECOND).await;
    shared.turn(Weather::Fine);
    tokio::time::sleep(7 * SECOND).await;
    assert_eq!(process.find("q").await, some(Level::Redis, "a"));
    tokio::time::sleep(300 * SECOND).await;
    assert_eq!(process.mode(), Mode::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_succeeds_after_its_tier_was_left_out_does_not_keep_it_out() {
    let shared: Arc<FakeStore> = Arc::default();
    let process = Process::start(None, &shared).await;
    process.keep("q", "a");
    settle().await;
    process.disk.rows().clear();
    shared.turn(Weather::Slow);
    process.keep("other", "b");
    settle().await;
    assert_eq!(process.find("q").await, None);
    settle().await;
    assert!(!process.cache().status().tiers[1].up);
    tokio::time::sleep(SECOND).await;
    shared.turn(Weather::Fine);
    tokio::time::sleep(7 * SECOND).await;
    assert_eq!(process.find("q").await, some(Level::Redis, "a")); // CA6
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_panics_or_corrupts_is_a_miss() {
    for weather in [Weather::Failing, Weather::Panicking, Weather::Corrupting] {
        let shared: Arc<FakeStore> = Arc::default();
        let process = Process::start(None, &shared).await;
        process.keep("q", "a");
        settle().await;
        process.disk.rows().clear();
        shared.turn(weather);
        for _ in 0..10 {
            assert_eq!(process.find("q").await, None, "{weather:?}"); // CA6
            settle().await;
        }
        let counts = process.cache().status().tiers[1].counts.clone();
        if weather == Weather::Corrupting {
            assert_eq!(counts["corrupt"], 10); // CA10
        } else {
            assert!(counts["errors"] >= 3 && counts["skipped"] >= 6, "{counts:?}");
        }
        process.keep("r", "b");
        shared.turn(Weather::Fine);
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(process.find("q").await, some(Level::Redis, "a"), "{weather:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_shared_store_takes_no_second() {
    let shared: Arc<FakeStore> = Arc::default();
    shared.turn(Weather::Hung);
    let started = now();
    let process = Process::start(Some(1 << 20), &shared).await;
    assert!((now() - started) < SECOND, "{:?}", now() - started);
    process.keep("q", "a");
    assert_eq!(process.find("q").await, some(Level::Memory, "a"));
}

#[tokio::test(start_paused = true)]
async fn a_purge_holds_at_once_everywhere_also_for_what_is_still_being_made() {
    let shared = Arc::default();
    let process = Process::start(Some(1 << 20), &shared).await;
    process.keep("old", "a");
    settle().await;
    let late = process.cache().question(&question("late", &ANY), "a/m").unwrap();
    let purged = process.cache().purge(Purge::Namespace(Scope::default())).await;
    assert_eq!((purged.kept_by.len(), purged.pending.len()), (3, 0));
    let entry = entry(process.cache(), &late, "late", &ANY);
    process.cache().keep(&late, entry);
    settle().await;
    assert_eq!((process.find("old").await, process.find("late").await), (None, None)); // CA3
    process.keep("new", "b");
    assert_eq!(process.find("new").await, some(Level::Memory, "b"));
}

#[tokio::test(start_paused = true)]
async fn a_purge_reaches_other_processes_within_a_second() {
    let shared = Arc::default();
    let one = Process::start(Some(1 << 20), &shared).await;
    let other = Process::start(Some(1 << 20), &shared).await;
    let tagged = CacheControl { tags: vec!["v1".into()], ..ANY };
    one.keep_for("q", "a", &tagged);
    settle().await;
    assert_eq!(other.find("q").await, some(Level::Redis, "a"));
    one.cache().purge(Purge::Tag { tenant: "".into(), tag: "v1".into() }).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(other.find("q").await, None); // CA11
}

#[tokio::test(start_paused = true)]
async fn a_purge_during_an_outage_holds_when_the_tier_returns() {
    let shared: Arc<FakeStore> = Arc::default();
    let one = Process::start(Some(1 << 20), &shared).await;
    one.keep("q", "a");
    settle().await;
    shared.turn(Weather::Failing);
    tokio::time::sleep(2 * SECOND).await;
    let purged = one.cache().purge(Purge::All).await;
    assert_eq!((purged.kept_by, purged.pending), (vec![Level::Memory, Level::Disk], vec![Level::Redis]));
    // The other one was purged by somebody else meanwhile, and holds both purges when it is asked again.
    let other = Process::start(Some(1 << 20), &shared).await;
    shared.turn(Weather::Fine);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!((one.find("q").await, other.find("q").await), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_purge_outlives_the_process() {
    let (disk, shared) = (Arc::<FakeStore>::default(), Arc::default());
    let process = Process::over(Some(1 << 20), disk.clone(), &shared).await;
    process.keep("q", "a");
    settle().await;
    process.cache().purge(Purge::All).await;
    assert!(process.tree.shutdown(SECOND).await.is_clean());
    let next = Process::over(Some(1 << 20), disk, &Arc::default()).await;
    assert_eq!(next.find("q").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_tier_goes_on_where_its_actor_crashed() {
    let shared: Arc<FakeStore> = Arc::default();
    let process = Process::start(Some(1 << 20), &shared).await;
    for level in Level::ALL {
        process.cache().tier(level).unwrap().actor().unwrap().crash();
    }
    process.keep("lost", "x");
    settle().await;
    assert_eq!(process.find("lost").await, some(Level::Memory, "x"));
    tokio::time::sleep(SECOND).await;
    process.keep("q", "a");
    settle().await;
    assert!(shared.rows().len() == 1 && process.disk.rows().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_tier_whose_actor_is_between_two_lives_is_not_asked() {
    let shared: Arc<FakeStore> = Arc::default();
    let process = Process::start(None, &shared).await;
    shared.turn(Weather::Hung);
    process.cache().tier(Level::Redis).unwrap().actor().unwrap().crash();
    settle().await;
    for _ in 0..10 {
        let (started, asked) = (now(), shared.asked());
        assert_eq!(process.find("q").await, None);
        assert_eq!((now() - started, shared.asked()), (Duration::ZERO, asked)); // CA6
        tokio::time::sleep(SECOND).await;
    }
    shared.turn(Weather::Fine);
    tokio::time::sleep(10 * SECOND).await;
    assert!(process.cache().status().tiers[1].up);
}

#[tokio::test(start_paused = true)]
async fn an_older_copy_never_hides_a_fresher_one_below_it() {
    let shared = Arc::default();
    let (one, other) =
        (Process::start(Some(1 << 20), &shared).await, Process::start(Some(1 << 20), &shared).await);
    let short = CacheControl { ttl: Some(SECOND), ..ANY };
    one.keep_for("q", "old", &short);
    settle().await;
    tokio::time::sleep(2 * SECOND).await;
    other.keep("q", "new");
    settle().await;
    let held = one.held("q", &ANY).await.unwrap();
    assert_eq!((text(&held.entry), held.freshness), ("new".into(), Freshness::Fresh));
    assert_eq!(one.find("q").await, some(Level::Memory, "new"));
}

#[tokio::test(start_paused = true)]
async fn tenants_and_namespaces_never_meet() {
    let shared = Arc::default();
    let process = Process::start(Some(1 << 20), &shared).await;
    let of = |tenant: &str, namespace: &str| CacheControl {
        tenant: Some(tenant.into()),
        namespace: Some(namespace.into()),
        ..ANY
    };
    process.keep_for("q", "a", &of("one", "n"));
    settle().await;
    assert!(process.held("q", &of("one", "n")).await.is_some());
    for (tenant, namespace) in [("two", "n"), ("one", "m"), ("", "n"), ("onen", "")] {
        assert!(process.held("q", &of(tenant, namespace)).await.is_none(), "{tenant} {namespace}"); // CA4
    }
}

#[tokio::test(start_paused = true)]
async fn falsy_answers_are_hits() {
    let shared = Arc::default();
    let process = Process::start(Some(1 << 20), &shared).await;
    for (what, answer) in
        [("q0", "null"), ("q1", "\"\""), ("q2", "0"), ("q3", "false"), ("q4", "[]"), ("q5", "")]
    {
        process.keep(what, answer);
        assert_eq!(process.find(what).await, some(Level::Memory, answer)); // CA2
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_taken_out_of_every_tier() {
    let shared: Arc<FakeStore> = Arc::default();
    let process = Process::start(Some(1 << 20), &shared).await;
    process.keep_for("q", "a", &CacheControl { ttl: Some(SECOND), stale_if_error: Some(SECOND), ..ANY });
    settle().await;
    tokio::time::sleep(700 * SECOND).await;
    assert_eq!(process.find("q").await, None);
    let status = process.cache().status();
    for tier in status.tiers {
        assert_eq!((tier.entries, tier.counts["expiries"]), (0, 1), "{tier:?}"); // CA12
    }
}
