//! How a tree comes down: in order, in time, and whatever happens meanwhile.

use super::*;
use crate::event::Event;

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
            EventKind::ActorStopped { actor, .. } => Some(actor.to_string()),
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

#[tokio::test(start_paused = true)]
async fn an_empty_supervisor_comes_and_goes_and_tells_of_no_child() {
    let workers = workers(0, |_| ()).await.unwrap();
    let system = workers.tree.system().clone();
    assert_eq!(workers.shut_down().await, 0);
    assert_eq!(system.tree().find("root/crew").unwrap().last_exit, Some(Exit::Normal)); // S1
    let of_a_child = |event: &Arc<Event>| event.kind.to_string().contains("root/crew/");
    assert!(!system.events().recent().iter().any(of_a_child));
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_by_itself_during_a_shutdown_stays_down_and_its_true_reason_is_told() {
    let types = [Restart::Permanent, Restart::Transient, Restart::Temporary];
    let shape = |spec: ChildSpec| {
        let n: usize = spec.name().parse().unwrap();
        spec.restart(types[n % 3])
    };
    let stubborn = |plans: &[Arc<Plan>]| plans[12].stubborn.store(1, Ordering::Relaxed);
    let workers = workers_under(RestartPolicy::default(), 13, stubborn, shape).await.unwrap();
    let (system, handles) = (workers.tree.system().clone(), workers.handles.clone());
    let meanwhile = async {
        tokio::time::sleep(SECOND).await;
        (0..12).for_each(|n| handles[n].tell((ENDS[n / 3].order)()).unwrap());
    };
    let (took, ()) = tokio::join!(workers.shut_down(), meanwhile);
    assert_eq!(took, 5);
    let told: Vec<_> = system.events().recent().iter().map(|event| event.kind.clone()).collect();
    for n in 0..12 {
        let (actor, reason) = (format!("root/crew/{n}").into(), ENDS[n / 3].told.into());
        assert!(told.contains(&EventKind::ActorStopped { actor, reason }), "{n}: {told:#?}"); // P4
    }
    assert!(!told.iter().any(|event| matches!(event, EventKind::ActorRestarting { .. })));
    for actor in ["root/crew", "root"] {
        assert_eq!(system.tree().find(actor).unwrap().last_exit, Some(Exit::Normal));
    }
}

#[tokio::test(start_paused = true)]
async fn those_started_after_the_one_that_crashed_stop_before_it_comes_back_and_start_after_it() {
    let policy = RestartPolicy { strategy: Strategy::RestForOne, ..RestartPolicy::default() };
    let workers = workers_under(policy, 5, |_| (), |spec| spec).await.unwrap();
    let (system, log) = (workers.tree.system().clone(), workers.plans[0].log.clone());
    let before = system.events().newest();
    workers.handles[2].tell(Order::Panic).unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(log.lines(), ["4 cleans up", "4 is clean", "3 cleans up", "3 is clean"]); // P5
    let up = system.events().recent().into_iter().filter(|event| event.seq > before).filter_map(|event| {
        match &event.kind {
            EventKind::ActorUp { actor, .. } => Some(actor.to_string()),
            _ => None,
        }
    });
    assert_eq!(up.collect::<Vec<_>>(), ["root/crew/2", "root/crew/3", "root/crew/4"]); // P5
    workers.shut_down().await;
    let last = log.lines().into_iter().skip(4).filter(|line| line.ends_with("clean"));
    assert_eq!(last.collect::<Vec<_>>(), [4, 3, 2, 1, 0].map(|n| format!("{n} is clean"))); // P5
}

#[tokio::test(start_paused = true)]
async fn a_child_that_left_ractors_tree_is_ended_and_restarted_as_before() {
    let workers = workers(2, |_| ()).await.unwrap();
    workers.handles.iter().for_each(|handle| handle.tell(Order::Unlink).unwrap());
    settle().await;
    workers.handles[0].tell(Order::Panic).unwrap();
    workers.up_again(0).await;
    assert_eq!(workers.life(0), 2);
    workers.children.terminate("1").await.unwrap(); // P6
    assert_eq!(workers.last_exit(1), Some(Exit::Normal));
    assert_eq!(workers.shut_down().await, 0);
}

#[tokio::test(start_paused = true)]
async fn children_that_stop_together_take_as_long_as_the_slowest_may() {
    let policy = RestartPolicy { stop_together: true, ..RestartPolicy::default() };
    let workers = workers_under(policy, 0, |_| (), |spec| spec).await.unwrap();
    let system = workers.tree.system().clone();
    for (name, seconds) in [("a", 1), ("b", 1), ("c", 5)] {
        let plan = Arc::<Plan>::default();
        plan.slow_stop.store(seconds, Ordering::Relaxed);
        let (spec, _) = worker(name, &plan);
        workers.children.start(spec.shutdown(Shutdown::Within(2 * SECOND))).await.unwrap();
    }
    assert_eq!(workers.shut_down().await, 2); // P7
    let exits = ["a", "b", "c"].map(|name| {
        let tree = system.tree();
        tree.find(&format!("root/crew/{name}")).unwrap().last_exit.clone().unwrap()
    });
    assert_eq!(exits, [Exit::Normal, Exit::Normal, Exit::Killed]); // P7
}
