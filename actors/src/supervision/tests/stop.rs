//! How a tree comes down: in order, in time, and whatever happens meanwhile.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_shutdown_stops_in_reverse_order_and_kills_what_will_not_stop() {
    let workers = workers(3, |plans| plans[1].stubborn.store(1, Ordering::Relaxed)).await.unwrap();
    let (events, began) = (workers.tree.system().events().clone(), workers.commons().now());
    let clock = workers.commons().clock.clone();
    assert!(workers.tree.shutdown(60 * SECOND).await.is_clean());
    assert_eq!((clock.now() - began).as_secs(), 5); // P2
    let stopped = events
        .recent()
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ActorStopped { actor } => Some(actor.to_string()),
            _ => None,
        })
        .collect::<Vec<_>>();
    let order = ["root/crew/2", "root/crew/1", "root/crew/0", "root/crew", "root/providers", "root/mode"];
    assert_eq!(stopped, order); // P5
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_killed_and_reported() {
    let workers = workers(2, |plans| plans[1].stubborn.store(1, Ordering::Relaxed)).await.unwrap();
    let report = workers.tree.shutdown(SECOND).await;
    let left = ["root", "root/mode", "root/providers", "root/crew", "root/crew/0", "root/crew/1"];
    assert_eq!(report.killed.iter().map(|path| &**path).collect::<Vec<_>>(), left);
}

#[tokio::test(start_paused = true)]
async fn a_crash_during_the_shutdown_restarts_nobody() {
    let workers = workers(2, |plans| plans[1].stubborn.store(1, Ordering::Relaxed)).await.unwrap();
    let crash = workers.handles[0].clone();
    let late = tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        crash.tell(Order::Panic)
    });
    let events = workers.tree.system().events().clone();
    assert!(workers.tree.shutdown(60 * SECOND).await.is_clean());
    assert!(late.await.unwrap().is_ok()); // P4
    assert!(!events.recent().iter().any(|e| matches!(e.kind, EventKind::ActorRestarting { .. })));
}
