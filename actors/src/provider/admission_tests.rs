//! Who waits to be admitted holds nothing meanwhile, and who leaves leaves nothing behind.

use super::*;
use crate::{
    chain::policy::ChainPolicy,
    provider::{limiter::LimitPolicy, policy::ProviderPolicy},
    testing::{World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// One provider with so many places, and so many calls in any 10 seconds; callers have time.
async fn narrow(places: usize, calls: u32) -> World {
    let limits = LimitPolicy { requests: Some((calls, 10 * SECOND)), ..LimitPolicy::default() };
    let policy = ProviderPolicy {
        max_concurrent: Some(places),
        limits: Some(limits),
        max_wait: 20 * SECOND,
        ..ProviderPolicy::default()
    };
    let chain = ChainPolicy { retries: 0, ..ChainPolicy::default() };
    World::start(1, 1, policy, chain).await.unwrap()
}

/// How much of its own limit the provider has used, and how many attempts run there.
fn used(world: &World) -> (u64, usize) {
    let desk = world.desk(0);
    (desk.account().limits(desk.now())[0].used, desk.in_flight())
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_limit_holds_no_place() {
    let world = narrow(1, 1).await;
    world.chat().call(request()).await.unwrap();
    let waiting = tokio::spawn({
        let chat = world.chat().clone();
        async move { chat.call(request()).await.is_ok() }
    });
    tokio::time::sleep(5 * SECOND).await;
    assert!(!waiting.is_finished());
    assert_eq!(used(&world), (1, 0));
    assert!(waiting.await.unwrap());
    assert_eq!(world.fakes[0].calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_holds_nothing_of_the_limits() {
    let world = narrow(1, 2).await;
    let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
    let waiting = tokio::spawn({
        let chat = world.chat().clone();
        async move { chat.call(request()).await.is_ok() }
    });
    tokio::time::sleep(SECOND).await;
    assert_eq!((used(&world), world.desk(0).status(world.desk(0).now()).waiting), ((1, 1), 1));
    drop(held);
    assert!(waiting.await.unwrap());
    settle().await;
    assert_eq!(used(&world), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_comes_when_the_limit_is_used_up_is_left_to_others() {
    let world = narrow(2, 3).await;
    let held = [(); 2].map(|()| world.chat().targets()[0].admit(Ask::default()).unwrap());
    world.fakes[0].takes(SECOND, Duration::ZERO);
    let calls = [(); 2].map(|()| {
        let chat = world.chat().clone();
        tokio::spawn(async move { chat.call(request()).await.is_ok() })
    });
    settle().await;
    drop(held);
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!((used(&world), world.fakes[0].calls()), ((3, 0), 1));
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(world.fakes[0].calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_needs_both_gets_both_however_often_they_come_and_go() {
    let world = narrow(1, 1).await;
    let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
    let since = world.desk(0).now();
    let waiting = tokio::spawn({
        let (chat, commons) = (world.chat().clone(), world.system().commons().clone());
        async move { (chat.call(request()).await.is_ok(), commons.now()) }
    });
    tokio::time::sleep(10 * SECOND + 500 * MS).await;
    assert_eq!(used(&world), (0, 1), "the limit is free again, and the place is not");
    drop(held);
    let (answered, at) = waiting.await.unwrap();
    assert!(answered && at < since + 11 * SECOND, "{:?}", at - since);
}

#[tokio::test(start_paused = true)]
async fn who_waits_past_its_deadline_is_dropped_unserved() {
    let world = narrow(1, 9).await;
    let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
    let since = world.desk(0).now();
    let error = world.chat().call(request().timeout(3 * SECOND)).await.unwrap_err();
    assert_eq!((error.attempts_made(), world.desk(0).now() - since), (0, 3 * SECOND)); // PC16
    drop(held);
    settle().await;
    assert_eq!((world.fakes[0].calls(), used(&world).1), (0, 0)); // PC16
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_takes_nothing_of_limits_and_places_and_so_does_a_full_bulkhead() {
    let world = narrow(1, 1000).await;
    let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
    for _ in 0..1000 {
        let refused = world.chat().targets()[0].admit(Ask::default()).err().unwrap();
        assert_eq!(refused.kind, ErrorKind::Busy);
    }
    settle().await;
    assert_eq!((used(&world), world.desk(0).is_usable()), ((1, 1), true)); // PC5
    world.desk(0).isolate(None, "the test wants it");
    settle().await;
    drop(held);
    for _ in 0..1000 {
        let refused = world.chat().targets()[0].admit(Ask::default()).err().unwrap();
        assert_eq!((refused.kind, used(&world)), (ErrorKind::Isolated, (1, 0))); // PC6
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_that_leave_while_they_wait_leave_nothing_behind() {
    const CALLERS: usize = 10_000;
    let mut chance = fastrand::Rng::with_seed(7);
    let world = narrow(1, 3).await;
    world.fakes[0].takes(700 * MS, 300 * MS);
    let mut left = 0;
    for callers in (0..CALLERS).step_by(4) {
        let visits = (callers..callers + 4).map(|n| {
            let (chat, patience) = (world.chat().clone(), chance.u32(0..12_000) * MS);
            let call = async move {
                if n % 2 == 0 { drop(chat.call(request()).await) } else { drop(chat.stream(request()).await) }
            };
            tokio::time::timeout(patience, call)
        });
        left += futures_util::future::join_all(visits).await.iter().filter(|visit| visit.is_err()).count();
    }
    assert!(left > CALLERS / 3 && left < CALLERS, "{left} left early");
    settle().await;
    let status = world.desk(0).status(world.desk(0).now());
    assert_eq!((status.in_flight, status.waiting, world.fakes[0].running()), (0, 0, 0)); // PC3
    assert!(used(&world).0 <= 3);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(used(&world), (0, 0)); // PC3
    assert!(world.desk(0).is_usable() && world.chat().call(request()).await.is_ok());
}
