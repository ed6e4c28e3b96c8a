//! A provider's actor on virtual time: one probe whatever happens, and a circuit that survives its actor.

use std::time::Duration;

use super::{
    admission::Ask,
    policy::{BreakerPolicy, ProviderPolicy},
};
use crate::{
    backoff::{Backoff, Jitter},
    chain::policy::ChainPolicy,
    error::ErrorKind,
    mode::Mode,
    supervision::SlotState,
    testing::{Act, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);

/// Opens after two failures for exactly five seconds, then ten.
fn policy() -> ProviderPolicy {
    let open = Backoff { min: 5 * SECOND, max: 60 * SECOND, jitter: Jitter::Spread(0.0) };
    let breaker = Some(BreakerPolicy { failures: 2, open, probes: 1, ..BreakerPolicy::default() });
    ProviderPolicy { breaker, max_concurrent: Some(2000), ..ProviderPolicy::default() }
}

async fn world(providers: u8) -> World {
    let once = ChainPolicy { retries: 0, ..ChainPolicy::default() };
    World::start(1, providers, policy(), once).await.unwrap()
}

async fn failed_until_open(world: &World) {
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    for _ in 0..2 {
        let _ = world.chat().call(request()).await;
    }
    settle().await;
    assert_eq!(circuit(world), "open");
}

fn circuit(world: &World) -> &'static str {
    world.desk(0).status(world.system().commons().now()).circuit
}

/// The share of calls that pass.
fn share(world: &World) -> Option<u8> {
    world.desk(0).status(world.system().commons().now()).models[0].share
}

fn life(world: &World, path: &str) -> u64 {
    let tree = world.system().tree();
    let actor = tree.find(path).unwrap();
    if actor.state == SlotState::Up { actor.incarnation } else { 0 }
}

async fn crash(world: &World, lives: u64) {
    world.desk(0).actor().crash();
    while life(world, "root/providers/a") != lives {
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_callers_exactly_one_is_the_probe() {
    let world = world(1).await;
    failed_until_open(&world).await;
    world.fakes[0].set(Act::Answer);
    world.fakes[0].takes(SECOND, Duration::ZERO);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(circuit(&world), "half_open");
    let calls = (0..1000).map(|_| world.chat().call(request()));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1); // PC9
    assert_eq!(world.fakes[0].calls(), 3);
    settle().await;
    assert_eq!(share(&world), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_caller_leaves_makes_room_for_the_next_one() {
    let world = world(1).await;
    failed_until_open(&world).await;
    world.fakes[0].set(Act::Answer);
    world.fakes[0].next([Act::Hang]);
    tokio::time::sleep(5 * SECOND).await;
    let leaving = tokio::time::timeout(SECOND, world.chat().call(request()));
    assert!(leaving.await.is_err());
    settle().await;
    assert!(world.chat().call(request()).await.is_ok());
    settle().await;
    assert_eq!(share(&world), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_never_heard_of_again_is_given_up_as_a_lease() {
    let world = world(1).await;
    failed_until_open(&world).await;
    tokio::time::sleep(5 * SECOND).await;
    let lost = world.chat().targets()[0].admit(Ask::default()).unwrap();
    std::mem::forget(lost);
    tokio::time::sleep(3 * 121 * SECOND).await;
    world.fakes[0].set(Act::Answer);
    assert!(world.chat().call(request()).await.is_ok()); // PC9
}

#[tokio::test(start_paused = true)]
async fn a_late_outcome_never_moves_the_circuit() {
    let world = world(1).await;
    let early = world.chat().targets()[0].admit(Ask::default()).unwrap();
    failed_until_open(&world).await;
    let before = world.desk(0).status(world.system().commons().now()).probe_in_ms;
    early.answered();
    tokio::time::sleep(SECOND).await;
    let after = world.desk(0).status(world.system().commons().now()).probe_in_ms;
    assert_eq!((circuit(&world), before.map(|ms| ms - 1000)), ("open", after)); // PC10
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_survives_its_actor_and_opens_for_no_longer() {
    let world = world(2).await;
    failed_until_open(&world).await;
    tokio::time::sleep(2 * SECOND).await;
    crash(&world, 2).await;
    assert_eq!(circuit(&world), "open");
    let asked = world.fakes[0].calls();
    assert_eq!(&*world.chat().call(request()).await.unwrap().story.provider, "b");
    assert_eq!(world.fakes[0].calls(), asked);
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(circuit(&world), "half_open", "three of five seconds were left");
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_crashes_again_and_again_begins_with_a_closed_circuit() {
    let world = world(2).await;
    failed_until_open(&world).await;
    for life in 2..=5 {
        crash(&world, life).await;
        assert_eq!(circuit(&world), "open", "life {life}");
    }
    crash(&world, 6).await;
    settle().await;
    assert_eq!(circuit(&world), "closed"); // B12
    let told = world.system().events().recent();
    assert!(told.iter().any(|event| matches!(event.kind, crate::event::EventKind::VaultReset { .. })));
    assert_eq!(world.system().mode().now(), Mode::Normal);
}

#[tokio::test(start_paused = true)]
async fn the_only_probe_stays_the_only_one_when_the_actor_crashes_under_it() {
    let world = world(1).await;
    failed_until_open(&world).await;
    world.fakes[0].set(Act::Answer);
    world.fakes[0].takes(10 * SECOND, Duration::ZERO);
    tokio::time::sleep(5 * SECOND).await;
    let chat = world.chat().clone();
    let probe = tokio::spawn(async move { chat.call(request()).await.is_ok() });
    tokio::time::sleep(SECOND).await;
    crash(&world, 2).await;
    assert_eq!(world.chat().call(request()).await.unwrap_err().kind, ErrorKind::CircuitOpen);
    assert!(probe.await.unwrap());
    settle().await;
    assert_eq!(share(&world), Some(5));
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_as_published_while_the_actor_is_down() {
    let world = world(1).await;
    world.desk(0).actor().crash();
    settle().await;
    assert_eq!(life(&world, "root/providers/a"), 0, "it waits for its restart");
    for _ in 0..100 {
        assert!(world.chat().call(request()).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn the_mode_tells_who_is_out_why_and_until_when() {
    let world = world(2).await;
    failed_until_open(&world).await;
    let told = world.system().mode().snapshot();
    assert_eq!(told.mode, Mode::Degraded);
    let reason = &told.reasons[0];
    assert_eq!((&*reason.component, reason.cause), ("provider/a", "circuit"));
    let text = "provider a, model m, is out: 2 failures in a row, the last one server_error; one call at a time tries it again";
    assert_eq!(&*reason.text, text);
    assert_eq!(reason.expected_until_unix_ms.unwrap() - reason.since_unix_ms, 5000);
    world.fakes[0].set(Act::Answer);
    tokio::time::sleep(5 * SECOND).await;
    assert!(world.chat().call(request()).await.is_ok());
    settle().await;
    let told = world.system().mode().snapshot();
    assert_eq!(&*told.reasons[0].text, "provider a, model m, is coming back: 5 % of its calls pass");
    tokio::time::sleep(4 * 30 * SECOND).await;
    settle().await;
    assert_eq!(world.system().mode().now(), Mode::Normal);
}
