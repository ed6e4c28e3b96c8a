//! The policies of a provider together, over real actors on virtual time: what opens its circuits and what closes
//! them, what is left alone and for how long, who waits and who pays.

use std::time::Duration;

use super::{
    adaptive::AdaptivePolicy,
    admission::Ask,
    budget::BudgetPolicy,
    limiter::LimitPolicy,
    policy::{BreakerPolicy, ProviderPolicy},
};
use crate::{
    backoff::{Backoff, Jitter},
    call::Api,
    chain::policy::ChainPolicy,
    error::ErrorKind,
    mode::Mode,
    testing::{Act, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const ONCE: ChainPolicy = ChainPolicy {
    retries: 0,
    backoff: Backoff { min: SECOND, max: SECOND, jitter: Jitter::Spread(0.0) },
    max_attempts: 4,
};

async fn world(policy: ProviderPolicy, chain: ChainPolicy) -> World {
    World::start(1, 1, policy, chain).await.unwrap()
}

fn circuit(world: &World) -> &'static str {
    world.desk(0).status(world.system().commons().now()).circuit
}

/// Calls that are answered by anybody.
async fn answered(world: &World, calls: usize) -> usize {
    let mut answered = 0;
    for _ in 0..calls {
        answered += usize::from(world.chat().call(request()).await.is_ok());
        settle().await;
    }
    answered
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_swallows_calls_is_left_alone_while_the_first_of_them_still_hang() {
    let world = world(ProviderPolicy { max_concurrent: None, ..ProviderPolicy::default() }, ONCE).await;
    assert_eq!(answered(&world, 300).await, 300);
    world.fakes[0].set(Act::Hang);
    let mut calls = tokio::task::JoinSet::new();
    let began = world.system().commons().now();
    while circuit(&world) == "closed" {
        let chat = world.chat().clone();
        calls.spawn(async move { chat.stream(request()).await.is_ok() });
        tokio::time::sleep(SECOND / 5).await;
        assert!(calls.len() <= 60, "{} calls hang", calls.len()); // PC8
    }
    let passed = world.system().commons().now() - began;
    assert!(passed <= 12 * SECOND, "{passed:?}"); // PC8
    let reason = world.desk(0).status(world.system().commons().now()).reason;
    assert!(reason.contains("10 slow calls in a row"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_recovered_provider_gets_a_growing_share_of_the_calls() {
    let world = World::start(1, 2, ProviderPolicy::default(), ONCE).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    assert_eq!(answered(&world, 6).await, 6);
    assert_eq!(circuit(&world), "open");
    world.fakes[0].set(Act::Answer);
    tokio::time::sleep(7 * SECOND).await;
    let before = world.fakes[0].calls();
    assert_eq!(answered(&world, 3).await, 3);
    assert_eq!(world.fakes[0].calls() - before, 3, "three probes, one after the other"); // PC9
    let mut shares = Vec::new();
    for _ in 0..100 {
        let before = world.fakes[0].calls();
        assert_eq!(answered(&world, 100).await, 100, "the others are answered by b");
        shares.push(world.fakes[0].calls() - before);
        tokio::time::sleep(SECOND).await;
        if circuit(&world) == "closed" {
            break;
        }
    }
    assert!(shares.is_sorted(), "{shares:?}"); // PC9
    assert!([5, 10, 25, 50].iter().all(|share| shares.contains(share)), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_nobody_can_stand_in_for_gets_all_calls_on_its_way_back() {
    let world = world(ProviderPolicy::default(), ONCE).await;
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    answered(&world, 5).await;
    world.fakes[0].set(Act::Answer);
    tokio::time::sleep(7 * SECOND).await;
    assert_eq!(answered(&world, 50).await, 50, "a share would only fail the others"); // RS4
}

#[tokio::test(start_paused = true)]
async fn an_empty_account_or_a_wrong_key_is_left_alone_for_long_and_closed_by_hand() {
    for kind in [ErrorKind::QuotaExhausted, ErrorKind::Auth, ErrorKind::PermissionDenied] {
        let world = world(ProviderPolicy::default(), ONCE).await;
        world.fakes[0].set(Act::Fail(kind));
        assert_eq!(answered(&world, 10).await, 0);
        assert_eq!((circuit(&world), world.fakes[0].calls()), ("isolated", 1)); // PC12
        assert_eq!(world.system().mode().now(), Mode::Emergency);
        let refused = world.chat().call(request()).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Isolated);
        assert!(refused.to_string().contains(kind.class().advice), "{refused}");
        tokio::time::sleep(10 * 60 * SECOND).await;
        assert_eq!(circuit(&world), "isolated");
        world.fakes[0].set(Act::Answer);
        world.desk(0).close();
        settle().await;
        assert_eq!((circuit(&world), answered(&world, 1).await), ("closed", 1));
        assert_eq!(world.system().mode().now(), Mode::Normal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_route_is_no_missing_model() {
    let world = world(ProviderPolicy::default(), ONCE).await;
    for (api, kind, after) in [
        (Api::Responses, ErrorKind::Unsupported, "closed"),
        (Api::Embeddings, ErrorKind::Unsupported, "closed"),
        (Api::Chat, ErrorKind::NotFound, "isolated"),
    ] {
        world.fakes[0].set(Act::Fail(ErrorKind::NotFound));
        assert_eq!(world.chat().call(request().api(api)).await.unwrap_err().kind, kind); // PC12
        settle().await;
        assert_eq!(circuit(&world), after, "{api:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_takes_a_provider_out_and_its_crash_changes_nothing() {
    let world = World::start(1, 2, ProviderPolicy::NONE, ONCE).await.unwrap();
    world.desk(0).isolate(Some(3600 * SECOND), "maintenance, says the night shift");
    settle().await;
    world.desk(0).actor().crash();
    tokio::time::sleep(10 * SECOND).await;
    let reply = world.chat().call(request()).await.unwrap();
    assert_eq!((&*reply.story.provider, world.fakes[0].calls()), ("b", 0));
    assert_eq!(
        &*world.system().mode().snapshot().reasons[0].text,
        "provider a is taken out: maintenance, says the night shift"
    );
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(circuit(&world), "closed", "without a breaker nobody tries it out");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_out_leaves_the_others_of_its_provider_alone() {
    let fake = std::sync::Arc::new(crate::testing::FakeProvider::default());
    let clock = std::sync::Arc::new(crate::testing::VirtualClock::start());
    let mut builder = crate::system::SystemBuilder::new(clock, 1, 1);
    builder.provider("a", std::sync::Arc::new(Moody(fake.clone())), ProviderPolicy::default()).unwrap();
    for model in ["good", "bad"] {
        builder.chain(model, [("a", model)], ONCE).unwrap();
    }
    let tree = builder.start(|_| Ok(Vec::new())).await.unwrap();
    let chain = |name| tree.system().chain(name).unwrap();
    for _ in 0..10 {
        let _ = chain("bad").call(request()).await;
        settle().await;
    }
    assert_eq!(chain("bad").call(request()).await.unwrap_err().kind, ErrorKind::CircuitOpen);
    assert!(chain("good").call(request()).await.is_ok());
    assert_eq!(tree.system().mode().now(), Mode::Degraded);
    // Who cannot be reached cannot be asked for any model.
    fake.set(Act::Fail(ErrorKind::Connect));
    for _ in 0..5 {
        let _ = chain("good").call(request()).await;
        settle().await;
    }
    let refused = chain("good").call(request()).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::CircuitOpen);
    assert!(refused.to_string().contains("provider a is out: 5 failures in a row, the last one connect"));
    assert_eq!(tree.system().mode().now(), Mode::Emergency);
}

/// Answers, but for one model.
struct Moody(std::sync::Arc<crate::testing::FakeProvider>);

impl crate::ports::Provider for Moody {
    fn call<'a>(
        &'a self,
        call: crate::ports::ProviderCall<'a>,
    ) -> futures_util::future::BoxFuture<'a, Result<crate::call::ProviderReply, crate::error::ProviderError>>
    {
        if call.model == "bad" {
            return Box::pin(async { Err(crate::error::ProviderError::new(ErrorKind::ServerError, "no")) });
        }
        self.0.call(call)
    }
}

#[tokio::test(start_paused = true)]
async fn a_speed_limit_is_kept_to_without_any_blame_and_a_short_wait_is_waited_for() {
    let world = world(ProviderPolicy::default(), ONCE).await;
    world.fakes[0].next([Act::Defer(ErrorKind::RateLimited, 30 * SECOND)]);
    assert_eq!(answered(&world, 20).await, 0);
    assert_eq!((circuit(&world), world.fakes[0].calls()), ("closed", 1)); // PC12
    let refused = world.chat().call(request()).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Throttled);
    assert!(refused.retry_after.is_some_and(|wait| wait > 20 * SECOND && wait <= 30 * SECOND)); // PC13
    tokio::time::sleep(29 * SECOND).await;
    assert_eq!(answered(&world, 1).await, 1, "what is left of it is waited for");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_a_minute_are_never_more_in_any_minute() {
    let limits = Some(LimitPolicy { requests: Some((100, 60 * SECOND)), ..LimitPolicy::default() });
    let policy = ProviderPolicy { limits, max_wait: Duration::ZERO, ..ProviderPolicy::default() };
    let world = world(policy, ONCE).await;
    assert_eq!(answered(&world, 150).await, 100); // PC23
    tokio::time::sleep(59 * SECOND).await;
    assert_eq!(answered(&world, 50).await, 0);
    tokio::time::sleep(SECOND).await;
    assert_eq!(answered(&world, 150).await, 100);
    assert_eq!(circuit(&world), "closed"); // PC5
}

#[tokio::test(start_paused = true)]
async fn what_is_full_is_waited_for_only_by_calls_that_nobody_else_can_answer() {
    let policy = ProviderPolicy { max_concurrent: Some(1), ..ProviderPolicy::default() };
    let two = World::start(1, 2, policy, ONCE).await.unwrap();
    two.fakes[0].takes(SECOND, Duration::ZERO);
    let (first, second) = tokio::join!(two.chat().call(request()), two.chat().call(request()));
    assert_eq!((&*first.unwrap().story.provider, &*second.unwrap().story.provider), ("a", "b")); // RS1
    let one = world(policy, ONCE).await;
    one.fakes[0].takes(SECOND, Duration::ZERO);
    let calls = futures_util::future::join_all((0..2).map(|_| one.chat().call(request()))).await;
    assert!(calls.iter().all(Result::is_ok));
    one.fakes[0].takes(10 * SECOND, Duration::ZERO);
    let calls = futures_util::future::join_all((0..3).map(|_| one.chat().call(request()))).await;
    let busy = calls.iter().filter(|call| call.as_ref().is_err_and(|e| e.kind == ErrorKind::Busy)).count();
    assert_eq!(busy, 2, "two seconds are the longest wait");
}

#[tokio::test(start_paused = true)]
async fn retries_are_paid_from_a_budget_and_a_hop_to_another_provider_is_free() {
    let retries = ChainPolicy { retries: 2, ..ONCE };
    let policy = ProviderPolicy { breaker: None, max_concurrent: None, ..ProviderPolicy::default() };
    let world = World::start(1, 2, policy, retries).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    assert_eq!(answered(&world, 100).await, 100, "all are answered by b");
    let world = World::start(1, 1, policy, retries).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3000 {
        let chat = world.chat().clone();
        calls.spawn(async move { chat.call(request()).await.is_err() });
        tokio::time::sleep(SECOND / 5).await;
    }
    assert!(calls.join_all().await.into_iter().all(|failed| failed));
    let attempts = world.fakes[0].calls();
    assert!(attempts <= 3000 * 112 / 100, "{attempts} attempts of 3000 calls"); // PC15
    let refused = world.chat().call(request()).await.unwrap_err();
    assert!(refused.attempts.iter().any(|report| report.kind == ErrorKind::RetryBudget), "{refused}");
    let bare = ProviderPolicy { budget: None, ..policy };
    let world = World::start(1, 1, bare, retries).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    answered(&world, 100).await;
    assert_eq!(world.fakes[0].calls(), 300, "without one, all retries are made");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_calls_at_once_follows_what_the_provider_carries() {
    let adaptive = Some(AdaptivePolicy { min: 2, max: 64, start: 8 });
    let policy = ProviderPolicy { adaptive, limits: None, breaker: None, ..ProviderPolicy::default() };
    let world = world(ProviderPolicy { max_concurrent: None, ..policy }, ONCE).await;
    let places = || world.desk(0).status(world.system().commons().now()).max_concurrent;
    assert_eq!(places(), Some(8));
    world.fakes[0].next([Act::Fail(ErrorKind::Overloaded)]);
    answered(&world, 1).await;
    assert_eq!(places(), Some(5));
    world.fakes[0].takes(SECOND, Duration::ZERO);
    for _ in 0..100 {
        futures_util::future::join_all((0..5).map(|_| world.chat().call(request()))).await;
        settle().await;
    }
    assert!(places() > Some(5), "{:?}", places());
}

#[tokio::test(start_paused = true)]
async fn a_policy_changes_while_calls_run_and_nothing_that_was_learnt_is_lost() {
    let world = world(ProviderPolicy::default(), ONCE).await;
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    answered(&world, 4).await;
    let breaker = Some(BreakerPolicy { failures: 6, ..BreakerPolicy::default() });
    let policy = ProviderPolicy { breaker, max_concurrent: Some(1), ..ProviderPolicy::default() };
    world.desk(0).adapt(policy).unwrap();
    assert!(world.desk(0).adapt(ProviderPolicy { max_concurrent: Some(0), ..policy }).is_err());
    answered(&world, 1).await;
    assert_eq!(circuit(&world), "closed", "the fifth of six");
    answered(&world, 1).await;
    assert_eq!(circuit(&world), "open"); // GW8
    world.desk(0).close();
    settle().await;
    let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
    assert_eq!(world.chat().targets()[0].admit(Ask::default()).err().unwrap().kind, ErrorKind::Busy);
    drop(held);
    let generous = BudgetPolicy { burst: 7, ..BudgetPolicy::default() };
    world.desk(0).adapt(ProviderPolicy { budget: Some(generous), ..policy }).unwrap();
}
