//! Providers that break in every way at random, callers that leave, and an actor that crashes: when the storm is over,
//! everything is home and the circuit closes.

use std::time::Duration;

use futures_util::StreamExt;

use super::*;
use crate::{
    provider::policy::{ProviderPolicy, Timeouts},
    testing::{Act, Broken, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const LONGEST_OPEN: Duration = Duration::from_secs(120);

fn policy() -> ProviderPolicy {
    let timeouts = Timeouts { total: 20 * SECOND, ..Timeouts::within(5 * SECOND) };
    ProviderPolicy { timeouts: Some(timeouts), ..ProviderPolicy::default() }
}

fn any_act(chance: &mut fastrand::Rng) -> Act {
    let kept = chance.usize(0..6);
    match chance.u32(0..9) {
        0 => Act::Hang,
        1 => Act::Panic,
        2 => Act::Fail(ErrorKind::Malformed),
        3 => Act::Fail(ErrorKind::Reset),
        4 => Act::Break(kept, Broken::Hangs),
        5 => Act::Break(kept, Broken::Panics),
        6 => Act::Break(kept, Broken::Fails(ErrorKind::Reset)),
        7 => Act::Break(kept, Broken::Ends),
        _ => Act::Answer,
    }
}

/// One caller, who leaves when its patience is over.
async fn visit(chat: Arc<Chain>, streams: bool, patience: Duration) {
    let whole = async {
        match streams {
            false => drop(chat.call(request()).await),
            true => {
                if let Ok(frames) = chat.stream(request()).await {
                    drop(frames.collect::<Vec<_>>().await);
                }
            }
        }
    };
    drop(tokio::time::timeout(patience, whole).await);
}

/// Storms with calms between, one call a second or so; tells how often the circuit closed or opened. It ends in a storm.
async fn storms(world: &World, chance: &mut fastrand::Rng) -> usize {
    let mut callers = tokio::task::JoinSet::new();
    let (mut changes, mut last) = (0, true);
    for step in 0..7 * 200 {
        let stormy = step / 200 % 2 == 0;
        world.fakes[0].set(if stormy { any_act(chance) } else { Act::Answer });
        callers.spawn(visit(world.chat().clone(), chance.bool(), chance.u32(1..30_000) * MS));
        if chance.u32(0..100) == 0 {
            world.desk(0).actor().crash();
        }
        tokio::time::sleep(chance.u32(0..2000) * MS).await;
        let usable = world.desk(0).is_usable();
        changes += usize::from(usable != last);
        last = usable;
    }
    callers.join_all().await;
    changes
}

/// How long a healthy provider is kept out while one call a second comes.
async fn closed_again(world: &World) -> Duration {
    let since = world.system().commons().now();
    while !world.desk(0).is_usable() {
        let _ = world.chat().call(request()).await;
        tokio::time::sleep(SECOND).await;
        let passed = world.system().commons().now() - since;
        assert!(passed < 10 * LONGEST_OPEN, "it never closes");
    }
    world.system().commons().now() - since
}

#[tokio::test(start_paused = true)]
async fn after_a_storm_of_every_fault_nothing_is_lost_and_the_circuit_closes_in_time() {
    let mut longest = Duration::ZERO;
    for seed in 0..10 {
        let chain = ChainPolicy { retries: 1, ..ChainPolicy::default() };
        let world = World::start(seed, 1, policy(), chain).await.unwrap();
        let changes = storms(&world, &mut fastrand::Rng::with_seed(seed)).await;
        assert!(changes > 4, "seed {seed}: these were no storms: {changes}");
        world.fakes[0].set(Act::Answer);
        let took = closed_again(&world).await;
        assert!(took <= 2 * LONGEST_OPEN, "seed {seed}: {took:?}"); // PC20
        longest = longest.max(took);
        settle().await;
        let left = (world.desk(0).in_flight(), world.fakes[0].running(), world.desk(0).actor().waiting());
        assert_eq!(left, (0, 0, 0), "seed {seed}"); // PC20
        assert!(world.chat().call(request()).await.is_ok());
        assert!(world.tree.shutdown(SECOND).await.is_clean());
    }
    assert!(longest > LONGEST_OPEN / 4, "no storm left a circuit open for long: {longest:?}");
}
