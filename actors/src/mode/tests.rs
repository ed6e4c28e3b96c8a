//! Subscribers of every kind on virtual time: slow, nested, dying; the latest mode always arrives.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{
    Mode, ModeChange, ModeHandle,
    board::{Concern, Health, Reporter},
};
use crate::{
    chain::policy::ChainPolicy,
    event::Heard,
    provider::policy::ProviderPolicy,
    testing::{World, settle},
};

const SECOND: Duration = Duration::from_secs(1);

async fn world() -> World {
    World::start(1, 1, ProviderPolicy::default(), ChainPolicy::default()).await.unwrap()
}

fn reporter(world: &World, name: &str) -> Reporter {
    world.system().commons().health.reporter(&name.into(), "test", Concern::Own)
}

/// Reports the `n`-th change: every second one says that all is well.
fn flip(reporter: &Reporter, n: u64) {
    if n.is_multiple_of(2) {
        reporter.report(Health::Degraded, &format!("trouble {n}"), None)
    } else {
        reporter.clear()
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_reports_and_subscribes_from_inside_is_told_a_hundred_times() {
    let world = world().await;
    let began = world.system().commons().now();
    let (mode, own) = (world.system().mode().clone(), reporter(&world, "nested"));
    let mut changes = pin!(mode.changes());
    let mut heard = 0;
    while let Some(Heard::Item(_)) = changes.next().await
        && heard < 100
    {
        flip(&own, heard);
        drop((mode.changes(), mode.watch()));
        heard += 1;
    }
    assert_eq!(heard, 100); // MO1
    assert!(world.system().commons().now() - began < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_subscriber_delays_nobody_and_learns_what_it_missed() {
    let world = world().await;
    let mode = world.system().mode().clone();
    let asleep = tokio::spawn({
        let mode = mode.clone();
        async move {
            let mut changes = pin!(mode.changes());
            let first = changes.next().await;
            tokio::time::sleep(10 * SECOND).await;
            let (mut epochs, mut missed) = (vec![], 0);
            let Some(Heard::Item(snapshot)) = first else { panic!("the present comes first") };
            epochs.push(snapshot.epoch);
            while epochs.last() != Some(&mode.snapshot().epoch) {
                match changes.next().await.unwrap() {
                    Heard::Item(snapshot) => epochs.push(snapshot.epoch),
                    Heard::Gap(count) => missed += count,
                }
            }
            (epochs, missed)
        }
    });
    settle().await;
    let (own, mut awake) = (reporter(&world, "busy"), mode.watch());
    for n in 0..1000 {
        let before = world.system().commons().now();
        flip(&own, n);
        awake.changed().await.unwrap();
        assert_eq!(world.system().commons().now(), before, "nobody waits for the sleeper"); // MO4
    }
    let (epochs, missed) = asleep.await.unwrap();
    assert!(epochs.is_sorted_by(|a, b| a < b), "strictly increasing: {epochs:?}");
    assert_eq!(epochs.len() as u64 + missed, 1001, "what is missing is told");
    assert_eq!(epochs.last(), Some(&1000), "the latest always arrives"); // B15
}

/// An actor that takes ten seconds over each change.
struct Slow;

struct Changed(ModeChange);

#[cfg(feature = "ractor-cluster")]
impl ractor::Message for Changed {}

impl From<ModeChange> for Changed {
    fn from(change: ModeChange) -> Self {
        Self(change)
    }
}

type Log = Arc<Mutex<Vec<(u64, u64)>>>;

#[cfg_attr(feature = "ractor-async-trait", ractor::async_trait)]
impl Actor for Slow {
    type Msg = Changed;
    type State = Log;
    type Arguments = Log;

    async fn pre_start(&self, _: ActorRef<Changed>, log: Log) -> Result<Log, ActorProcessingErr> {
        Ok(log)
    }

    async fn handle(
        &self,
        _: ActorRef<Changed>,
        Changed(change): Changed,
        log: &mut Log,
    ) -> Result<(), ActorProcessingErr> {
        tokio::time::sleep(10 * SECOND).await;
        log.lock().unwrap().push((change.snapshot.epoch, change.missed));
        Ok(())
    }
}

async fn slow_actor(mode: &ModeHandle) -> (ActorRef<Changed>, Log) {
    let log = Log::default();
    let (actor, _) = Actor::spawn(None, Slow, log.clone()).await.unwrap();
    mode.subscribe(actor.clone());
    settle().await;
    (actor, log)
}

#[tokio::test(start_paused = true)]
async fn a_slow_actor_holds_few_messages_and_ends_with_the_latest() {
    let world = world().await;
    let (actor, log) = slow_actor(world.system().mode()).await;
    let own = reporter(&world, "busy");
    for n in 0..1001 {
        flip(&own, n);
        settle().await;
    }
    tokio::time::sleep(2000 * SECOND).await;
    let log = log.lock().unwrap().clone();
    assert!(log.len() < 100, "its mailbox is bounded: {} changes", log.len());
    assert!(log.is_sorted_by(|a, b| a.0 < b.0), "{log:?}");
    assert_eq!(log.len() as u64 + log.iter().map(|(_, missed)| missed).sum::<u64>(), 1002); // MO4
    assert_eq!(log.last().unwrap().0, world.system().mode().snapshot().epoch);
    actor.stop(None);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_dies_takes_its_subscription_along() {
    let world = world().await;
    let tasks = world.system().commons().tasks.len();
    let (actor, _) = slow_actor(world.system().mode()).await;
    assert_eq!(world.system().commons().tasks.len(), tasks + 1);
    actor.kill();
    settle().await;
    assert_eq!(world.system().commons().tasks.len(), tasks);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_crashes_leaves_its_word_and_its_next_life_knows_all() {
    let world = world().await;
    let (mode, own) = (world.system().mode(), reporter(&world, "one"));
    own.report(Health::Failed, "it burns", None);
    settle().await;
    assert_eq!(mode.now(), Mode::Emergency);
    world.system().commons().health.manager().unwrap().crash();
    settle().await;
    assert_eq!(mode.now(), Mode::Emergency, "readable while it is down"); // MO11
    own.clear();
    reporter(&world, "two").report(Health::Degraded, "it smokes", None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(mode.now(), Mode::Normal, "a reporter that is gone takes its row along");
}

#[tokio::test(start_paused = true)]
async fn a_million_reports_leave_one_row() {
    let world = world().await;
    let own = reporter(&world, "chatty");
    settle().await;
    let rows = world.system().commons().health.rows().len();
    for n in 0..1_000_000 {
        flip(&own, n);
        if n.is_multiple_of(100_000) {
            settle().await;
        }
    }
    settle().await;
    assert_eq!(world.system().commons().health.rows().len(), rows); // MO6
    assert_eq!(world.system().mode().now(), Mode::Normal);
}
