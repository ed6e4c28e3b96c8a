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
async fn without_a_backoff_a_whole_group_is_told_of_and_then_back_before_time_passes() {
    let backoff = Backoff { min: Duration::ZERO, max: Duration::ZERO, jitter: Jitter::Spread(0.0) };
    let policy = RestartPolicy { strategy: Strategy::OneForAll, backoff, ..RestartPolicy::default() };
    let workers = workers_under(policy, 2, |_| (), |spec| spec).await.unwrap();
    let began = workers.commons().now();
    workers.handles[1].tell(Order::Panic).unwrap();
    while workers.life(1) == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(workers.commons().now(), began);
    let told = workers.told();
    let last_down = told.iter().rposition(|event| matches!(event, EventKind::ActorRestarting { .. }));
    let first_back = told.iter().position(|event| matches!(event, EventKind::ActorUp { incarnation: 2, .. }));
    assert!(last_down.is_some() && last_down < first_back, "{told:?}"); // R3
    assert_eq!([0, 1].map(|child| workers.life(child)), [2, 2]);
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
    for (strategy, lives) in [(Strategy::OneForAll, [2, 2, 2]), (Strategy::RestForOne, [1, 2, 2])] {
        let policy = RestartPolicy { strategy, ..RestartPolicy::default() };
        let workers = workers_under(policy, 3, |_| (), |spec| spec).await.unwrap();
        workers.handles[1].tell(Order::Panic).unwrap();
        settle().await;
        assert!(matches!(workers.handles[2].state(), SlotState::Restarting { .. }), "held back");
        tokio::time::sleep(SECOND).await;
        assert_eq!([0, 1, 2].map(|worker| workers.life(worker)), lives); // R3, R4
        assert!(workers.plans.iter().all(|plan| plan.overlapped.load(Ordering::Relaxed) == 0));
        assert_eq!(workers.tree.system().mode().now(), Mode::Normal);
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_follows_from_its_type_and_from_how_it_ended() {
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        for End { order, told, crash } in ENDS {
            let shape = |spec: ChildSpec| spec.restart(restart).hang_after(2 * SECOND);
            let workers = workers_under(RestartPolicy::default(), 2, |_| (), shape).await.unwrap();
            workers.handles[0].tell(order()).unwrap();
            tokio::time::sleep(10 * SECOND).await;
            let again = match restart {
                Restart::Permanent => true,  // T1
                Restart::Transient => crash, // T2
                Restart::Temporary => false, // T3
            };
            let state = if again { SlotState::Up } else { SlotState::Down };
            assert_eq!(workers.handles[0].state(), state, "{restart:?}, {told}");
            let specs = workers.children.snapshot().counts().specs;
            assert_eq!(specs, if restart == Restart::Temporary { 1 } else { 2 }, "{told}");
            assert_eq!((workers.life(1), workers.find("root/crew").incarnation), (1, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_those_that_were_added_only_the_one_that_crashed_comes_back_and_as_it_was() {
    let workers = workers(0, |_| ()).await.unwrap();
    let plans: [Arc<Plan>; 3] = Default::default();
    let mut handles = Vec::new();
    for (name, plan) in ["a", "b", "c"].iter().zip(&plans) {
        let (spec, handle) = worker(name, plan);
        workers.children.start(spec).await.unwrap();
        handles.push(handle);
    }
    handles[1].tell(Order::Panic).unwrap();
    settle().await;
    assert!(handles[1].up().await);
    handles[1].tell(Order::Count).unwrap();
    settle().await;
    let lives = || plans.each_ref().map(|plan| plan.made.load(Ordering::Relaxed));
    assert_eq!(lives(), [1, 2, 1]); // R8
    assert_eq!(plans[1].counted.load(Ordering::Relaxed), 1);
    plans[1].idle.store(1, Ordering::Relaxed);
    handles[1].tell(Order::Panic).unwrap();
    handles[1].down().await; // R8: it skips its restart
    let counts = workers.children.snapshot().counts();
    assert_eq!((counts.specs, counts.active, counts.restarting), (3, 2, 0), "its place is kept");
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_restarts_keep_failing_is_seen_restarting_and_can_be_taken_out() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let policy = RestartPolicy { strategy, restarts: usize::MAX, ..RestartPolicy::default() };
        let workers = workers_under(policy, 2, |_| (), |spec| spec).await.unwrap();
        let (children, plan) = (&workers.children, workers.plans[0].clone());
        plan.failing_starts.store(u64::MAX, Ordering::Relaxed);
        workers.handles[0].tell(Order::Panic).unwrap();
        tokio::time::sleep(45 * SECOND).await;
        assert!(matches!(workers.handles[0].state(), SlotState::Restarting { .. }), "{strategy:?}"); // R10
        assert!(children.snapshot().counts().restarting > 0);
        let restarting = Err(AdminError::Restarting("0".into()));
        assert_eq!(
            [children.delete("0").await, children.restart("0").await],
            [restarting.clone(), restarting]
        );
        children.terminate("0").await.unwrap();
        let made = plan.made.load(Ordering::Relaxed);
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(plan.made.load(Ordering::Relaxed), made, "{strategy:?}: it does not come back"); // R10
        assert_eq!(workers.handles[0].state(), SlotState::Down);
        assert_eq!(workers.handles[1].state(), SlotState::Up, "{strategy:?}");
        children.delete("0").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_whose_children_keep_failing_can_be_shut_down_at_any_time() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        for millis in (0..3000).step_by(250) {
            let policy = RestartPolicy { strategy, restarts: usize::MAX, ..RestartPolicy::default() };
            let workers = workers_under(policy, 3, |_| (), |spec| spec).await.unwrap();
            workers.plans[1].failing_starts.store(u64::MAX, Ordering::Relaxed);
            workers.plans[1].slow_start.store(1, Ordering::Relaxed);
            workers.handles[1].tell(Order::Fail).unwrap();
            tokio::time::sleep(Duration::from_millis(millis)).await;
            assert!(workers.shut_down().await <= 1, "{strategy:?} after {millis} ms"); // R10
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_crash_at_the_same_moment_are_restarted_once_together() {
    let policy = RestartPolicy { strategy: Strategy::OneForAll, restarts: 1, ..RestartPolicy::default() };
    let workers = workers_under(policy, 3, |_| (), |spec| spec).await.unwrap();
    [0, 2].iter().for_each(|worker: &usize| workers.handles[*worker].tell(Order::Panic).unwrap());
    tokio::time::sleep(SECOND).await;
    assert_eq!([0, 1, 2].map(|worker| workers.life(worker)), [2, 2, 2]); // R11
    assert_eq!(workers.find("root/crew").incarnation, 1, "it counts once");
}

#[tokio::test(start_paused = true)]
async fn in_a_thousand_crashes_no_life_meets_the_resources_of_another() {
    let policy = RestartPolicy { restarts: usize::MAX, ..RestartPolicy::default() };
    let hangs = |spec: ChildSpec| spec.hang_after(2 * SECOND);
    let workers = workers_under(policy, 1, |_| (), hangs).await.unwrap();
    for life in 0..1000 {
        workers.handles[0].tell((ENDS[life % ENDS.len()].order)()).unwrap();
        tokio::time::sleep(15 * SECOND).await;
        assert_eq!(workers.handles[0].state(), SlotState::Up);
    }
    assert_eq!(workers.life(0), 1001);
    assert_eq!(workers.plans[0].overlapped.load(Ordering::Relaxed), 0); // B11
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_start_takes_back_those_of_its_group_that_had() {
    for (strategy, lives) in [(Strategy::OneForAll, [3, 3, 3]), (Strategy::RestForOne, [1, 3, 3])] {
        let policy = RestartPolicy { strategy, ..RestartPolicy::default() };
        let workers = workers_under(policy, 3, |_| (), |spec| spec).await.unwrap();
        workers.plans[2].failing_starts.store(1, Ordering::Relaxed);
        workers.handles[1].tell(Order::Panic).unwrap();
        tokio::time::sleep(2 * SECOND).await;
        let made = workers.plans.iter().map(|plan| plan.made.load(Ordering::Relaxed));
        assert_eq!(made.collect::<Vec<_>>(), lives, "{strategy:?}"); // R6, R7
        let stopped = |n: usize| {
            workers.plans[0].log.lines().iter().filter(|line| **line == format!("{n} is clean")).count()
        };
        assert_eq!([0, 1, 2].map(stopped), if lives[0] == 1 { [0, 1, 1] } else { [2, 1, 1] });
        assert!(workers.handles.iter().all(|handle| handle.state() == SlotState::Up));
    }
}
