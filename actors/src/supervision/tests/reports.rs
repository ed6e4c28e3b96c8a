//! What is told of crashes: by events, in the tree, on the health board. All of it in full, and none of it too long.

use futures_util::StreamExt;

use super::*;
use crate::event::Heard;

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
