//! Calls over a cache: what is given without asking anybody, what is asked once for all, and what is never kept.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future::join_all};

use super::*;
use crate::{
    cache::{
        CachePlan, CacheStory, Lack,
        control::{CacheControl, CachePolicy, Level},
        marks::Purge,
        stats::Use,
    },
    call::{Finish, FrameKind},
    error::ErrorKind,
    ports::{Clock, NotKept},
    provider::policy::ProviderPolicy,
    system::{Supervised, SystemBuilder},
    testing::{Act, Broken, FakeProvider, VirtualClock, settle, store::PlainRules},
};

const SECOND: Duration = Duration::from_secs(1);
const ONCE: ChainPolicy = ChainPolicy {
    retries: 0,
    max_attempts: 4,
    backoff: crate::backoff::Backoff { min: SECOND, max: SECOND, jitter: crate::backoff::Jitter::Full },
};

struct Cached {
    tree: Supervised,
    fake: Arc<FakeProvider>,
}

impl Cached {
    async fn start() -> Self {
        Self::under(CachePolicy::default()).await
    }

    async fn under(policy: CachePolicy) -> Self {
        let mut system = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
        let (rules, memory) = (Arc::new(PlainRules), Some(1 << 20));
        system.cache(CachePlan { policy, rules, memory, tiers: Vec::new() }).unwrap();
        let fake = Arc::new(FakeProvider::default());
        system.provider("a", fake.clone(), ProviderPolicy::NONE).unwrap();
        system.chain("chat", [("a", "m")], ONCE).unwrap();
        Self { tree: system.start(|_| Ok(Vec::new())).await.unwrap(), fake }
    }

    fn chat(&self) -> Arc<Chain> {
        self.tree.system().chain("chat").unwrap()
    }

    async fn call(&self, what: &'static str) -> Result<Reply, CallError> {
        self.chat().call(asked(what, CacheControl::default())).await
    }

    async fn call_with(&self, what: &'static str, control: CacheControl) -> Result<Reply, CallError> {
        self.chat().call(asked(what, control)).await
    }

    async fn stream(&self, what: &'static str) -> Result<(CacheStory, Vec<(String, FrameKind)>), CallError> {
        let stream = self.chat().stream(asked(what, CacheControl::default())).await?;
        let story = stream.story.cache.clone().unwrap();
        let frames = stream.map(|frame| {
            let frame = frame.unwrap();
            (String::from_utf8(frame.bytes.to_vec()).unwrap(), frame.kind)
        });
        Ok((story, frames.collect().await))
    }

    fn savings(&self) -> crate::cache::stats::Savings {
        self.tree.system().cache().unwrap().status().namespaces[0].clone()
    }
}

fn asked(what: &'static str, cache: CacheControl) -> Request {
    Request { cache, ..Request::new(what.into(), 0..0, false) }
}

