//! Probes over real actors on virtual time: who is found out without a caller, and what a probe may never decide.

use std::time::Duration;

use super::policy::{BreakerPolicy, ProbePolicy, ProviderPolicy};
use crate::{
    backoff::{Backoff, Jitter},
    chain::policy::ChainPolicy,
    error::ErrorKind,
    testing::{Act, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(30);

/// One provider that can be probed; an open circuit waits for exactly five seconds, then ten, and so on.
async fn world(policy: ProviderPolicy) -> World {
    let open = Backoff { min: 5 * SECOND, max: 120 * SECOND, jitter: Jitter::Spread(0.0) };
    let breaker = policy.breaker.map(|breaker| BreakerPolicy { open, ..breaker });
    let once = ChainPolicy { retries: 0, ..ChainPolicy::default() };
    let world = World::start(1, 1, ProviderPolicy { breaker, ..policy }, once).await.unwrap();
    world.fakes[0].set_probe(None);
    // Its actor looks for a way to probe when it hears of something.
    assert!(call(&world).await);
    world.desk(0).adapt(**world.desk(0).policy()).unwrap();
    settle().await;
    world
}

async fn call(world: &World) -> bool {
    let answered = world.chat().call(request()).await.is_ok();
    settle().await;
    answered
}

fn circuit(world: &World) -> &'static str {
    world.desk(0).status(world.system().commons().now()).circuit
}

async fn failed_until_open(world: &World, kind: ErrorKind) {
    world.fakes[0].set(Act::Fail(kind));
    while circuit(world) == "closed" {
        assert!(!call(world).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_provider_that_dies_is_out_within_two_intervals() {
    for act in [Act::Fail(ErrorKind::Connect), Act::Hang, Act::Panic] {
        let world = world(ProviderPolicy::default()).await;
        tokio::time::sleep(EVERY + SECOND).await;
        assert_eq!((world.fakes[0].probes(), circuit(&world)), (1, "closed"));
        // The worst moment: it has just answered a probe.
        world.fakes[0].set(act);
        tokio::time::sleep(2 * EVERY).await;
        assert_eq!((circuit(&world), world.fakes[0].calls()), ("open", 1), "{act:?}");
        let reason = world.desk(0).status(world.system().commons().now()).reason;
        assert!(reason.contains("5 failures in a row"), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_whose_probe_fails_costs_no_call() {
    let world = world(ProviderPolicy::default()).await;
    failed_until_open(&world, ErrorKind::Connect).await;
    let calls = world.fakes[0].calls();
    for _ in 0..30 * 60 {
        tokio::time::sleep(SECOND).await;
        assert!(!call(&world).await);
    }
    assert_eq!(world.fakes[0].calls(), calls, "calls were risked");
    let probes = world.fakes[0].probes();
    assert!((5..=22).contains(&probes), "{probes} probes in 30 minutes"); // PC11
}

#[tokio::test(start_paused = true)]
async fn after_a_probe_that_went_well_three_calls_decide() {
    let world = world(ProviderPolicy::default()).await;
    failed_until_open(&world, ErrorKind::ServerError).await;
    world.fakes[0].set(Act::Answer);
    tokio::time::sleep(5 * SECOND).await;
    settle().await;
    let status = world.desk(0).status(world.system().commons().now());
    assert_eq!((status.circuit, world.fakes[0].probes()), ("half_open", 1));
    for done in 1..=3 {
        assert!(call(&world).await);
        let share = world.desk(0).status(world.system().commons().now()).models[0].share;
        assert_eq!(share, (done == 3).then_some(5), "after {done} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_that_go_well_never_close_a_circuit_whose_calls_fail() {
    let world = world(ProviderPolicy::default()).await;
    world.fakes[0].set_probe(Some(Act::Answer));
    failed_until_open(&world, ErrorKind::ServerError).await;
    let calls = world.fakes[0].calls();
    for _ in 0..30 * 60 {
        tokio::time::sleep(SECOND).await;
        assert!(!call(&world).await);
        assert_ne!(circuit(&world), "closed"); // PC21
    }
    let risked = world.fakes[0].calls() - calls;
    assert!(risked <= 22, "{risked} calls"); // PC11
    let probes = world.fakes[0].probes();
    assert!(probes >= risked, "{probes} probes, one before each of {risked} calls");
}

#[tokio::test(start_paused = true)]
async fn probes_that_go_well_take_no_failure_back() {
    let world = world(ProviderPolicy::default()).await;
    world.fakes[0].set_probe(Some(Act::Answer));
    world.fakes[0].set(Act::Fail(ErrorKind::Connect));
    for failures in 1..=5 {
        assert_eq!(circuit(&world), "closed", "before failure {failures}");
        call(&world).await;
        tokio::time::sleep(EVERY + SECOND).await;
    }
    assert!(world.fakes[0].probes() >= 4);
    assert_ne!(circuit(&world), "closed"); // PC21
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_asked_is_not_probed() {
    let world = world(ProviderPolicy { limits: None, ..ProviderPolicy::default() }).await;
    for _ in 0..1000 {
        assert!(call(&world).await);
        tokio::time::sleep(SECOND).await;
    }
    let (probes, calls) = (world.fakes[0].probes(), world.fakes[0].calls());
    assert!(probes * 200 <= calls, "{probes} probes in {calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_after_a_call_was_answered_raises_no_suspicion() {
    let world = world(ProviderPolicy::default()).await;
    world.fakes[0].set_probe(Some(Act::Hang));
    tokio::time::sleep(EVERY + SECOND).await;
    assert!(call(&world).await, "while the probe is under way");
    assert_eq!(world.fakes[0].probes(), 1);
    tokio::time::sleep(EVERY - SECOND).await;
    assert_eq!(world.fakes[0].probes(), 1, "it is not idle"); // PC21
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.fakes[0].probes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_not_be_used_for_probes_takes_nobody_out() {
    for kind in [ErrorKind::Auth, ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::RateLimited] {
        let world = world(ProviderPolicy::default()).await;
        world.fakes[0].set_probe(Some(Act::Fail(kind)));
        tokio::time::sleep(10 * EVERY).await;
        assert_eq!(circuit(&world), "closed", "{kind}");
        assert!((9..=10).contains(&world.fakes[0].probes()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_takes_no_place_and_nothing_of_a_limit() {
    let limits = super::limiter::LimitPolicy { requests: Some((2, 3600 * SECOND)), ..Default::default() };
    let policy =
        ProviderPolicy { max_concurrent: Some(1), limits: Some(limits), ..ProviderPolicy::default() };
    let world = world(policy).await;
    world.fakes[0].set_probe(Some(Act::Hang));
    tokio::time::sleep(EVERY + SECOND).await;
    assert_eq!((world.fakes[0].running(), world.desk(0).in_flight()), (1, 0));
    assert!(call(&world).await, "the second of two calls an hour");
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_the_probe_under_way_and_the_next_life_asks_again() {
    let world = world(ProviderPolicy::default()).await;
    failed_until_open(&world, ErrorKind::ServerError).await;
    world.fakes[0].set(Act::Hang);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((world.fakes[0].probes(), world.fakes[0].running()), (1, 1));
    world.desk(0).actor().crash();
    tokio::time::sleep(SECOND).await;
    assert_eq!((world.fakes[0].probes(), world.fakes[0].running(), circuit(&world)), (2, 1, "open"));
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(
        (world.fakes[0].running(), circuit(&world)),
        (0, "open"),
        "cut at its timeout, and out for longer"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_turns_probes_off_has_none() {
    let slow = ProbePolicy { every: SECOND, timeout: SECOND };
    let breaker = Some(BreakerPolicy::default());
    for (policy, probed) in [
        (ProviderPolicy { probe: None, ..ProviderPolicy::default() }, false),
        (ProviderPolicy { probe: Some(slow), ..ProviderPolicy::NONE }, false), // PC1
        (ProviderPolicy { probe: Some(slow), breaker, ..ProviderPolicy::NONE }, true),
    ] {
        let world = world(policy).await;
        tokio::time::sleep(10 * EVERY).await;
        assert_eq!(world.fakes[0].probes() > 0, probed, "{policy:?}");
    }
}
