//! Calls through a whole system on virtual time: every policy alone, every way to break, every way to leave.

use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    call::FrameKind,
    error::{Interrupted, ProviderError},
    provider::policy::{BreakerPolicy, ProviderPolicy, Timeouts},
    testing::{Act, Broken, FakeProvider, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// No retries: what happens is what the first round does.
const ONCE: ChainPolicy = ChainPolicy {
    retries: 0,
    backoff: Backoff { min: MS, max: SECOND, jitter: Jitter::Full },
    max_attempts: 4,
};

async fn world(providers: u8) -> World {
    World::start(1, providers, ProviderPolicy::default(), ONCE).await.unwrap()
}

async fn answered_by(world: &World) -> Result<String, ErrorKind> {
    let answer = world.chat().call(request()).await;
    answer.map(|reply| reply.story.provider.to_string()).map_err(|error| error.kind)
}

#[tokio::test(start_paused = true)]
async fn every_subset_of_the_policies_builds_and_calls() {
    for subset in 0..1u32 << 7 {
        let has = |policy: u32| subset & 1 << policy != 0;
        let full = ProviderPolicy::default();
        let policy = ProviderPolicy {
            timeouts: full.timeouts.filter(|_| has(0)),
            breaker: full.breaker.filter(|_| has(1)),
            max_concurrent: full.max_concurrent.filter(|_| has(2)),
            limits: full.limits.filter(|_| has(5)),
            budget: full.budget.filter(|_| has(6)),
            ..full
        };
        let chain = ChainPolicy { retries: u32::from(has(3)), ..ONCE };
        let world = World::start(1, 1 + u8::from(has(4)), policy, chain).await.unwrap();
        assert_eq!(answered_by(&world).await.unwrap(), "a", "{subset:07b}"); // PC1
        assert_eq!(stream(&world).await.unwrap().0.len(), FakeProvider::WORDS + 3, "{subset:07b}");

        world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
        let (mut calls, mut answered) = (0, 0);
        for _ in 0..10 {
            answered += usize::from(answered_by(&world).await.is_ok());
            calls += 1;
            settle().await;
        }
        assert_eq!(answered, if has(4) { calls } else { 0 }, "fallback is what saves a call: {subset:07b}");
        // A budget pays for a few retries; without one, for all.
        let retries = match (has(3) && !has(4), has(6)) {
            (false, _) => 0..=0,
            (true, true) => 3..=5,
            (true, false) => 10..=10,
        };
        let failures = world.fakes[0].calls() - 2;
        // Five failures open the circuit; without one all ten calls reach the provider.
        let expected = if has(1) { 5..=6 } else { 10 + retries.start()..=10 + retries.end() };
        assert!(has(4) && has(3) || expected.contains(&failures), "{subset:07b}: {failures}");
        assert!(world.tree.shutdown(SECOND).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn without_timeouts_a_call_waits_as_long_as_its_caller() {
    let world = World::start(1, 1, ProviderPolicy::NONE, ONCE).await.unwrap();
    world.fakes[0].takes(Duration::from_secs(24 * 3600), Duration::ZERO);
    assert_eq!(answered_by(&world).await.unwrap(), "a");
    let patient = world.chat().call(request().timeout(SECOND)).await.unwrap_err();
    assert_eq!(patient.kind, ErrorKind::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn the_final_error_lists_every_attempt_in_order() {
    let world = world(3).await;
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    world.fakes[0].takes(250 * MS, Duration::ZERO);
    world.fakes[1].set(Act::Hang);
    world.fakes[2].set(Act::Panic);
    let error = world.chat().call(request()).await.unwrap_err();
    let told: Vec<_> = error.attempts.iter().map(|a| (&*a.provider, a.kind, a.latency_ms)).collect();
    let expected = [
        ("a", ErrorKind::ServerError, 250),
        ("b", ErrorKind::TotalTimeout, 120_000),
        ("c", ErrorKind::Panicked, 0),
    ];
    assert_eq!(told, expected); // PC2
    let text = error.to_string();
    let places = ["1. a/m: server_error", "2. b/m: total_timeout", "3. c/m: panicked", "Next: "];
    assert!(places.map(|part| text.find(part).unwrap()).is_sorted(), "{text}");
    assert_eq!(error.attempts_made(), 3);
    world.fakes[0].set(Act::Answer);
    let story = world.chat().call(request()).await.unwrap().story;
    assert_eq!(story.upstream_request_id.as_deref(), Some("fake"));
}

#[tokio::test(start_paused = true)]
async fn refusals_stand_in_the_final_error_and_count_as_no_attempt() {
    let policy = ProviderPolicy { max_concurrent: Some(1), ..ProviderPolicy::default() };
    let world = World::start(1, 1, policy, ONCE).await.unwrap();
    let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
    let error = world.chat().call(request()).await.unwrap_err();
    assert_eq!((error.kind, error.attempts_made(), world.fakes[0].calls()), (ErrorKind::Busy, 0, 0));
    for _ in 0..1000 {
        answered_by(&world).await.unwrap_err();
    }
    drop(held);
    settle().await;
    assert!(world.desk(0).is_usable()); // PC5
    assert_eq!(answered_by(&world).await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_without_taking_a_slot() {
    let world = world(1).await;
    world.fakes[0].set(Act::Fail(ErrorKind::Connect));
    for _ in 0..5 {
        answered_by(&world).await.unwrap_err();
    }
    settle().await;
    assert!(!world.desk(0).is_usable());
    let refused = world.chat().targets()[0].admit(Ask::default()).err().unwrap();
    assert_eq!((refused.kind, world.desk(0).in_flight()), (ErrorKind::CircuitOpen, 0)); // PC6
    assert!(refused.retry_after.is_some_and(|wait| wait > 3 * SECOND && wait <= 6 * SECOND));
    let error = world.chat().call(request()).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::CircuitOpen, refused.retry_after));
    assert_eq!(world.fakes[0].calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn no_chain_makes_more_attempts_than_the_cap() {
    for max_attempts in 1..=6 {
        let policy = ChainPolicy { retries: 9, max_attempts, ..ONCE };
        let unbroken = ProviderPolicy { breaker: None, ..ProviderPolicy::default() };
        let world = World::start(7, 3, unbroken, policy).await.unwrap();
        world.fakes.iter().for_each(|fake| fake.set(Act::Fail(ErrorKind::ServerError)));
        let error = world.chat().call(request()).await.unwrap_err();
        let asked: u64 = world.fakes.iter().map(|fake| fake.calls()).sum();
        assert_eq!((asked, error.attempts_made() as u64), (max_attempts.into(), max_attempts.into())); // PC14
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_is_asked_once_and_blames_nobody() {
    let world = world(2).await;
    world.fakes[0].set(Act::Fail(ErrorKind::BadRequest));
    for _ in 0..10 {
        assert_eq!(answered_by(&world).await, Err(ErrorKind::BadRequest)); // PC4
    }
    settle().await;
    assert_eq!((world.fakes[0].calls(), world.fakes[1].calls()), (10, 0));
    assert!(world.desk(0).is_usable());
}

/// The frames' kinds as they came, and how the stream ended.
async fn stream(world: &World) -> Result<(Vec<FrameKind>, Option<Interrupted>), CallError> {
    let mut stream = world.chat().stream(request()).await?;
    let mut kinds = Vec::new();
    while let Some(frame) = stream.next().await {
        match frame {
            Ok(frame) => kinds.push(frame.kind),
            Err(broken) => {
                assert!(stream.next().await.is_none(), "nothing follows an interruption");
                return Ok((kinds, Some(broken)));
            }
        }
    }
    Ok((kinds, None))
}

const BREAKS: [(Broken, ErrorKind); 5] = [
    (Broken::Ends, ErrorKind::Truncated),
    (Broken::Fails(ErrorKind::Reset), ErrorKind::Reset),
    (Broken::Hangs, ErrorKind::IdleTimeout),
    (Broken::Panics, ErrorKind::Panicked),
    (Broken::Pings, ErrorKind::IdleTimeout),
];

#[tokio::test(start_paused = true)]
async fn broken_before_the_first_content_a_stream_comes_from_the_next_provider_alone() {
    for (broken, kind) in BREAKS {
        for kept in 0..=1 {
            let world = world(2).await;
            world.fakes[0].set(Act::Break(kept, broken));
            let stream = world.chat().stream(request()).await.unwrap();
            assert_eq!(&*stream.story.provider, "b", "{broken:?} after {kept}");
            let kind = if kind == ErrorKind::IdleTimeout { ErrorKind::FirstTokenTimeout } else { kind };
            assert_eq!(stream.story.failed[0].kind, kind, "{broken:?} after {kept}"); // PC18
            let frames: Vec<_> = stream.collect().await;
            assert_eq!(frames.len(), FakeProvider::WORDS + 3, "{broken:?} after {kept}"); // RS5
            assert!(frames.iter().all(Result::is_ok));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn broken_after_it_a_stream_ends_with_what_was_delivered_and_never_as_complete() {
    for (broken, kind) in BREAKS {
        for kept in 2..FakeProvider::WORDS + 3 {
            let world = world(2).await;
            world.fakes[0].set(Act::Break(kept, broken));
            let (kinds, interrupted) = stream(&world).await.unwrap();
            let interrupted = interrupted.unwrap_or_else(|| panic!("{broken:?} after {kept} is complete"));
            assert!(!kinds.contains(&FrameKind::End), "{broken:?} after {kept}"); // RS6
            let delivered = kinds.iter().filter(|kind| **kind == FrameKind::Content).count() as u64;
            assert_eq!((interrupted.delivered, interrupted.error.kind), (delivered, kind));
            assert_eq!(world.fakes[1].calls(), 0, "what was delivered cannot be taken back");
            settle().await;
            assert_eq!((world.desk(0).in_flight(), world.fakes[0].running()), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_ahead_of_a_slow_reader() {
    let world = world(1).await;
    let mut stream = world.chat().stream(request()).await.unwrap();
    assert_eq!(world.fakes[0].sent(), 2, "its role and its first word");
    for sent in [2, 2, 3, 4, 5, 6] {
        tokio::time::sleep(SECOND).await;
        assert!(stream.next().await.unwrap().is_ok());
        assert_eq!(world.fakes[0].sent(), sent); // RS7
    }
}

#[tokio::test(start_paused = true)]
async fn each_timeout_has_its_own_kind_and_its_own_time() {
    let timeouts = Timeouts { connect: SECOND, first_token: 4 * SECOND, idle: 2 * SECOND, total: 9 * SECOND };
    let policy = ProviderPolicy { timeouts: Some(timeouts), ..ProviderPolicy::default() };
    let world = World::start(1, 1, policy, ONCE).await.unwrap();
    let fake = &world.fakes[0];
    let begun = || world.system().commons().now();
    let took = |since: Instant| (begun() - since).as_secs();

    fake.set(Act::Hang);
    let since = begun();
    assert_eq!((answered_by(&world).await, took(since)), (Err(ErrorKind::TotalTimeout), 9));
    let since = begun();
    let error = stream(&world).await.unwrap_err();
    assert_eq!((error.kind, took(since)), (ErrorKind::FirstTokenTimeout, 4));

    for (broken, kept) in [(Broken::Hangs, 2), (Broken::Pings, 3)] {
        fake.set(Act::Break(kept, broken));
        let since = begun();
        let broken = stream(&world).await.unwrap().1.unwrap();
        assert_eq!((broken.error.kind, took(since)), (ErrorKind::IdleTimeout, 2)); // PC18: a ping is no progress
    }

    // Each frame comes in time, the whole does not.
    fake.set(Act::Answer);
    fake.takes(Duration::ZERO, 1900 * MS);
    let since = begun();
    let broken = stream(&world).await.unwrap().1.unwrap();
    assert_eq!((broken.error.kind, took(since)), (ErrorKind::TotalTimeout, 9));
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_deadline_ends_the_call_and_counts_against_nobody() {
    let world = world(2).await;
    world.fakes[0].set(Act::Hang);
    for _ in 0..10 {
        let error = world.chat().call(request().timeout(3 * SECOND)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
    }
    settle().await;
    assert_eq!(world.fakes[1].calls(), 0, "no attempt starts after the deadline");
    assert!(world.desk(0).is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_callers_patience_ends_with_the_first_content_of_a_stream_and_with_a_whole_answer() {
    let world = world(1).await;
    let fake = &world.fakes[0];
    fake.takes(2 * SECOND, 2 * SECOND);
    let patient = |patience| Request { patience: Some(patience), ..request() };
    let stream = world.chat().stream(patient(SECOND)).await;
    assert_eq!(stream.err().unwrap().kind, ErrorKind::DeadlineExceeded);
    let whole = world.chat().call(patient(SECOND)).await;
    assert_eq!(whole.err().unwrap().kind, ErrorKind::DeadlineExceeded);
    let sooner = Request { patience: Some(9 * SECOND), ..request().timeout(SECOND) };
    assert_eq!(world.chat().stream(sooner).await.err().unwrap().kind, ErrorKind::DeadlineExceeded);
    let frames = world.chat().stream(patient(7 * SECOND)).await.unwrap();
    assert!(frames.collect::<Vec<_>>().await.iter().all(Result::is_ok), "the rest may take its time"); // PC18
    let asked = fake.calls();
    for answer in
        [world.chat().stream(patient(SECOND)).await.err(), world.chat().call(patient(SECOND)).await.err()]
    {
        assert_eq!(answer.unwrap().kind, ErrorKind::NoTime, "it is known by now how long it takes"); // PC16
    }
    assert_eq!(fake.calls(), asked);
    settle().await;
    assert!(world.desk(0).is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_falls_into_a_wait_ends_the_call_at_once() {
    let backoff = Backoff { min: 10 * SECOND, max: 10 * SECOND, jitter: Jitter::Spread(0.0) };
    let policy = ChainPolicy { retries: 2, backoff, ..ONCE };
    let world = World::start(1, 1, ProviderPolicy::default(), policy).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::Overloaded));
    let since = world.system().commons().now();
    let error = world.chat().call(request().timeout(3 * SECOND)).await.unwrap_err();
    assert_eq!((error.kind, world.fakes[0].calls()), (ErrorKind::Overloaded, 1));
    assert_eq!(world.system().commons().now(), since, "nobody waits for what cannot come");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_that_leave_at_random_moments_leave_nothing_behind() {
    const CALLERS: usize = 10_000;
    let roomy = ProviderPolicy { max_concurrent: Some(CALLERS), ..ProviderPolicy::default() };
    let world = World::start(42, 2, roomy, ChainPolicy { retries: 1, ..ONCE }).await.unwrap();
    world.fakes.iter().for_each(|fake| fake.takes(40 * MS, 10 * MS));
    // Some first attempts fail, so that callers also leave while they wait or are on their way to the next.
    world.fakes[0].next((0..CALLERS / 2).map(|n| match n % 10 {
        0 => Act::Fail(ErrorKind::RateLimited),
        1 => Act::Break(3, Broken::Hangs),
        _ => Act::Answer,
    }));
    let mut chance = fastrand::Rng::with_seed(42);
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..CALLERS {
        let (chat, patience) = (world.chat().clone(), chance.u32(0..130) * MS);
        callers.spawn(async move {
            let whole = async {
                if n % 2 == 0 {
                    drop(chat.call(request()).await);
                } else if let Ok(frames) = chat.stream(request()).await {
                    drop(frames.collect::<Vec<_>>().await);
                }
            };
            tokio::time::timeout(patience, whole).await.is_err()
        });
    }
    let left = callers.join_all().await.into_iter().filter(|left| *left).count();
    assert!(left > CALLERS / 3 && left < CALLERS, "{left} left early");
    tokio::time::sleep(100 * MS).await; // PC3
    for provider in 0..2 {
        assert_eq!((world.desk(provider).in_flight(), world.fakes[provider].running()), (0, 0));
        assert_eq!(world.desk(provider).actor().waiting(), 0);
        assert!(world.desk(provider).is_usable(), "callers that left say nothing about a provider");
    }
    assert!(world.tree.shutdown(SECOND).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_mistakes_one_form_of_answer_for_the_other_is_malformed() {
    struct Confused;
    impl crate::ports::Provider for Confused {
        fn call<'a>(
            &'a self,
            _: crate::ports::ProviderCall<'a>,
        ) -> futures_util::future::BoxFuture<'a, Result<crate::call::ProviderReply, ProviderError>> {
            let full = crate::call::FullReply::new("{}");
            Box::pin(async { Ok(crate::call::ProviderReply::Full(full)) })
        }
    }
    let clock = Arc::new(crate::testing::VirtualClock::start());
    let mut builder = crate::system::SystemBuilder::new(clock, 1, 1);
    builder.provider("a", Arc::new(Confused), ProviderPolicy::default()).unwrap();
    builder.chain("chat", [("a", "m")], ONCE).unwrap();
    let tree = builder.start(|_| Ok(Vec::new())).await.unwrap();
    let error = tree.system().chain("chat").unwrap().stream(request()).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Malformed);
}

#[tokio::test(start_paused = true)]
async fn keep_alives_that_never_pause_outlast_no_timeout() {
    let short = Timeouts { first_token: SECOND, ..Timeouts::default() };
    let breaker = BreakerPolicy { failures: 1, ..BreakerPolicy::default() };
    let policy = ProviderPolicy { timeouts: Some(short), breaker: Some(breaker), ..ProviderPolicy::NONE };
    let world = World::start(1, 2, policy, ONCE).await.unwrap();
    world.fakes[0].set(Act::Break(1, Broken::Pings));
    let reply = world.chat().stream(request()).await.unwrap();
    assert_eq!((&*reply.story.provider, reply.story.failed[0].latency_ms), ("b", 1000)); // PC18
    settle().await;
    assert!(!world.desk(0).is_usable());
}
