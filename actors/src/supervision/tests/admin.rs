//! Children that come and go by name while their supervisor runs.

use super::*;
use crate::supervision::tree::Counts;

#[tokio::test(start_paused = true)]
async fn children_come_and_go_by_name_while_the_supervisor_runs() {
    let workers = workers(1, |_| ()).await.unwrap();
    let (children, plan) = (&workers.children, Arc::<Plan>::default());
    let (spec, added) = worker("added", &plan);
    children.start(spec).await.unwrap();
    assert_eq!(asked(&added, SECOND, Patience::Wait).await, Ok(1));
    let again = children.start(worker("added", &plan).0).await;
    assert_eq!(again, Err(AdminError::AlreadyStarted("added".into()))); // A1
    assert_eq!(children.delete("added").await, Err(AdminError::Running("added".into())));
    assert_eq!(children.restart("added").await, Err(AdminError::Running("added".into())));
    children.terminate("added").await.unwrap();
    children.terminate("added").await.unwrap();
    let again = children.start(worker("added", &plan).0).await;
    assert_eq!(again, Err(AdminError::AlreadyPresent("added".into())));
    let counts = children.snapshot().counts();
    assert_eq!((counts.specs, counts.active, counts.workers), (2, 1, 2)); // A3
    children.restart("added").await.unwrap();
    assert_eq!(asked(&added, SECOND, Patience::Wait).await, Ok(2));
    children.terminate("added").await.unwrap();
    children.delete("added").await.unwrap();
    assert_eq!(children.terminate("added").await, Err(AdminError::NotFound("added".into())));
    assert!(workers.tree.system().tree().find("root/crew/added").is_none());
    let significant = worker("bad", &plan).0.significant();
    assert!(matches!(children.start(significant).await, Err(AdminError::BadSpec(_)))); // S8
}

#[tokio::test(start_paused = true)]
async fn who_is_unknown_is_not_found_and_ending_who_is_down_already_is_no_error() {
    let workers = workers(1, |_| ()).await.unwrap();
    let children = &workers.children;
    let not_found = |name: &str| Err(AdminError::NotFound(name.into()));
    assert_eq!(children.terminate("nobody").await, not_found("nobody")); // A2
    assert_eq!(children.restart("nobody").await, not_found("nobody"));
    assert_eq!(children.delete("nobody").await, not_found("nobody"));
    for (name, restart) in [("transient", Restart::Transient), ("temporary", Restart::Temporary)] {
        let (spec, handle) = worker(name, &Arc::default());
        children.start(spec.restart(restart)).await.unwrap();
        handle.tell(Order::Stop).unwrap();
        handle.down().await;
    }
    assert_eq!(children.terminate("transient").await, Ok(())); // A2
    assert_eq!(children.terminate("temporary").await, not_found("temporary"), "it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn counts_are_exact_at_every_moment_of_a_storm() {
    let workers = workers(5, |_| ()).await.unwrap();
    let (inner, _) =
        Supervisor::spec("root/crew/inner", RestartPolicy::default(), vec![], workers.commons()).unwrap();
    workers.children.start(inner).await.unwrap();
    let counts = || {
        let Counts { specs, active, restarting, supervisors, workers } = workers.children.snapshot().counts();
        assert_eq!((supervisors, workers), (1, specs - 1)); // A3
        (specs, active, restarting)
    };
    assert_eq!(counts(), (6, 6, 0));
    workers.plans[0].slow_start.store(3, Ordering::Relaxed);
    workers.plans[1].failing_starts.store(1, Ordering::Relaxed);
    (0..3).for_each(|n| workers.handles[n].tell(Order::Panic).unwrap());
    settle().await;
    assert_eq!(counts(), (6, 3, 3), "all three wait for their backoff"); // A3
    tokio::time::sleep(SECOND / 5).await;
    assert_eq!(counts(), (6, 4, 2), "one is being started, one waits again"); // A3
    workers.plans[3].slow_stop.store(2, Ordering::Relaxed);
    let ending = async { workers.children.terminate("3").await.unwrap() };
    let meanwhile = async {
        tokio::time::sleep(SECOND).await;
        assert_eq!(counts(), (6, 5, 1), "who is ending still runs"); // A3
    };
    tokio::join!(ending, meanwhile);
    assert_eq!(counts(), (6, 4, 1));
    workers.children.delete("3").await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(counts(), (5, 5, 0)); // A3
}
