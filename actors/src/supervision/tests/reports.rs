//! What is told of crashes: by events, in the tree, on the health board. All of it in full, and none of it too long.

use futures_util::StreamExt;

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    event::Heard,
};

#[tokio::test(start_paused = true)]
async fn every_lifecycle_change_is_a_numbered_event_and_a_late_reader_is_told_its_gap() {
    let workers = workers(1, |_| ()).await.unwrap();
    let events = workers.tree.system().events().clone();
    for _ in 0..300 {
        workers.handles[0].tell(Order::Panic).unwrap();
        workers.up_again(0).await;
        tokio::time::sleep(10 * SECOND).await;
    }
    let recent = events.recent();
    assert!(recent.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1)); // B15
    let newest = recent.last().unwrap().seq;
    let heard: Vec<_> = events.since(1).take(recent.len() + 1).collect().await;
    let Heard::Gap(missed) = heard[0] else { panic!("{heard:?}") };
    assert_eq!(1 + missed + recent.len() as u64, newest);
    assert!(newest > 600, "{newest}");
}

fn crew(restarts: usize) -> RestartPolicy {
    RestartPolicy { restarts, ..RestartPolicy::default() }
}

#[tokio::test(start_paused = true)]
async fn a_report_names_the_supervisor_the_child_the_reason_and_the_count() {
    let workers = workers_under(crew(2), 2, |_| (), |spec| spec).await.unwrap();
    for _ in 0..3 {
        workers.handles[1].tell(Order::Fail).unwrap();
        workers.up_again(1).await;
    }
    let restarting = |event: &EventKind| match event {
        EventKind::ActorRestarting { actor, reason, attempt, .. } => {
            Some((actor.to_string(), reason.to_string(), *attempt))
        }
        _ => None,
    };
    let told: Vec<_> = workers.told().iter().filter_map(restarting).collect();
    let (child, reason) = ("root/crew/1".to_string(), "root/crew/1 failed: told to".to_string());
    assert_eq!(told[..2], [(child.clone(), reason.clone(), 1), (child.clone(), reason.clone(), 2)]); // A5
    let given_up = EventKind::SupervisorGaveUp {
        actor: "root/crew".into(),
        child: child.into(),
        reason: reason.into(),
        restarts: 2,
    };
    assert!(workers.told().contains(&given_up), "{:#?}", workers.told()); // A5
}

#[tokio::test(start_paused = true)]
async fn who_is_restarted_for_another_ones_crash_says_whose() {
    let policy = RestartPolicy { strategy: Strategy::OneForAll, ..RestartPolicy::default() };
    let workers = workers_under(policy, 3, |_| (), |spec| spec).await.unwrap();
    workers.handles[1].tell(Order::Panic).unwrap();
    workers.up_again(2).await;
    let reasons = workers.told().into_iter().filter_map(|event| match event {
        EventKind::ActorRestarting { reason, .. } => Some(reason.to_string()),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["root/crew/1 panicked: told to"; 3]); // A5
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_says_too_much_is_cut_short_wherever_it_is_told() {
    let orders: [fn(String) -> Order; 2] = [Order::FailSaying, Order::PanicSaying];
    for order in orders {
        let workers = workers_under(crew(0), 1, |_| (), |spec| spec).await.unwrap();
        let mut mode = workers.tree.system().mode().watch();
        workers.handles[0].tell(order("so ä long ".repeat(100_000))).unwrap();
        mode.wait_for(|now| now.mode == Mode::Emergency).await.unwrap();
        let notice = mode.borrow().notice().unwrap();
        workers.up_again(0).await;
        let told = workers.told();
        let given_up = told.iter().find(|event| matches!(event, EventKind::SupervisorGaveUp { .. }));
        let tree = workers.tree.system().tree();
        let texts = [notice, given_up.unwrap().to_string(), tree.render(), format!("{told:?}")];
        for text in texts {
            assert!(text.contains(" long so "), "{text}");
            assert!(text.len() < 20_000, "{} characters", text.len()); // A5
        }
    }
}

fn at_once() -> RestartPolicy {
    let backoff = Backoff { min: Duration::ZERO, max: Duration::ZERO, jitter: Jitter::Full };
    RestartPolicy { backoff, ..RestartPolicy::default() }
}

const TENTH: Duration = Duration::from_millis(100);

/// The modes that followed on a crash within a tenth of a second.
async fn modes_after_a_crash(workers: &Workers) -> Vec<Mode> {
    workers.handles[0].tell(Order::Panic).unwrap();
    tokio::time::sleep(TENTH).await;
    let modes = workers.told().into_iter().filter_map(|event| match event {
        EventKind::ModeChanged { to, .. } => Some(to),
        _ => None,
    });
    modes.collect()
}

#[tokio::test(start_paused = true)]
async fn an_instant_restart_is_an_event_and_no_reason() {
    let workers = workers_under(at_once(), 1, |_| (), |spec| spec).await.unwrap();
    assert_eq!(modes_after_a_crash(&workers).await, []); // B1
    assert_eq!(workers.life(0), 2);
    let restarts = workers.told().into_iter().filter(|e| matches!(e, EventKind::ActorRestarting { .. }));
    assert_eq!(restarts.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_takes_long_is_a_reason_until_it_is_done() {
    let workers = workers_under(at_once(), 1, |_| (), |spec| spec).await.unwrap();
    workers.plans[0].slow_start.store(3, Ordering::Relaxed);
    assert_eq!(modes_after_a_crash(&workers).await, [Mode::Degraded]); // B1
    let reason = workers.tree.system().mode().snapshot().reasons[0].text.clone();
    assert!(reason.starts_with("root/crew/0 panicked: told to"), "{reason}");
    workers.up_again(0).await;
    settle().await;
    assert_eq!(workers.tree.system().mode().now(), Mode::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_a_reason_until_one_succeeds() {
    let workers = workers_under(at_once(), 1, |_| (), |spec| spec).await.unwrap();
    workers.plans[0].failing_starts.store(2, Ordering::Relaxed);
    assert_eq!(modes_after_a_crash(&workers).await, [Mode::Degraded, Mode::Normal]); // B1
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_waits_for_others_is_a_reason() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let policy = RestartPolicy { strategy, ..at_once() };
        let workers = workers_under(policy, 2, |_| (), |spec| spec).await.unwrap();
        let modes = modes_after_a_crash(&workers).await;
        assert_eq!(modes.first(), Some(&Mode::Degraded), "{strategy:?}"); // B1
        assert_eq!(modes.last(), Some(&Mode::Normal), "{strategy:?}");
    }
}
