//! Whole systems: two in one process, one that is dropped, and one that is played twice.

use futures_util::{StreamExt, stream};

use super::*;
use crate::{
    chain::policy::ChainPolicy,
    error::ErrorKind,
    provider::policy::ProviderPolicy,
    testing::{Act, World, request},
};

#[tokio::test(start_paused = true)]
async fn two_systems_in_one_process_do_not_meet() {
    let (one, two) = (workers(1, |_| ()).await.unwrap(), workers(1, |_| ()).await.unwrap());
    one.handles[0].tell(Order::Panic).unwrap();
    one.up_again(0).await; // B17
    assert_eq!((one.life(0), two.life(0)), (2, 1));
    assert!(one.tree.shutdown(SECOND).await.is_clean());
    two.handles[0].tell(Order::Count).unwrap();
    settle().await;
    assert_eq!(two.plans[0].counted.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_system_leaves_no_task_behind() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let workers = workers(3, |_| ()).await.unwrap();
    assert!(metrics.num_alive_tasks() > before);
    drop(workers.tree); // B18
    settle().await;
    assert_eq!(metrics.num_alive_tasks(), before);
    assert_eq!(workers.handles[0].tell(Order::Count).unwrap_err().reason, Obstacle::Down);
}

/// Two seconds in the life of a system under failing providers and crashing actors, as it was told.
async fn story(seed: u64) -> Vec<String> {
    let chain = ChainPolicy { retries: 1, ..ChainPolicy::default() };
    let world = World::start(seed, 3, ProviderPolicy::default(), chain).await.unwrap();
    let mut chance = fastrand::Rng::with_seed(seed);
    for fake in &world.fakes {
        fake.takes(Duration::from_millis(chance.u64(1..20)), Duration::ZERO);
        fake.next((0..200).map(|_| match chance.u8(0..4) {
            0 => Act::Fail(ErrorKind::Overloaded),
            1 => Act::Panic,
            2 => Act::Fail(ErrorKind::RateLimited),
            _ => Act::Answer,
        }));
    }
    let calls = stream::iter(0..200).map(|_| world.chat().call(request())).buffered(8);
    let told = calls.map(|answer| match answer {
        Ok(reply) => format!("{} by {} after {:?}", reply.story.id, reply.story.provider, reply.story.failed),
        Err(error) => error.to_string(),
    });
    let crashes = async {
        for provider in [0, 2, 1, 0] {
            tokio::time::sleep(Duration::from_millis(200)).await;
            world.desk(provider).actor().crash();
        }
    };
    let (mut told, ()) = tokio::join!(told.collect::<Vec<_>>(), crashes);
    tokio::time::sleep(SECOND).await;
    told.extend(world.system().events().recent().iter().map(|event| format!("{event:?}")));
    assert!(told.iter().any(|line| line.contains("ActorRestarting")), "{told:#?}");
    told
}

#[test]
fn one_seed_tells_one_story_and_another_seed_another() {
    // Rule 9: a run of its own each, so that nothing of the first is left for the second.
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(story(seed))
    };
    for seed in 1..=5 {
        assert_eq!(run(seed), run(seed)); // B1: backoffs and all
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn a_runtime_that_is_dropped_takes_everything_along() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let workers = runtime.block_on(workers(3, |_| ())).unwrap();
    let plans = workers.plans.clone();
    drop(runtime); // B18
    assert!(plans.iter().all(|plan| plan.alive.load(Ordering::Relaxed) == 0));
    let handle = workers.handles[0].clone();
    assert!(handle.tell(Order::Count).is_err());
    drop(workers);
    assert_eq!(handle.tell(Order::Count).unwrap_err().reason, Obstacle::Down);
}
