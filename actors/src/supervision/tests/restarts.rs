//! Who comes back after a crash, and what is told of it.

use super::*;
use crate::backoff::{Backoff, Jitter};

#[tokio::test(start_paused = true)]
async fn however_a_worker_ends_only_it_is_restarted_and_the_true_reason_is_told() {
    let ends = [
        (Order::Panic, Exit::Panicked("told to".into())),
        (Order::Fail, Exit::Failed("told to".into())),
        (Order::Stop, Exit::Normal),
    ];
    for (order, exit) in ends {
        let workers = workers(2, |_| ()).await.unwrap();
        workers.handles[0].tell(order).unwrap();
        workers.up_again(0).await; // T1, R1
        assert_eq!((workers.life(0), workers.life(1)), (2, 1), "{exit}");
        assert_eq!(workers.find("root/crew/0").last_exit, Some(exit));
        workers.handles[0].tell(Order::Count).unwrap();
        settle().await;
        assert_eq!(
            workers.plans[0].counted.load(Ordering::Relaxed),
            1,
            "its old handle reaches the new life"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_restart_is_tried_again_and_counts() {
    let workers = workers(1, |_| ()).await.unwrap();
    workers.plans[0].failing_starts.store(5, Ordering::Relaxed);
    workers.handles[0].tell(Order::Panic).unwrap();
    workers.up_again(0).await;
    let attempts = workers.told().into_iter().filter(|e| matches!(e, EventKind::ActorRestarting { .. }));
    assert_eq!(attempts.count(), 6);
    assert_eq!(workers.find("root/crew").incarnation, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_backoff_the_next_life_begins_at_the_same_instant() {
    let backoff = Backoff { min: Duration::ZERO, max: Duration::ZERO, jitter: Jitter::Full };
    let policy = RestartPolicy { backoff, ..RestartPolicy::default() };
    let workers = workers_under(policy, 1, |_| (), |spec| spec).await.unwrap();
    tokio::time::advance(Duration::from_micros(500)).await; // between two ticks, to which sleeps are rounded
    workers.handles[0].tell(Order::Panic).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await; // as long as somebody runs, time stands still
    }
    assert_eq!(workers.handles[0].state(), SlotState::Starting); // B1
    workers.up_again(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_is_restarted_together_over_real_actors() {
    let policy = RestartPolicy { strategy: Strategy::RestForOne, ..RestartPolicy::default() };
    let workers = workers_under(policy, 3, |_| (), |spec| spec).await.unwrap();
    workers.handles[1].tell(Order::Panic).unwrap();
    settle().await;
    assert!(matches!(workers.handles[2].state(), SlotState::Restarting { .. }), "held back");
    tokio::time::sleep(SECOND).await;
    assert_eq!([0, 1, 2].map(|worker| workers.life(worker)), [1, 2, 2]); // R4
    assert_eq!(workers.tree.system().mode().now(), Mode::Normal);
}
