//! Changes over a whole system on virtual time: calls go on, and nothing that was learnt is lost.

use std::{sync::Arc, time::Duration};

use super::Replacement;
use crate::{
    backoff::{Backoff, Jitter},
    chain::{Chain, policy::ChainPolicy},
    error::ErrorKind,
    mode::Mode,
    ports::Provider,
    provider::{
        ProviderDesk,
        breaker::State,
        budget::BudgetPolicy,
        limiter::LimitPolicy,
        policy::{BreakerPolicy, ProviderPolicy},
    },
    testing::{Act, FakeProvider, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const ONCE: ChainPolicy = ChainPolicy {
    retries: 0,
    backoff: Backoff { min: SECOND, max: SECOND, jitter: Jitter::Spread(0.0) },
    max_attempts: 4,
};

/// A change that keeps `names` under `policy`, with one chain `chat` over `targets`.
fn keeping(world: &World, names: &[&str], policy: ProviderPolicy, targets: &[(&str, &str)]) -> super::Change {
    let mut change = world.tree.change();
    for name in names {
        change.keep(world.system().provider(name).unwrap(), policy, None).unwrap();
    }
    change.chain("chat", targets.iter().copied(), ONCE).unwrap();
    change
}

fn chat(world: &World) -> Arc<Chain> {
    world.system().chain("chat").unwrap()
}

fn fake() -> (Arc<FakeProvider>, Arc<dyn Provider>) {
    let fake = Arc::new(FakeProvider::default());
    (fake.clone(), fake)
}

async fn moved(world: &World, adapter: Arc<dyn Provider>) {
    let mut change = world.tree.change();
    let other = Replacement { adapter, moved: true };
    change.keep(world.desk(0).clone(), ProviderPolicy::default(), Some(other)).unwrap();
    change.chain("chat", [("a", "m")], ONCE).unwrap();
    change.apply().await.unwrap();
    settle().await;
}

fn children(world: &World) -> Vec<String> {
    let tree = world.system().tree();
    let providers = tree.find("root/providers").unwrap();
    providers.children.iter().map(|child| format!("{} {:?}", child.path, child.state)).collect()
}

fn used(desk: &ProviderDesk, world: &World) -> u64 {
    let limits = desk.account().limits(world.system().commons().now());
    limits.iter().map(|limit| limit.used).sum()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_changes_under_load_fail_no_call_and_lose_nothing_that_was_learnt() {
    let breaker = Some(BreakerPolicy {
        open: Backoff { min: 600 * SECOND, max: 600 * SECOND, jitter: Jitter::Spread(0.0) },
        ..BreakerPolicy::default()
    });
    let limits = Some(LimitPolicy { requests: Some((100_000, 3600 * SECOND)), ..LimitPolicy::default() });
    let one = ProviderPolicy { breaker, limits, max_concurrent: None, ..ProviderPolicy::default() };
    let other = ProviderPolicy {
        budget: Some(BudgetPolicy { burst: 30, ..BudgetPolicy::default() }),
        max_concurrent: Some(500),
        ..one
    };
    let world = World::start(1, 2, one, ONCE).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    for _ in 0..5 {
        chat(&world).call(request()).await.unwrap();
        settle().await;
    }
    let a = world.desk(0).clone();
    let open = a.models()[0].state();
    assert!(matches!(open, State::Open { .. }), "{open:?}");
    world.fakes[1].takes(SECOND / 10, SECOND / 50);
    let mut calls = tokio::task::JoinSet::new();
    for round in 0..100 {
        for n in 0..8 {
            let chat = chat(&world);
            calls.spawn(async move {
                tokio::time::sleep(n * SECOND / 80).await;
                chat.call(request()).await.is_ok()
            });
        }
        let change = if round % 2 == 0 {
            let mut change = keeping(&world, &["a", "b"], other, &[("b", "m"), ("a", "m")]);
            change.provider("c", fake().1, one).unwrap();
            change.chain("further", [("c", "m")], ONCE).unwrap();
            change
        } else {
            keeping(&world, &["a", "b"], one, &[("a", "m"), ("b", "m")])
        };
        change.apply().await.unwrap();
        tokio::time::sleep(SECOND / 20).await;
        let status = a.status(world.system().commons().now());
        assert_eq!((status.max_concurrent.is_some(), a.models()[0].state()), (round % 2 == 0, open));
        assert_eq!(children(&world).len(), if round % 2 == 0 { 3 } else { 2 }, "{:?}", children(&world));
    }
    let answered = calls.join_all().await;
    assert_eq!((answered.len(), answered.iter().filter(|ok| !**ok).count()), (800, 0)); // GW8
    assert_eq!(a.models()[0].state(), open, "the same remaining time"); // GW8
    assert_eq!((used(&a, &world), used(world.desk(1), &world)), (5, 805)); // GW8
    assert_eq!(world.desk(1).status(world.system().commons().now()).answered, 805);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_ends_on_the_chain_and_through_the_adapters_it_began_with() {
    let world = World::start(1, 2, ProviderPolicy::default(), ONCE).await.unwrap();
    world.fakes[0].takes(SECOND, Duration::ZERO);
    world.fakes[0].next([Act::Fail(ErrorKind::ServerError)]);
    let before = chat(&world);
    let under_way = tokio::spawn(async move { before.call(request()).await });
    settle().await;
    let (new, adapter) = fake();
    let mut change = world.tree.change();
    let other = Replacement { adapter, moved: false };
    change.keep(world.desk(0).clone(), ProviderPolicy::default(), Some(other)).unwrap();
    change.chain("chat", [("a", "other")], ONCE).unwrap();
    change.apply().await.unwrap();
    assert_eq!(children(&world), ["root/providers/a Up"]);
    let story = under_way.await.unwrap().unwrap().story;
    assert_eq!((&*story.provider, &*story.model, world.fakes[0].calls()), ("b", "m", 1)); // GW8
    let story = chat(&world).call(request()).await.unwrap().story;
    assert_eq!((&*story.model, new.calls(), world.fakes[0].calls()), ("other", 1, 1));
}

#[tokio::test(start_paused = true)]
async fn another_key_ends_the_isolation_and_a_late_refusal_of_the_old_one_does_not_bring_it_back() {
    let world = World::start(1, 1, ProviderPolicy::default(), ONCE).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::Auth));
    world.fakes[0].takes(SECOND, Duration::ZERO);
    let late = chat(&world);
    let late = tokio::spawn(async move { late.call(request()).await });
    settle().await;
    world.fakes[0].takes(Duration::ZERO, Duration::ZERO);
    chat(&world).call(request()).await.unwrap_err();
    settle().await;
    let state = || world.desk(0).account().state();
    assert!(matches!(state(), State::Isolated { until: Some(_) }));
    moved(&world, fake().1).await;
    assert_eq!(state(), State::Closed); // GW8
    late.await.unwrap().unwrap_err();
    settle().await;
    assert_eq!(state(), State::Closed);
    chat(&world).call(request()).await.unwrap();
    world.desk(0).isolate(None, "an operator wants it out");
    settle().await;
    moved(&world, fake().1).await;
    assert_eq!(state(), State::Isolated { until: None }, "somebody wants it so");
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_a_providers_actor_is_down_holds_when_it_is_back() {
    let breaker = Some(BreakerPolicy { failures: 2, ..BreakerPolicy::default() });
    let world = World::start(1, 1, ProviderPolicy::default(), ONCE).await.unwrap();
    world.desk(0).actor().crash();
    settle().await;
    let policy = ProviderPolicy { breaker, max_concurrent: Some(3), ..ProviderPolicy::default() };
    keeping(&world, &["a"], policy, &[("a", "m")]).apply().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let status = world.desk(0).status(world.system().commons().now());
    assert_eq!(status.max_concurrent, Some(3)); // GW8
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    for _ in 0..2 {
        chat(&world).call(request()).await.unwrap_err();
        settle().await;
    }
    assert!(matches!(world.desk(0).models()[0].state(), State::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn without_a_breaker_calls_pass_again_what_it_had_shut_but_not_an_operator() {
    let world = World::start(1, 1, ProviderPolicy::default(), ONCE).await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    for _ in 0..5 {
        chat(&world).call(request()).await.unwrap_err();
        settle().await;
    }
    assert!(matches!(world.desk(0).models()[0].state(), State::Open { .. }));
    let policy = ProviderPolicy { breaker: None, ..ProviderPolicy::default() };
    keeping(&world, &["a"], policy, &[("a", "m")]).apply().await.unwrap();
    settle().await;
    for calls in 6..20 {
        assert_eq!(chat(&world).call(request()).await.unwrap_err().kind, ErrorKind::ServerError);
        assert_eq!(world.fakes[0].calls(), calls, "every call is risked"); // PC1
    }
    world.desk(0).isolate(None, "an operator wants it out");
    settle().await;
    keeping(&world, &["a"], ProviderPolicy { max_concurrent: None, ..policy }, &[("a", "m")])
        .apply()
        .await
        .unwrap();
    settle().await;
    assert_eq!(world.desk(0).account().state(), State::Isolated { until: None });
    world.desk(0).close();
    world.desk(0).isolate(Some(SECOND), "for a moment");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.desk(0).account().state(), State::Closed, "nobody tries it out");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_no_chain_asks_for_any_more_is_no_trouble_and_comes_back_as_it_was() {
    let world = World::start(1, 1, ProviderPolicy::default(), ONCE).await.unwrap();
    let policy = ProviderPolicy::default();
    keeping(&world, &["a"], policy, &[("a", "m"), ("a", "n")]).apply().await.unwrap();
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    for _ in 0..5 {
        let _ = world.chat().call(request()).await;
        settle().await;
    }
    assert_eq!(world.system().mode().now(), Mode::Degraded);
    let open = world.desk(0).model("m").state();
    keeping(&world, &["a"], policy, &[("a", "n")]).apply().await.unwrap();
    settle().await;
    assert_eq!((world.system().mode().now(), world.desk(0).models().len()), (Mode::Normal, 1));
    keeping(&world, &["a"], policy, &[("a", "m"), ("a", "n")]).apply().await.unwrap();
    settle().await;
    assert_eq!((world.system().mode().now(), world.desk(0).model("m").state()), (Mode::Degraded, open)); // GW8
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_gone_takes_its_trouble_along_and_may_come_back_new() {
    let world = World::start(1, 2, ProviderPolicy::default(), ONCE).await.unwrap();
    for _ in 0..3 {
        let policy = ProviderPolicy::default();
        let mut change = keeping(&world, &["b"], policy, &[("b", "m")]);
        let (new, adapter) = fake();
        new.set(Act::Fail(ErrorKind::Auth));
        if world.system().provider("a").is_some() {
            change.apply().await.unwrap();
            change = keeping(&world, &["b"], policy, &[("b", "m")]);
        }
        change.provider("a", adapter, policy).unwrap();
        change.chain("other", [("a", "m")], ONCE).unwrap();
        change.apply().await.unwrap();
        let other = world.system().chain("other").unwrap();
        other.call(request()).await.unwrap_err();
        settle().await;
        assert_eq!(world.system().mode().now(), Mode::Degraded);
        keeping(&world, &["b"], policy, &[("b", "m")]).apply().await.unwrap();
        settle().await;
        assert_eq!(
            (world.system().mode().now(), children(&world)),
            (Mode::Normal, vec!["root/providers/b Up".into()])
        );
        assert_eq!(other.call(request()).await.unwrap_err().kind, ErrorKind::Isolated, "who kept the chain");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_wrong_or_dropped_changes_nothing() {
    let world = World::start(1, 2, ProviderPolicy::default(), ONCE).await.unwrap();
    let wrong = ProviderPolicy { max_concurrent: Some(0), ..ProviderPolicy::default() };
    let mut change = world.tree.change();
    assert!(change.keep(world.desk(0).clone(), wrong, None).is_err());
    assert!(change.provider("b", fake().1, ProviderPolicy::default()).is_err(), "it is there already");
    assert!(change.chain("chat", [("b", "m")], ONCE).is_err(), "nobody said that b stays");
    change.provider("c", fake().1, ProviderPolicy::default()).unwrap();
    drop(change);
    settle().await;
    assert!(Arc::ptr_eq(&chat(&world), world.chat()));
    assert_eq!(children(&world), ["root/providers/a Up", "root/providers/b Up"]);
    let rows = world.system().commons().health.rows();
    assert!(!rows.iter().any(|row| row.component.ends_with("/c")), "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn the_providers_supervisor_comes_back_with_those_that_there_are_now() {
    let world = World::start(1, 2, ProviderPolicy::default(), ONCE).await.unwrap();
    let mut change = keeping(&world, &["b"], ProviderPolicy::default(), &[("b", "m")]);
    change.provider("c", fake().1, ProviderPolicy::default()).unwrap();
    change.apply().await.unwrap();
    world.system().actors().supervisor().crash();
    tokio::time::sleep(SECOND).await;
    assert_eq!(children(&world), ["root/providers/b Up", "root/providers/c Up"]); // GW8
    keeping(&world, &["b"], ProviderPolicy::default(), &[("b", "m")]).apply().await.unwrap();
    assert_eq!(children(&world), ["root/providers/b Up"]);
}
