//! One address for all lives: what becomes of a message when its actor crashes.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_handle_works_across_a_hundred_lives() {
    let workers = workers(1, |_| ()).await.unwrap();
    for life in 2..=100 {
        workers.handles[0].tell(Order::Panic).unwrap();
        workers.up_again(0).await;
        assert_eq!(workers.life(0), life); // B6
        tokio::time::sleep(10 * SECOND).await;
    }
    assert_eq!(workers.find("root/crew").incarnation, 1, "slow crashes are borne for ever"); // R2
}

#[tokio::test(start_paused = true)]
async fn a_message_that_finds_nobody_comes_back_and_lanes_come_home() {
    let workers = workers(1, |_| ()).await.unwrap();
    let handle = &workers.handles[0];
    handle.tell(Order::Panic).unwrap();
    for _ in 0..100 {
        let _ = handle.tell(Order::Count); // queued behind the panic: lost with that life
    }
    settle().await;
    assert!(matches!(handle.state(), SlotState::Restarting { attempt: 1, .. }));
    let back = handle.tell(Order::Count).unwrap_err();
    assert!(back.reason == Obstacle::NotUp && matches!(back.msg, Order::Count)); // B5
    assert_eq!(handle.waiting(), 0); // B13
    workers.up_again(0).await;
    handle.tell(Order::Count).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_instead_of_growing() {
    let workers = workers(1, |_| ()).await.unwrap();
    let handle = &workers.handles[0];
    handle.tell(Order::Hang).unwrap();
    let taken = (0..2 * slot::LANES).filter(|_| handle.tell(Order::Count).is_ok()).count();
    assert_eq!(taken, slot::LANES - 1); // B13
    assert_eq!(handle.tell(Order::Count).unwrap_err().reason, Obstacle::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn a_patient_call_waits_for_a_place_in_a_full_mailbox_and_an_impatient_one_fails_at_once() {
    let workers = workers(1, |_| ()).await.unwrap();
    let handle = workers.handles[0].clone();
    let slow = handle.clone();
    let under_way = tokio::spawn(async move { asked(&slow, SECOND, Patience::Wait).await });
    settle().await;
    (1..slot::LANES).for_each(|_| handle.tell(Order::Count).unwrap());
    let overloaded = Err(CallError::NotDelivered(Obstacle::Overloaded));
    assert_eq!(asked(&handle, SECOND, Patience::FailFast).await, overloaded);
    assert_eq!(asked(&handle, SECOND, Patience::Wait).await, Ok(1)); // B13
    assert_eq!(under_way.await.unwrap(), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_interrupted_or_late_and_never_repeated_by_itself() {
    let workers = workers(1, |_| ()).await.unwrap();
    let (handle, counted) = (workers.handles[0].clone(), &workers.plans[0].counted);
    assert_eq!(asked(&handle, SECOND, Patience::Wait).await, Ok(1));
    let under_way = tokio::spawn({
        let handle = handle.clone();
        async move { asked(&handle, 3 * SECOND, Patience::Wait).await }
    });
    settle().await;
    let queued = tokio::spawn({
        let handle = handle.clone();
        async move { asked(&handle, SECOND, Patience::Wait).await }
    });
    settle().await;
    workers.children.terminate("0").await.unwrap();
    assert_eq!(under_way.await.unwrap(), Ok(1), "what is under way when an end is asked for is finished");
    assert_eq!(queued.await.unwrap(), Ok(1), "and so is what had come before");
    workers.children.restart("0").await.unwrap();
    handle.tell(Order::Panic).unwrap();
    assert_eq!(
        asked(&handle, SECOND, Patience::Wait).await,
        Err(CallError::Interrupted),
        "lost with its life"
    ); // B5
    assert_eq!(asked(&handle, 9 * SECOND, Patience::Wait).await, Err(CallError::TimedOut));
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(counted.load(Ordering::Relaxed), 4, "nothing was done twice");
}

#[tokio::test(start_paused = true)]
async fn a_patient_call_waits_for_the_next_life_and_an_impatient_one_fails_at_once() {
    let workers = workers(1, |_| ()).await.unwrap();
    let handle = &workers.handles[0];
    handle.tell(Order::Panic).unwrap();
    settle().await;
    let not_up = Err(CallError::NotDelivered(Obstacle::NotUp));
    assert_eq!(asked(handle, SECOND, Patience::FailFast).await, not_up);
    assert_eq!(asked(handle, SECOND, Patience::Wait).await, Ok(2)); // B5
    workers.plans[0].slow_start.store(9, Ordering::Relaxed);
    handle.tell(Order::Panic).unwrap();
    settle().await;
    assert_eq!(asked(handle, SECOND, Patience::Wait).await, not_up, "until its own deadline");
    let (down, tree) = (handle.clone(), workers.tree);
    assert!(tree.shutdown(60 * SECOND).await.is_clean());
    assert_eq!(asked(&down, SECOND, Patience::Wait).await, Err(CallError::NotDelivered(Obstacle::Down))); // B3
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_any_more_is_skipped() {
    let workers = workers(1, |_| ()).await.unwrap();
    let handle = &workers.handles[0];
    let (busy, left) = (asked(handle, 4 * SECOND, Patience::Wait), asked(handle, SECOND, Patience::Wait));
    let short = handle.call(|reply| Order::Answer(reply, SECOND), SECOND, Patience::Wait);
    let left = tokio::time::timeout(SECOND, left);
    let (busy, left, short) = tokio::join!(busy, left, short);
    assert_eq!((busy, left.is_err(), short), (Ok(1), true, Err(CallError::TimedOut)));
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(workers.plans[0].counted.load(Ordering::Relaxed), 1); // B14
    assert_eq!(handle.waiting(), 0); // B13
}

#[tokio::test(start_paused = true)]
async fn what_waited_behind_the_message_that_crashed_a_life_is_lost_with_it_and_the_poison_is_not_sent_again()
{
    let workers = workers(1, |_| ()).await.unwrap();
    let handle = workers.handles[0].clone();
    handle.tell(Order::Panic).unwrap();
    (0..10).for_each(|_| handle.tell(Order::Count).unwrap());
    let queued = asked(&handle, Duration::ZERO, Patience::Wait).await;
    assert_eq!(queued, Err(CallError::Interrupted), "who can be told is told");
    let Undelivered { msg, reason } = handle.tell(Order::Count).unwrap_err();
    assert_eq!(reason, Obstacle::NotUp, "what is sent meanwhile comes back");
    workers.up_again(0).await;
    handle.tell(msg).unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((workers.plans[0].counted.load(Ordering::Relaxed), workers.life(0)), (1, 2)); // B4
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_end_is_told_of_it_once_whenever_it_begins_to_wait() {
    let workers = workers(2, |plans| plans[0].slow_stop.store(3, Ordering::Relaxed)).await.unwrap();
    let handle = workers.handles[0].clone();
    let watch = |handle: &Handle<Order>| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.down().await })
    };
    let live = watch(&handle);
    handle.tell(Order::Panic).unwrap();
    workers.up_again(0).await;
    assert!(!live.is_finished(), "a restart is no end");
    let ending = async { workers.children.terminate("0").await };
    let dying = async {
        tokio::time::sleep(SECOND).await;
        assert!(matches!(handle.state(), SlotState::ShuttingDown) && !live.is_finished());
        handle.down().await;
    };
    let (ended, ()) = tokio::join!(ending, dying);
    ended.unwrap();
    let never = worker("never", &Arc::default()).1;
    for waiting in [live, watch(&handle), watch(&never)] {
        let told = tokio::time::timeout(SECOND, waiting).await; // B7
        assert!(told.is_ok(), "nobody told it");
    }
    assert_eq!(workers.handles[1].state(), SlotState::Up);
}

#[tokio::test(start_paused = true)]
async fn who_crashes_too_often_in_a_row_is_down_and_its_callers_are_told_at_once() {
    let policy = RestartPolicy { in_a_row: Some(3), ..RestartPolicy::default() };
    let workers = workers_under(policy, 2, |_| (), |spec| spec).await.unwrap();
    workers.plans[0].failing_starts.store(u64::MAX, Ordering::Relaxed);
    let (handle, began) = (workers.handles[0].clone(), workers.commons().now());
    handle.tell(Order::Fail).unwrap();
    settle().await;
    let call = handle.call(|reply| Order::Answer(reply, SECOND), 3600 * SECOND, Patience::Wait);
    assert_eq!(call.await, Err(CallError::NotDelivered(Obstacle::Down))); // B3
    assert!(workers.commons().now() - began < 2 * SECOND);
    handle.down().await;
    let stopped = |event: &EventKind| matches!(event, EventKind::ActorStopped { actor, .. } if &**actor == "root/crew/0");
    assert!(workers.told().iter().any(stopped));
    assert_eq!((workers.life(1), workers.find("root/crew").incarnation), (1, 1), "the others go on");
    let notice = workers.tree.system().mode().snapshot().notice().unwrap();
    assert!(notice.contains("it is not started again"), "{notice}");
}

#[tokio::test(start_paused = true)]
async fn lanes_come_home_however_the_message_that_took_one_ends() {
    let hangs = |spec: ChildSpec| spec.hang_after(2 * SECOND);
    for End { order, told, .. } in ENDS {
        let workers = workers_under(RestartPolicy::default(), 1, |_| (), hangs).await.unwrap();
        workers.handles[0].tell(Order::Count).unwrap();
        workers.handles[0].tell(order()).unwrap();
        workers.handles[0].tell(Order::Count).unwrap();
        assert_eq!(workers.handles[0].waiting(), 3);
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(workers.handles[0].waiting(), 0, "{told}"); // B13
    }
}
