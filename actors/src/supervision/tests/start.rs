//! How a tree comes up, and what becomes of a child that does not start.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failing_first_start_stops_what_was_started_and_fails_the_whole() {
    let error = workers(3, |plans| plans[2].failing_starts.store(1, Ordering::Relaxed)).await.err().unwrap();
    let StartError::NotStarted(exit) = error else { panic!("{error}") };
    assert!(exit.to_string().contains("root/crew/2: failed: no start"), "{exit}"); // S5
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
