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
    assert_eq!(workers.find("root/crew/0").last_exit, Some(Exit::Failed("did not start within 10s".into())));
    workers.plans[0].slow_start.store(0, Ordering::Relaxed);
    workers.up_again(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_to_start_is_refused_and_one_that_skips_is_kept() {
    let workers = workers(1, |_| ()).await.unwrap();
    let (children, plan) = (&workers.children, Arc::<Plan>::default());
    plan.failing_starts.store(1, Ordering::Relaxed);
    let failed = children.start(worker("late", &plan).0).await;
    assert_eq!(failed, Err(AdminError::Failed(Exit::Failed("no start".into())))); // S6
    assert_eq!(children.snapshot().counts().specs, 1);
    plan.idle.store(1, Ordering::Relaxed);
    children.start(worker("late", &plan).0).await.unwrap(); // S2
    let counts = children.snapshot().counts();
    assert_eq!((counts.specs, counts.active), (2, 1));
    plan.idle.store(0, Ordering::Relaxed);
    children.restart("late").await.unwrap();
    assert_eq!(children.snapshot().counts().active, 2);
    assert_eq!(workers.tree.system().mode().now(), Mode::Normal);
}
