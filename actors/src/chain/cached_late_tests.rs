//! Calls over a cache while time passes and purges come: what was good when it was found may not be any more.

use std::time::Duration;

use futures_util::{StreamExt, future::join};

use super::*;
use crate::{
    cache::{CachePlan, CacheStory, control::CachePolicy, marks::Purge, tier::TierPlan},
    clock::SystemClock,
    error::ErrorKind,
    ports::Clock,
    provider::policy::ProviderPolicy,
    system::{Supervised, SystemBuilder},
    testing::{
        Act, FakeProvider, VirtualClock, request, settle,
        store::{FakeStore, PlainRules, Weather},
    },
};

const SECOND: Duration = Duration::from_secs(1);

struct Cached {
    tree: Supervised,
    fake: Arc<FakeProvider>,
    disk: Arc<FakeStore>,
}

impl Cached {
    async fn start() -> Self {
        let mut system = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
        let disk: Arc<FakeStore> = Arc::default();
        let (rules, tiers) = (Arc::new(PlainRules), vec![TierPlan::disk(disk.clone())]);
        let (policy, memory) = (CachePolicy::default(), Some(1 << 20));
        system.cache(CachePlan { policy, rules, memory, tiers }).unwrap();
        let fake = Arc::new(FakeProvider::default());
        system.provider("a", fake.clone(), ProviderPolicy::NONE).unwrap();
        let once = ChainPolicy { retries: 0, ..ChainPolicy::default() };
        system.chain("chat", [("a", "m")], once).unwrap();
        Self { tree: system.start(|_| Ok(Vec::new())).await.unwrap(), fake, disk }
    }

    async fn call(&self, timeout: Duration) -> Result<Reply, CallError> {
        self.chat().call(request().timeout(timeout)).await
    }

    async fn stream(&self, timeout: Duration) -> Result<ReplyStream, CallError> {
        self.chat().stream(request().timeout(timeout)).await
    }

    fn chat(&self) -> Arc<Chain> {
        self.tree.system().chain("chat").unwrap()
    }

    async fn purge(&self) {
        self.tree.system().cache().unwrap().purge(Purge::All).await;
    }
}

fn now() -> std::time::Instant {
    SystemClock.now()
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_flight_that_was_begun_before_a_purge() {
    let cached = Cached::start().await;
    cached.fake.takes(5 * SECOND, Duration::ZERO);
    let late = async {
        settle().await;
        cached.purge().await;
        cached.call(60 * SECOND).await
    };
    let (early, late) = join(cached.call(60 * SECOND), late).await;
    assert!(early.is_ok());
    let late = late.unwrap().story.cache.unwrap();
    assert!(matches!(late, CacheStory::Missed { joined: false, .. }), "{late:?}"); // CA3
    assert_eq!(cached.fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_stream_that_was_begun_before_a_purge() {
    let cached = Cached::start().await;
    cached.fake.takes(Duration::ZERO, SECOND);
    let first = cached.stream(60 * SECOND).await.unwrap();
    cached.purge().await;
    let asked = now();
    let second = cached.stream(60 * SECOND).await.unwrap();
    assert!(now() - asked <= 2 * SECOND && !second.story.cache.unwrap().is_kept()); // CA3
    assert_eq!(first.count().await, 6);
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_that_is_over_or_purged_when_the_providers_gave_up_is_not_given() {
    for purges in [false, true] {
        let cached = Cached::start().await;
        cached.call(SECOND).await.unwrap();
        let age = if purges { 5 * 3600 } else { 25 * 3600 - 2 };
        tokio::time::sleep(age * SECOND).await;
        cached.fake.set(Act::Fail(ErrorKind::ServerError));
        cached.fake.takes(3 * SECOND, Duration::ZERO);
        let purge = async {
            settle().await;
            if purges {
                cached.purge().await;
            }
        };
        let (reply, ()) = join(cached.call(60 * SECOND), purge).await;
        assert_eq!(reply.unwrap_err().kind, ErrorKind::ServerError, "{purges}"); // CA3
    }
}

#[tokio::test(start_paused = true)]
async fn looking_and_waiting_is_part_of_the_callers_time() {
    let cached = Cached::start().await;
    cached.fake.set(Act::Hang);
    cached.disk.turn(Weather::Hung);
    for (no_cache, timeout) in [(false, 1000), (true, 1000), (false, 20)] {
        let (asked, timeout) = (now(), Duration::from_millis(timeout));
        let mut request = request().timeout(timeout);
        request.cache.no_cache = no_cache;
        assert_eq!(cached.chat().call(request).await.unwrap_err().kind, ErrorKind::DeadlineExceeded);
        assert_eq!(now() - asked, timeout); // CA6
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waited_for_another_one_still_ends_by_its_deadline() {
    let cached = Cached::start().await;
    cached.fake.takes(Duration::ZERO, 4 * SECOND);
    let first = cached.stream(300 * SECOND).await.unwrap();
    let writing = async move { drop(first.take(3).collect::<Vec<_>>().await) };
    let waiting = async {
        let asked = now();
        let mut stream = cached.stream(20 * SECOND).await.unwrap();
        while stream.next().await.is_some_and(|frame| frame.is_ok()) {}
        now() - asked
    };
    let ((), took) = join(writing, waiting).await;
    assert_eq!(took, 20 * SECOND);
}
