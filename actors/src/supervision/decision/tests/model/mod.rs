//! Random schedules of faults against a small model of the supervisor: both must decide the same, whatever
//! happens in whatever order, under every policy and of children of every kind.
//!
//! The [`reference`] says what is due, [`lives`] whether what is done makes sense, and the [`world`] lets things
//! happen. A schedule that fails is shortened and printed, and its seed kept in `proptest-regressions`, from where
//! the next run replays it first. Real actors and real waiting are not here.

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, any, prop_oneof, proptest},
    sample::select,
    strategy::{BoxedStrategy, Strategy as Generator},
};

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    clock::SystemClock,
    ports::Clock,
};

mod lives;
mod reference;
mod world;

use world::World;

/// What can happen; whom it happens to is picked among those it can happen to.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A start succeeds.
    Starts(usize),
    /// What starts would rather not.
    Skips(usize),
    /// A crash, a failed start, a kill that took; or it was asked to end and crashed over it.
    Fails(usize),
    /// An end in order, asked for or not.
    Ends(usize),
    Hangs(usize),
    /// A wait is over, of whomever, also much too late.
    Timer(usize),
    /// Something is told of an earlier life.
    OldNews(usize),
    Terminate(usize),
    Revive(usize),
    Delete(usize),
    Add(Role),
    Passing(u64),
    /// All that is under way comes to a good end.
    Peace,
    Shutdown,
}

/// What can happen to children that live and die.
fn lively() -> BoxedStrategy<Happening> {
    let pick = 0usize..60;
    prop_oneof![
        10 => pick.clone().prop_map(Happening::Starts),
        1 => pick.clone().prop_map(Happening::Skips),
        6 => pick.clone().prop_map(Happening::Fails),
        5 => pick.clone().prop_map(Happening::Ends),
        2 => pick.clone().prop_map(Happening::Hangs),
        8 => pick.clone().prop_map(Happening::Timer),
        1 => pick.clone().prop_map(Happening::OldNews),
        3 => pick.clone().prop_map(Happening::Terminate),
        3 => pick.clone().prop_map(Happening::Revive),
        1 => pick.prop_map(Happening::Delete),
        1 => role().prop_map(Happening::Add),
        4 => (0u64..20_000).prop_map(Happening::Passing),
        1 => Just(Happening::Peace),
    ]
    .boxed()
}

/// What can happen to children that block their threads, until that is unbearable.
fn stuck() -> BoxedStrategy<Happening> {
    let pick = 0usize..60;
    prop_oneof![
        5 => pick.clone().prop_map(Happening::Starts),
        5 => pick.clone().prop_map(Happening::Hangs),
        10 => pick.clone().prop_map(Happening::Timer),
        1 => pick.clone().prop_map(Happening::OldNews),
        1 => pick.clone().prop_map(Happening::Terminate),
        1 => pick.prop_map(Happening::Revive),
        1 => (0u64..20_000).prop_map(Happening::Passing),
    ]
    .boxed()
}

/// Printed in one line when it fails.
struct Schedule(Vec<Happening>);

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn schedule() -> impl Generator<Value = Schedule> {
    prop_oneof![6 => vec(lively(), 0..80), 1 => vec(stuck(), 0..160)].prop_map(Schedule)
}

fn policy() -> impl Generator<Value = RestartPolicy> {
    let strategy = select(vec![Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
    let auto_shutdown =
        select(vec![AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]);
    let restarts = prop_oneof![0usize..4, Just(usize::MAX)];
    let in_a_row = select(vec![None, None, Some(1), Some(2)]);
    (strategy, restarts, in_a_row, auto_shutdown, any::<bool>()).prop_map(
        |(strategy, restarts, in_a_row, auto_shutdown, stop_together)| RestartPolicy {
            strategy,
            restarts,
            within: Duration::from_secs(60),
            backoff: Backoff {
                min: Duration::from_secs(1),
                max: Duration::from_secs(5),
                jitter: Jitter::Spread(0.2),
            },
            reset_after: Duration::from_secs(10),
            in_a_row,
            auto_shutdown,
            stop_together,
        },
    )
}

/// A permanent child never ends by itself, so it cannot be significant.
fn role() -> impl Generator<Value = Role> {
    let restart = select(vec![Restart::Permanent, Restart::Transient, Restart::Temporary]);
    (restart, any::<bool>()).prop_map(|(restart, significant)| Role {
        restart,
        significant: significant && restart != Restart::Permanent,
    })
}

proptest! {
    // `PROPTEST_CASES` asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2000)))]

    #[test]
    fn whatever_happens_the_supervisor_decides_as_the_reference_does(
        policy in policy(),
        children in vec((role(), proptest::bool::weighted(0.9)), 0..5),
        before in schedule(),
        after in vec(lively(), 0..40).prop_map(Schedule),
    ) {
        let mut world = World::new(policy, &children);
        before.0.into_iter().for_each(|happening| world.happens(happening)); // B20
        world.happens(Happening::Shutdown);
        after.0.into_iter().for_each(|happening| world.happens(happening));
        world.ends_well();
    }
}
