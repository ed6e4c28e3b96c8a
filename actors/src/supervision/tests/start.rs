//! How a tree comes up, and what becomes of a child that does not start.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failing_first_start_stops_what_was_started_in_reverse_and_leaves_nothing_behind() {
    let metrics = tokio::runtime::Handle::current().metrics();
    for (failures, told) in [(1, "root/crew/2: failed: no start"), (2, "root/crew/2: panicked: no start")] {
        let before = metrics.num_alive_tasks();
        let plans = std::sync::Mutex::new(Vec::new());
        let started = workers(3, |of| {
            of[2].failing_starts.store(failures, Ordering::Relaxed);
            *plans.lock().unwrap() = of.to_vec();
        });
        let error = started.await.err().unwrap();
        let StartError::NotStarted(exit) = error else { panic!("{error}") };
        assert!(exit.to_string().contains(told), "{exit}"); // S5
        let plans = plans.into_inner().unwrap();
        let order = ["1 cleans up", "1 is clean", "0 cleans up", "0 is clean"];
        assert_eq!(plans[0].log.lines(), order, "who had not started has nothing to clean up");
        settle().await;
        assert!(plans.iter().all(|plan| plan.alive.load(Ordering::Relaxed) == 0)); // S4
        assert_eq!(metrics.num_alive_tasks(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_first_start_kills_at_once_what_is_to_end_brutally() {
    let log = std::sync::Mutex::new(Log::default());
    let fails = |plans: &[Arc<Plan>]| {
        plans[1].failing_starts.store(1, Ordering::Relaxed);
        *log.lock().unwrap() = plans[0].log.clone();
    };
    let brutal = |spec: ChildSpec| spec.shutdown(Shutdown::Brutal);
    assert!(workers_under(RestartPolicy::default(), 2, fails, brutal).await.is_err());
    assert_eq!(log.into_inner().unwrap().lines(), [""; 0]); // P3
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_given_up_while_the_others_are_looked_after() {
    let workers = workers(2, |_| ()).await.unwrap();
    workers.plans[0].slow_start.store(3600, Ordering::Relaxed);
    workers.handles[0].tell(Order::Panic).unwrap();
    tokio::time::sleep(SECOND).await;
    workers.handles[1].tell(Order::Panic).unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(workers.life(1), 2, "a hanging sibling blocks nobody"); // S10
    tokio::time::sleep(10 * SECOND).await;
    let too_late = Exit::Failed("did not start within 10s".into());
    assert_eq!(workers.last_exit(0), Some(too_late.clone()));
    workers.plans[0].slow_start.store(0, Ordering::Relaxed);
    workers.up_again(0).await;

    let plan = Arc::<Plan>::default();
    plan.slow_start.store(3600, Ordering::Relaxed);
    let added = workers.children.start(worker("added", &plan).0);
    let meanwhile = async {
        tokio::time::sleep(SECOND).await;
        tokio::time::timeout(SECOND, workers.children.terminate("1")).await
    };
    let (added, ended) = tokio::join!(added, meanwhile);
    assert_eq!((added, ended), (Err(AdminError::Failed(too_late)), Ok(Ok(())))); // S10
    tokio::time::sleep(7200 * SECOND).await;
    assert_eq!(plan.alive.load(Ordering::Relaxed), 0, "it does not start late either"); // S10
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_to_start_is_refused_and_one_that_skips_is_kept() {
    let workers = workers(1, |_| ()).await.unwrap();
    let (children, plan) = (&workers.children, Arc::<Plan>::default());
    plan.failing_starts.store(1, Ordering::Relaxed);
    let failed = children.start(worker("late", &plan).0).await;
    assert_eq!(failed, Err(AdminError::Failed(Exit::Failed("no start".into())))); // S6
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((children.snapshot().counts().specs, plan.made.load(Ordering::Relaxed)), (1, 1));
    plan.idle.store(1, Ordering::Relaxed);
    children.start(worker("late", &plan).0).await.unwrap(); // S2
    let counts = children.snapshot().counts();
    assert_eq!((counts.specs, counts.active), (2, 1));
    plan.idle.store(0, Ordering::Relaxed);
    children.restart("late").await.unwrap();
    assert_eq!(children.snapshot().counts().active, 2);
    assert_eq!(workers.tree.system().mode().now(), Mode::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_skips_its_start_is_kept_down_and_the_next_one_runs() {
    let workers = workers(2, |plans| plans[0].idle.store(1, Ordering::Relaxed)).await.unwrap();
    let counts = workers.children.snapshot().counts();
    assert_eq!((counts.specs, counts.active), (2, 1)); // S2
    assert_eq!(
        workers.handles.iter().map(Handle::state).collect::<Vec<_>>(),
        [SlotState::Down, SlotState::Up]
    );
    workers.plans[0].idle.store(0, Ordering::Relaxed);
    workers.children.restart("0").await.unwrap();
    assert_eq!(workers.children.snapshot().counts().active, 2);
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_that_skips_its_start_is_forgotten() {
    let temporary = |spec: ChildSpec| spec.restart(Restart::Temporary);
    let idle = |plans: &[Arc<Plan>]| plans[0].idle.store(1, Ordering::Relaxed);
    let workers = workers_under(RestartPolicy::default(), 2, idle, temporary).await.unwrap();
    assert_eq!(workers.children.snapshot().counts().specs, 1); // S3: of those it was made with
    workers.children.start(temporary(worker("added", &workers.plans[0]).0)).await.unwrap();
    assert_eq!(workers.children.snapshot().counts().specs, 1); // S3: of those that were added
    for name in ["0", "added"] {
        assert_eq!(workers.children.restart(name).await, Err(AdminError::NotFound(name.into())));
    }
    workers.children.start(worker("0", &workers.plans[1]).0).await.unwrap();
    assert_eq!(workers.children.snapshot().counts().active, 2, "its name is free");
}

#[tokio::test(start_paused = true)]
async fn a_revival_that_fails_leaves_the_child_down_and_is_not_repeated() {
    let workers = workers(1, |_| ()).await.unwrap();
    workers.children.terminate("0").await.unwrap();
    workers.plans[0].failing_starts.store(1, Ordering::Relaxed);
    let failed = Err(AdminError::Failed(Exit::Failed("no start".into())));
    assert_eq!(workers.children.restart("0").await, failed); // S7
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(workers.handles[0].state(), SlotState::Down);
    assert_eq!(workers.plans[0].made.load(Ordering::Relaxed), 2);
    workers.children.restart("0").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_child_is_permanent_and_has_five_seconds_to_end_and_a_supervisor_has_no_limit() {
    let (spec, _) = worker("0", &Arc::default());
    assert_eq!((spec.role.restart, spec.role.significant), (Restart::Permanent, false)); // S8
    assert_eq!(spec.shutdown, Shutdown::Within(5 * SECOND));
    let commons = Commons::new(Arc::new(VirtualClock::start()), 1, 1);
    let (spec, _) = Supervisor::spec("root/crew", RestartPolicy::default(), vec![spec], &commons).unwrap();
    assert_eq!((spec.role.restart, spec.shutdown), (Restart::Permanent, Shutdown::Infinity)); // S8
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_makes_no_sense_is_refused_before_anything_starts() {
    let (plan, policy) = (Arc::<Plan>::default(), RestartPolicy::default());
    let any = RestartPolicy { auto_shutdown: AutoShutdown::AnySignificant, ..policy };
    let named = |name: &str| worker(name, &plan).0;
    let elsewhere = || ChildSpec::new("root/others/0", |_| -> Nobody { unreachable!("it is refused") }).0;
    let bad = [
        (RestartPolicy { within: Duration::ZERO, ..policy }, vec![named("0")], "root/crew"),
        (RestartPolicy { in_a_row: Some(0), ..policy }, vec![named("0")], "root/crew"),
        (policy, vec![named("")], "root/crew/"),
        (policy, vec![named("a/b")], "root/crew/a/b"),
        (policy, vec![elsewhere()], "root/others/0"),
        (policy, vec![named("0"), named("1"), named("0")], "0"),
        (policy, vec![named("0").hang_after(Duration::ZERO)], "root/crew/0"),
        (policy, vec![named("0").answer_within(Duration::ZERO)], "root/crew/0"),
        (any, vec![named("0").significant()], "root/crew/0"), // G6: it is permanent
        (policy, vec![named("0").significant().restart(Restart::Transient)], "root/crew/0"), // G6
    ];
    let commons = Commons::new(Arc::new(VirtualClock::start()), 1, 1);
    for (policy, children, place) in bad {
        let refused = Supervisor::spec("root/crew", policy, children, &commons).err().unwrap(); // S8
        assert_eq!(refused.place, place, "{refused}");
    }
    assert_eq!((plan.made.load(Ordering::Relaxed), commons.health.rows().len()), (0, 0));
    let workers = workers(1, |_| ()).await.unwrap();
    for spec in [elsewhere(), named("late").significant().restart(Restart::Transient)] {
        assert!(matches!(workers.children.start(spec).await, Err(AdminError::BadSpec(_))));
    }
    assert_eq!(workers.children.snapshot().counts().specs, 1);
}

/// It is never made.
struct Nobody;

impl Behavior for Nobody {
    type Msg = ();

    async fn handle(&mut self, (): (), _: &Cx<()>) -> Result<(), Failure> {
        Ok(())
    }
}

/// An actor of somebody else.
struct Foreign;

#[cfg_attr(feature = "ractor-async-trait", ractor::async_trait)]
impl ractor::Actor for Foreign {
    type Msg = crate::shell::Envelope<()>;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ractor::ActorRef<Self::Msg>,
        (): (),
    ) -> Result<(), ractor::ActorProcessingErr> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_actor_that_has_a_childs_name_is_in_nobodys_way() {
    use ractor::Actor;
    let (foreign, _) = Actor::spawn(Some("root/crew/0".into()), Foreign, ()).await.unwrap();
    let workers = workers(1, |_| ()).await.unwrap(); // S9
    workers.handles[0].tell(Order::Panic).unwrap();
    workers.up_again(0).await;
    assert_eq!(foreign.get_status(), ractor::ActorStatus::Running);
    foreign.stop(None);
}
