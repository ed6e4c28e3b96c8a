//! What calls pay for asking again, to each provider and overall, and what they never pay for: real actors on virtual
//! time.

use std::time::Duration;

use super::{lane_tests::Lanes, *};
use crate::{
    backoff::{Backoff, Jitter},
    provider::{budget::BudgetPolicy, policy::ProviderPolicy},
    system::{Supervised, SystemBuilder},
    testing::{Act, FakeProvider, VirtualClock, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);
const NOTHING: BudgetPolicy = BudgetPolicy { share: 0.0, floor: 0.0, burst: 0 };
/// Only budgets hold anybody back.
const UNBROKEN: ChainPolicy = ChainPolicy {
    retries: 2,
    backoff: Backoff { min: Duration::from_millis(100), max: SECOND, jitter: Jitter::Full },
    max_attempts: 99,
};

fn bare(budget: Option<BudgetPolicy>) -> ProviderPolicy {
    ProviderPolicy { budget, ..ProviderPolicy::NONE }
}

async fn dead(providers: u8, budget: Option<BudgetPolicy>) -> World {
    let world = World::start(1, providers, bare(budget), UNBROKEN).await.unwrap();
    world.fakes.iter().for_each(|fake| fake.set(Act::Fail(ErrorKind::ServerError)));
    world
}

/// Makes so many calls a second; tells how many were answered.
async fn offer(chat: &Arc<Chain>, rate: u32, calls: u32) -> usize {
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let chat = chat.clone();
        under_way.spawn(async move { chat.call(request()).await.is_ok() });
        tokio::time::sleep(SECOND / rate).await;
    }
    under_way.join_all().await.into_iter().filter(|answered| *answered).count()
}

