//! A supervisor that gives up or crashes, and what the one above makes of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn too_many_crashes_end_the_supervisor_and_its_parent_starts_it_anew() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let policy = RestartPolicy { strategy, ..RestartPolicy::default() };
        let workers = workers_under(policy, 2, |_| (), |spec| spec).await.unwrap();
        let (spec, added) = worker("added", &Arc::default());
        workers.children.start(spec).await.unwrap();
        let mut mode = workers.tree.system().mode().watch();
        workers.plans[0].failing_starts.store(10, Ordering::Relaxed);
        workers.handles[0].tell(Order::Panic).unwrap();
        mode.wait_for(|now| now.mode == Mode::Emergency).await.unwrap();
        let text = mode.borrow().notice().unwrap();
        assert!(text.contains("root/crew gave up after too many restarts"), "{text}"); // R5
        workers.up_again(0).await;
        settle().await;
        assert_eq!((workers.find("root/crew").incarnation, workers.find("root").incarnation), (2, 1)); // R9
        assert!(workers.handles.iter().all(|handle| handle.state() == SlotState::Up), "{strategy:?}");
        assert_eq!(added.state(), SlotState::Down, "what was added is gone with that life"); // R9
        let Some(Exit::Failed(cause)) = workers.find("root/crew").last_exit else { panic!("{strategy:?}") };
        assert!(cause.contains("last: root/crew/0 failed: no start"), "{cause}"); // R5
        tokio::time::sleep(SECOND).await;
        assert_eq!(workers.tree.system().mode().now(), Mode::Normal);
    }
}

#[tokio::test(start_paused = true)]
async fn when_even_the_root_gives_up_it_is_an_emergency_and_the_end_is_told() {
    let workers = workers(1, |_| ()).await.unwrap();
    workers.plans[0].failing_starts.store(u64::MAX, Ordering::Relaxed);
    workers.handles[0].tell(Order::Panic).unwrap();
    let exit = workers.tree.system().ended().await;
    assert!(exit.to_string().contains("gave up after too many restarts"), "{exit}");
    assert_eq!(workers.tree.system().mode().now(), Mode::Emergency);
    let text = workers.tree.system().mode().snapshot().notice().unwrap();
    assert!(text.contains("gave up") || text.contains("the supervision tree is gone"), "{text}");
    assert!(
        workers
            .told()
            .iter()
            .any(|e| matches!(e, EventKind::SupervisorGaveUp { actor, .. } if &**actor == "root"))
    );
    assert!(workers.tree.system().tree().alive().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_crashes_comes_back_with_its_children_and_no_life_meets_another() {
    let workers = workers(2, |_| ()).await.unwrap();
    let (spec, added) = worker("added", &Arc::default());
    workers.children.start(spec).await.unwrap();
    for life in 2..10 {
        workers.children.supervisor().crash(); // B19
        tokio::time::sleep(20 * SECOND).await;
        assert_eq!((workers.find("root/crew").incarnation, workers.life(1)), (life, life)); // A6
    }
    assert_eq!(added.state(), SlotState::Down, "what was added is gone with that life"); // R9
    assert!(workers.plans.iter().all(|plan| plan.overlapped.load(Ordering::Relaxed) == 0)); // B11
    assert_eq!(workers.tree.system().mode().now(), Mode::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_comes_back_with_all_it_was_made_with_also_what_was_deleted_or_forgotten() {
    let shape = |spec: ChildSpec| match spec.name() {
        "1" => spec.restart(Restart::Temporary),
        _ => spec,
    };
    let workers = workers_under(RestartPolicy::default(), 3, |_| (), shape).await.unwrap();
    workers.children.terminate("0").await.unwrap();
    workers.children.delete("0").await.unwrap();
    workers.handles[1].tell(Order::Stop).unwrap();
    let (spec, added) = worker("added", &Arc::default());
    workers.children.start(spec).await.unwrap();
    assert_eq!(workers.children.snapshot().counts().specs, 2);
    workers.children.supervisor().crash();
    tokio::time::sleep(SECOND).await;
    let names: Vec<_> = workers.children.snapshot().children.iter().map(|c| c.name().to_string()).collect();
    assert_eq!(names, ["0", "1", "2"]); // A6, R9
    assert_eq!(workers.children.snapshot().counts().active, 3);
    assert_eq!(added.state(), SlotState::Down);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_a_crashed_supervisor_left_behind_meets_no_other_life() {
    let workers = workers(1, |_| ()).await.unwrap();
    workers.plans[0].slow_start.store(4, Ordering::Relaxed);
    workers.handles[0].tell(Order::Panic).unwrap();
    tokio::time::sleep(SECOND).await;
    workers.children.supervisor().crash();
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(workers.plans[0].overlapped.load(Ordering::Relaxed), 0); // B11
    assert_eq!((workers.find("root/crew").incarnation, workers.handles[0].state()), (2, SlotState::Up));
}