fn use_of(reply: &Reply) -> Use {
    match reply.story.cache.as_ref().unwrap() {
        CacheStory::Answered { how, .. } => *how,
        CacheStory::Missed { joined: true, .. } => Use::Joined,
        CacheStory::Missed { .. } => Use::Miss,
        CacheStory::Bypassed(why) => panic!("bypassed: {why:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_question_asks_nobody() {
    let cached = Cached::start().await;
    let first = cached.call("q").await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    let second = cached.call("q").await.unwrap();
    assert_eq!((use_of(&first), use_of(&second)), (Use::Miss, Use::Hit));
    assert_eq!((cached.fake.calls(), second.story.attempts()), (1, 0));
    assert_eq!((&second.body, &second.story.provider), (&first.body, &first.story.provider));
    let Some(CacheStory::Answered { level, age, fresh_for, .. }) = second.story.cache else { panic!() };
    assert_eq!((level, age, fresh_for), (Level::Memory, 10 * SECOND, 3590 * SECOND)); // CA13
    assert!((cached.savings().hit_ratio - 0.5).abs() < 1e-9); // CA12
}

#[tokio::test(start_paused = true)]
async fn a_thousand_equal_questions_at_once_ask_once_and_the_first_caller_s_leaving_changes_nothing() {
    let cached = Cached::start().await;
    cached.fake.takes(SECOND, Duration::ZERO);
    let chat = cached.chat();
    let mut first = Box::pin(chat.call(asked("q", CacheControl::default())));
    assert!((&mut first).now_or_never().is_none());
    let mut others = Box::pin(join_all((0..1000).map(|_| cached.call("q"))));
    assert!((&mut others).now_or_never().is_none());
    drop(first);
    let replies = others.await;
    assert!(replies.iter().all(|reply| use_of(reply.as_ref().unwrap()) == Use::Joined));
    assert_eq!(cached.fake.calls(), 1); // CA8
}

#[tokio::test(start_paused = true)]
async fn a_question_that_all_its_callers_left_is_asked_no_longer() {
    let cached = Cached::start().await;
    cached.fake.takes(SECOND, Duration::ZERO);
    let mut callers = Box::pin(join_all((0..10).map(|_| cached.call("q"))));
    assert!((&mut callers).now_or_never().is_none());
    assert_eq!(cached.fake.running(), 1);
    drop(callers);
    assert_eq!(cached.fake.running(), 0); // PC3
}

#[tokio::test(start_paused = true)]
async fn who_has_more_time_than_the_one_it_joined_asks_again() {
    let cached = Cached::start().await;
    cached.fake.takes(3 * SECOND, Duration::ZERO);
    let chat = cached.chat();
    let short = chat.call(asked("q", CacheControl::default()).timeout(SECOND));
    let long = chat.call(asked("q", CacheControl::default()).timeout(10 * SECOND));
    let (short, long) = futures_util::future::join(short, long).await;
    assert_eq!(short.unwrap_err().kind, ErrorKind::DeadlineExceeded);
    assert!(long.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_at_once_and_a_new_one_fetched_behind_it() {
    let cached = Cached::start().await;
    cached.call("q").await.unwrap();
    tokio::time::sleep(3601 * SECOND).await;
    cached.fake.takes(SECOND, Duration::ZERO);
    for _ in 0..50 {
        assert_eq!(use_of(&cached.call("q").await.unwrap()), Use::Stale);
    }
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(cached.fake.calls(), 2);
    assert_eq!(use_of(&cached.call("q").await.unwrap()), Use::Hit);
}

#[tokio::test(start_paused = true)]
async fn when_nobody_answers_an_old_answer_is_better_than_an_error() {
    let cached = Cached::start().await;
    cached.call("q").await.unwrap();
    cached.fake.set(Act::Fail(ErrorKind::ServerError));
    tokio::time::sleep(2 * 3600 * SECOND).await;
    let old = cached.call("q").await.unwrap();
    assert_eq!(use_of(&old), Use::IfError); // CA9
    assert_eq!((old.story.failed.len(), old.story.attempts()), (1, 1));
    let strict = CacheControl { stale_if_error: Some(Duration::ZERO), ..CacheControl::default() };
    assert_eq!(cached.call_with("q", strict).await.unwrap_err().kind, ErrorKind::ServerError); // CA13
    cached.fake.set(Act::Fail(ErrorKind::BadRequest));
    assert_eq!(cached.call("q").await.unwrap_err().kind, ErrorKind::BadRequest);
    tokio::time::sleep(30 * 3600 * SECOND).await;
    cached.fake.set(Act::Fail(ErrorKind::ServerError));
    assert_eq!(cached.call("q").await.unwrap_err().kind, ErrorKind::ServerError);
}

#[tokio::test(start_paused = true)]
async fn callers_steer_what_is_given_and_kept() {
    let cached = Cached::start().await;
    let no_store = CacheControl { no_store: true, ..CacheControl::default() };
    let no_cache = CacheControl { no_cache: true, ..CacheControl::default() };
    let only = CacheControl { only_if_cached: true, ..CacheControl::default() };
    let young = CacheControl { max_age: Some(5 * SECOND), ..CacheControl::default() };
    assert_eq!(cached.call_with("q", only.clone()).await.unwrap_err().kind, ErrorKind::NotCached);
    cached.call_with("q", no_store).await.unwrap();
    assert!(cached.call_with("q", only.clone()).await.is_err());
    cached.call("q").await.unwrap();
    assert_eq!(use_of(&cached.call_with("q", only).await.unwrap()), Use::Hit);
    assert_eq!(use_of(&cached.call_with("q", no_cache).await.unwrap()), Use::Miss);
    tokio::time::sleep(6 * SECOND).await;
    let anew = cached.call_with("q", young).await.unwrap();
    assert!(matches!(anew.story.cache, Some(CacheStory::Missed { why: Lack::Unwanted, .. }))); // CA13
    assert_eq!(cached.fake.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_chance_had_a_part_in_is_kept_only_if_somebody_says_so() {
    let cached = Cached::start().await;
    for _ in 0..2 {
        let reply = cached.call("random").await.unwrap();
        assert_eq!(reply.story.cache, Some(CacheStory::Bypassed(NotKept::Sampled)));
    }
    let wanted = CacheControl { ttl: Some(SECOND), ..CacheControl::default() };
    assert_eq!(use_of(&cached.call_with("random", wanted.clone()).await.unwrap()), Use::Miss);
    assert_eq!(use_of(&cached.call_with("random", wanted).await.unwrap()), Use::Hit);
    assert_eq!(cached.fake.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_given_again_event_by_event() {
    let cached = Cached::start().await;
    let (first, live) = cached.stream("q").await.unwrap();
    let (second, kept) = cached.stream("q").await.unwrap();
    assert!(matches!(first, CacheStory::Missed { .. }) && second.is_kept());
    assert_eq!((live, cached.fake.calls()), (kept, 1));
    assert_eq!(use_of(&cached.call("q").await.unwrap()), Use::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_kept_stream_comes_at_once_or_as_slowly_as_it_came() {
    for (paced, expected) in [(false, Duration::ZERO), (true, 6 * SECOND)] {
        let cached = Cached::under(CachePolicy { paced, ..CachePolicy::default() }).await;
        cached.fake.takes(Duration::ZERO, SECOND);
        cached.stream("q").await.unwrap();
        let started = crate::clock::SystemClock.now();
        cached.stream("q").await.unwrap();
        assert_eq!(crate::clock::SystemClock.now() - started, expected, "{paced}");
    }
}

#[tokio::test(start_paused = true)]
async fn equal_streams_at_once_wait_for_the_first_and_are_given_it() {
    let cached = Cached::start().await;
    cached.fake.takes(Duration::ZERO, SECOND);
    let replies = join_all((0..100).map(|_| cached.stream("q"))).await;
    let kept = replies.iter().filter(|reply| reply.as_ref().unwrap().0.is_kept()).count();
    assert_eq!((kept, cached.fake.calls()), (99, 1)); // CA8
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waited_for_a_broken_one_goes_its_own_way() {
    let cached = Cached::start().await;
    cached.fake.takes(Duration::ZERO, SECOND);
    let chat = cached.chat();
    let mut first = chat.stream(asked("q", CacheControl::default())).await.unwrap();
    let second = cached.stream("q");
    let leave = async {
        first.next().await;
        drop(first);
    };
    let (second, ()) = futures_util::future::join(second, leave).await;
    assert!(matches!(second.unwrap().0, CacheStory::Missed { .. }));
    assert_eq!(cached.fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_broken_cut_short_or_refused_is_never_kept() {
    let cached = Cached::start().await;
    let breaks = [Broken::Ends, Broken::Fails(ErrorKind::Reset), Broken::Panics];
    for broken in breaks {
        for frames in 0..6 {
            cached.fake.next([Act::Break(frames, broken)]);
            if let Ok(mut stream) = cached.chat().stream(asked("q", CacheControl::default())).await {
                while stream.next().await.is_some() {}
            }
        }
    }
    cached.fake.next([Act::Refuse(0), Act::Refuse(2)]);
    cached.call("q").await.unwrap();
    assert_eq!(cached.stream("q").await.unwrap().1.len(), 5);
    let only = CacheControl { only_if_cached: true, ..CacheControl::default() };
    let request = asked("q", only);
    assert_eq!(cached.chat().stream(request.clone()).await.err().unwrap().kind, ErrorKind::NotCached); // CA5
    assert_eq!(cached.chat().call(request).await.unwrap_err().kind, ErrorKind::NotCached); // CA5
}

#[test]
fn only_a_good_end_is_kept() {
    let tools = CachePolicy { tool_calls: true, ..CachePolicy::default() };
    let system = |policy| {
        let mut system = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
        let rules = Arc::new(PlainRules);
        system.cache(CachePlan { policy, rules, memory: None, tiers: Vec::new() }).unwrap();
        system.cached().clone()
    };
    let (plain, lenient) = (system(CachePolicy::default()), system(tools));
    let table = [
        (None, 10, (true, true)),
        (Some(Finish::Complete), 10, (true, true)),
        (Some(Finish::Complete), 2 << 20, (false, false)),
        (Some(Finish::ToolCalls), 10, (false, true)),
        (Some(Finish::CutShort), 10, (false, false)),
        (Some(Finish::Refused), 10, (false, false)),
    ];
    for (finish, bytes, expected) in table {
        let kept = (plain.may_keep(finish, bytes), lenient.may_keep(finish, bytes));
        assert_eq!(kept, expected, "{finish:?} {bytes}"); // CA5
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_on_the_request_is_kept_for_its_own_time() {
    let policy = CachePolicy { negative_ttl: 5 * SECOND, ..CachePolicy::default() };
    let cached = Cached::under(policy).await;
    cached.fake.set(Act::Fail(ErrorKind::ContextTooLong));
    for asked in [1, 0, 0] {
        let error = cached.call("q").await.unwrap_err();
        assert_eq!((error.kind, error.attempts_made()), (ErrorKind::ContextTooLong, asked));
    }
    assert_eq!(cached.fake.calls(), 1); // CA2
    tokio::time::sleep(6 * SECOND).await;
    cached.call("q").await.unwrap_err();
    assert_eq!(cached.fake.calls(), 2); // CA2
    cached.fake.set(Act::Fail(ErrorKind::ServerError));
    for _ in 0..3 {
        cached.call("other").await.unwrap_err();
    }
    assert_eq!(cached.fake.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_begun_before_a_purge_is_given_to_its_caller_and_not_kept() {
    let cached = Cached::start().await;
    cached.fake.takes(SECOND, Duration::ZERO);
    let system = cached.tree.system().clone();
    let purge = async {
        settle().await;
        system.cache().unwrap().purge(Purge::All).await;
    };
    let (reply, ()) = futures_util::future::join(cached.call("q"), purge).await;
    assert!(reply.is_ok());
    assert_eq!(use_of(&cached.call("q").await.unwrap()), Use::Miss); // CA3
}

#[tokio::test(start_paused = true)]
async fn a_chain_with_other_targets_is_given_nothing_of_the_one_before() {
    let cached = Cached::start().await;
    cached.call("q").await.unwrap();
    let mut change = cached.tree.change();
    change.keep(cached.tree.system().provider("a").unwrap(), ProviderPolicy::NONE, None).unwrap();
    change.chain("chat", [("a", "another")], ONCE).unwrap();
    change.apply().await.unwrap();
    assert_eq!(use_of(&cached.call("q").await.unwrap()), Use::Miss); // CA4
}

#[tokio::test(start_paused = true)]
async fn a_total_outage_is_answered_as_far_as_is_known() {
    let cached = Cached::start().await;
    let known: Vec<&'static str> = (0..60).map(|n| &*Box::leak(format!("q{n}").into_boxed_str())).collect();
    for question in &known {
        cached.call(question).await.unwrap();
    }
    tokio::time::sleep(5 * 3600 * SECOND).await;
    cached.fake.set(Act::Fail(ErrorKind::Connect));
    let unknown = (60..100).map(|n| &*Box::leak(format!("q{n}").into_boxed_str()));
    let mut answered = 0;
    for question in known.iter().copied().chain(unknown) {
        if let Ok(reply) = cached.call(question).await {
            assert_eq!(use_of(&reply), Use::IfError);
            answered += 1;
        }
    }
    assert_eq!(answered, 60); // CA9
}