#[tokio::test(start_paused = true)]
async fn a_total_outage_of_a_whole_chain_costs_its_hops_and_a_tenth_of_its_calls() {
    for (rate, calls, most) in [(5, 3000, 1.12), (50, 6000, 1.1)] {
        for providers in [1, 3] {
            let world = dead(providers, Some(BudgetPolicy::default())).await;
            assert_eq!(offer(world.chat(), rate, calls).await, 0);
            let asked: u64 = world.fakes.iter().map(|fake| fake.calls()).sum();
            let retried = asked as f64 / f64::from(calls) - f64::from(providers);
            assert!(retried <= most - 1.0, "{providers} providers at {rate} rps: {retried}"); // PC15
            assert!(retried >= 0.08, "what is allowed is given: {retried}");
            for fake in &world.fakes {
                assert!(fake.calls() as f64 <= most * f64::from(calls)); // PC15
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_pays_for_a_hop_to_somebody_who_may_answer() {
    let mut builder = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
    builder.retry_budget(Some(NOTHING)).unwrap();
    let (tree, fakes) = pair(builder, bare(Some(NOTHING)), [&["a", "b"], &[]]).await;
    fakes[0].set(Act::Fail(ErrorKind::ServerError));
    assert_eq!(offer(&tree.system().chain("one").unwrap(), 50, 1000).await, 1000); // PC15
    assert_eq!((fakes[0].calls(), fakes[1].calls()), (1000, 1000), "nobody is asked again");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_out_spends_nothing_that_ordinary_failures_of_another_need() {
    let builder = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
    let (tree, fakes) = pair(builder, bare(Some(BudgetPolicy::default())), [&["a"], &["b"]]).await;
    fakes[0].set(Act::Fail(ErrorKind::ServerError));
    let calls = 3000;
    let mut chance = fastrand::Rng::with_seed(1);
    let first = |_| if chance.f64() < 0.05 { Act::Fail(ErrorKind::Reset) } else { Act::Answer };
    fakes[1].next((0..2 * calls).map(first));
    let (out, well) = (tree.system().chain("one").unwrap(), tree.system().chain("two").unwrap());
    let (_, answered) = tokio::join!(offer(&out, 3, calls), offer(&well, 3, calls));
    // Of 150 calls that fail first, less than one gets no retry, and every twentieth retry fails twice more.
    assert!(answered as u32 >= calls - 2, "{answered}"); // PC15
    assert!(fakes[0].calls() > u64::from(calls) * 108 / 100, "and that one spends all it has");
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_a_budget_pays_nothing_and_without_an_overall_one_each_pays_its_own() {
    let world = dead(1, None).await;
    offer(world.chat(), 5, 100).await;
    assert_eq!(world.fakes[0].calls(), 300); // PC1

    let mut builder = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
    builder.retry_budget(None).unwrap();
    let plenty = BudgetPolicy { burst: 1000, ..BudgetPolicy::default() };
    let (tree, fakes) = pair(builder, bare(Some(plenty)), [&["a"], &[]]).await;
    fakes[0].set(Act::Fail(ErrorKind::ServerError));
    offer(&tree.system().chain("one").unwrap(), 5, 100).await;
    assert_eq!(fakes[0].calls(), 300); // PC1
}

#[tokio::test(start_paused = true)]
async fn an_overall_budget_out_of_its_range_is_told() {
    let mut builder = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
    let error = builder.retry_budget(Some(BudgetPolicy { share: 2.0, ..NOTHING })).unwrap_err();
    assert!(error.to_string().contains("retry budget of all providers: `budget.share` must be"), "{error}");
}

/// One place, where a retry comes a second after its failure.
async fn full(max_wait: Duration) -> World {
    let backoff = Backoff { min: SECOND, max: SECOND, jitter: Jitter::Spread(0.0) };
    let policy = ProviderPolicy { max_concurrent: Some(1), max_wait, ..bare(Some(BudgetPolicy::default())) };
    let world =
        World::start(1, 1, policy, ChainPolicy { retries: 1, backoff, max_attempts: 4 }).await.unwrap();
    world.fakes[0].next([Act::Fail(ErrorKind::ServerError)]);
    world
}

/// What is left to pay for retries there, and overall.
fn left(world: &World) -> (Option<u64>, Option<u64>) {
    let now = world.desk(0).now();
    (world.desk(0).budget().left(now), world.system().commons().retries.left(now))
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_not_admitted_costs_nothing() {
    let world = full(Duration::ZERO).await;
    let chat = world.chat().clone();
    let call = tokio::spawn(async move { chat.call(request()).await });
    tokio::time::sleep(SECOND / 2).await;
    let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.attempts.last().unwrap().kind, ErrorKind::Busy);
    assert_eq!(left(&world), (Some(3), Some(10))); // PC15
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_a_retry_is_admitted_has_paid_nothing_and_who_stays_has() {
    for (patience, paid) in [(5, 0), (9, 1)] {
        let world = full(20 * SECOND).await;
        let chat = world.chat().clone();
        let call =
            tokio::spawn(async move { tokio::time::timeout(patience * SECOND, chat.call(request())).await });
        tokio::time::sleep(SECOND / 2).await;
        let held = world.chat().targets()[0].admit(Ask::default()).unwrap();
        tokio::time::sleep(6 * SECOND).await;
        drop(held);
        assert_eq!(call.await.unwrap().is_ok(), paid == 1);
        settle().await;
        let (own, overall) = left(&world);
        assert_eq!((own, world.desk(0).in_flight()), (Some(3 - paid), 0)); // PC3, PC15
        assert!(overall == Some(10) || paid == 1, "{overall:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_do_it_costs_no_attempt_and_stands_in_the_final_error() {
    use Lane::Usual;
    let once = ChainPolicy { retries: 0, max_attempts: 1, ..UNBROKEN };
    let lanes = Lanes::start(&[Usual; 4], ProviderPolicy::default(), once).await;
    lanes.fakes[..3].iter().for_each(|fake| fake.set(Act::Fail(ErrorKind::Unsupported)));
    let chat = lanes.tree.system().chain("chat").unwrap();
    let story = chat.call(request()).await.unwrap().story;
    assert_eq!((&*story.provider, story.attempts(), story.failed.len()), ("d", 1, 3)); // PC14
    lanes.fakes[3].set(Act::Fail(ErrorKind::ServerError));
    let error = chat.call(request()).await.unwrap_err();
    let told: Vec<_> = error.attempts.iter().map(|report| (&*report.provider, report.kind)).collect();
    let cannot = ["a", "b", "c"].map(|name| (name, ErrorKind::Unsupported));
    assert_eq!(told, [&cannot[..], &[("d", ErrorKind::ServerError)]].concat()); // PC2
    assert_eq!((error.kind, error.attempts_made()), (ErrorKind::ServerError, 1));
    lanes.fakes[3].set(Act::Fail(ErrorKind::Unsupported));
    let error = chat.call(request()).await.unwrap_err();
    assert_eq!((error.kind, error.attempts_made(), error.status()), (ErrorKind::Unsupported, 0, 400));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_do_it_has_not_been_asked_as_far_as_circuits_and_limits_go() {
    let world = dead(1, None).await;
    let calls = crate::provider::limiter::LimitPolicy {
        requests: Some((9, 3600 * SECOND)),
        ..crate::provider::limiter::LimitPolicy::default()
    };
    let policy = ProviderPolicy { breaker: Some(Default::default()), limits: Some(calls), ..bare(None) };
    world.desk(0).adapt(policy).unwrap();
    settle().await;
    offer(world.chat(), 1, 2).await;
    let circuit = || world.desk(0).status(world.desk(0).now()).circuit;
    assert_eq!((circuit(), world.fakes[0].calls()), ("open", 5));
    tokio::time::sleep(10 * SECOND).await;
    world.fakes[0].set(Act::Fail(ErrorKind::Unsupported));
    for _ in 0..20 {
        assert_eq!(world.chat().call(request()).await.unwrap_err().kind, ErrorKind::Unsupported);
        settle().await;
        assert_eq!(circuit(), "half_open", "it has not answered");
    }
    world.fakes[0].set(Act::Answer);
    for _ in 0..4 {
        world.chat().call(request()).await.unwrap();
        settle().await;
    }
    let limits = world.desk(0).account().limits(world.desk(0).now());
    assert_eq!(limits[0].used, 9);
}

/// The providers `a` and `b`, and over some of them the chains `one` and `two`.
async fn pair(
    mut builder: SystemBuilder,
    policy: ProviderPolicy,
    chains: [&[&'static str]; 2],
) -> (Supervised, [Arc<FakeProvider>; 2]) {
    let fakes: [Arc<FakeProvider>; 2] = Default::default();
    for (name, fake) in ["a", "b"].into_iter().zip(&fakes) {
        builder.provider(name, fake.clone(), policy).unwrap();
    }
    for (name, targets) in ["one", "two"].into_iter().zip(chains).filter(|(_, targets)| !targets.is_empty()) {
        builder.chain(name, targets.iter().map(|target| (*target, "m")), UNBROKEN).unwrap();
    }
    (builder.start(|_| Ok(Vec::new())).await.unwrap(), fakes)
}
