//! The ready-made composite over real actors: each of its numbers, and its fallback.

use std::time::Duration;

use super::*;
use crate::{
    provider::policy::ProviderPolicy,
    testing::{Act, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);

/// As an operator gets it who sets nothing else.
async fn world(providers: u8) -> World {
    World::start(1, providers, ProviderPolicy::composite(), ChainPolicy::default()).await.unwrap()
}

async fn answered_by(world: &World) -> Result<String, ErrorKind> {
    let answer = world.chat().call(request()).await;
    answer.map(|reply| reply.story.provider.to_string()).map_err(|error| error.kind)
}

#[tokio::test(start_paused = true)]
async fn the_composite_tries_a_failing_call_twice_again() {
    let world = world(1).await;
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    let error = world.chat().call(request()).await.unwrap_err();
    assert_eq!((error.attempts_made(), world.fakes[0].calls()), (1 + 2, 3)); // PC23
}

#[tokio::test(start_paused = true)]
async fn the_composite_opens_the_circuit_at_the_fifth_failure_in_a_row() {
    let world = world(2).await;
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    for failures in 1..=5 {
        assert!(world.desk(0).is_usable(), "after {} failures", failures - 1);
        assert_eq!(answered_by(&world).await.as_deref(), Ok("b"), "the fallback answers"); // PC23
        settle().await;
        assert_eq!(world.fakes[0].calls(), failures);
    }
    assert!(!world.desk(0).is_usable()); // PC23
}

#[tokio::test(start_paused = true)]
async fn the_composite_lets_twenty_calls_run_at_once_and_the_next_one_falls_over() {
    let world = world(2).await;
    world.fakes[0].takes(SECOND, Duration::ZERO);
    let calls = futures_util::future::join_all((0..21).map(|_| answered_by(&world))).await;
    let by_a = calls.iter().filter(|by| by.as_deref() == Ok("a")).count();
    let by_b = calls.iter().filter(|by| by.as_deref() == Ok("b")).count();
    assert_eq!((by_a, by_b), (20, 1)); // PC23
}

#[tokio::test(start_paused = true)]
async fn the_composite_ends_an_attempt_after_ten_seconds() {
    let world = world(2).await;
    world.fakes[0].set(Act::Hang);
    let since = world.system().commons().now();
    let story = world.chat().call(request()).await.unwrap().story;
    assert_eq!((&*story.provider, story.failed[0].kind), ("b", ErrorKind::TotalTimeout));
    assert_eq!(world.system().commons().now() - since, 10 * SECOND); // PC23
}

#[tokio::test(start_paused = true)]
async fn the_composite_asks_a_hundred_times_in_any_sixty_seconds() {
    let world = world(2).await;
    for _ in 0..100 {
        assert_eq!(answered_by(&world).await.as_deref(), Ok("a"));
    }
    assert_eq!(answered_by(&world).await.as_deref(), Ok("b")); // PC23
    tokio::time::sleep(59 * SECOND).await;
    assert_eq!(answered_by(&world).await.as_deref(), Ok("b"));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(answered_by(&world).await.as_deref(), Ok("a"));
    assert_eq!(world.fakes[0].calls(), 101); // PC23
}
