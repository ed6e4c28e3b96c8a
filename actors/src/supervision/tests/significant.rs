//! Significant children over two levels: what the end of a worker ends.

use super::*;

/// `root/crew` over `inner` over the significant worker `inner/w`; both supervisors end for good when they do.
async fn two_levels(inner_is_significant: bool) -> (Supervised, Handle<Order>) {
    let ends = |auto_shutdown| RestartPolicy { auto_shutdown, ..RestartPolicy::default() };
    let mut handle = None;
    let tree = tree(|commons| {
        let (worker, at) = worker("inner/w", &Arc::default());
        handle = Some(at);
        let worker = worker.restart(Restart::Transient).significant();
        let any = ends(AutoShutdown::AnySignificant);
        let (inner, _) = Supervisor::spec("root/crew/inner", any, vec![worker], commons)?;
        let inner = inner.restart(Restart::Transient);
        let inner = if inner_is_significant { inner.significant() } else { inner };
        let all = ends(AutoShutdown::AllSignificant);
        let (crew, _) = Supervisor::spec("root/crew", all, vec![inner], commons)?;
        Ok(vec![crew.restart(Restart::Transient)])
    });
    (tree.await.unwrap(), handle.unwrap())
}

fn state(tree: &Supervised, path: &str) -> SlotState {
    tree.system().tree().find(path).unwrap().state.clone()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_worker_ends_its_supervisor_and_the_one_above_only_if_that_one_is_significant() {
    for (significant, above) in [(true, SlotState::Down), (false, SlotState::Up)] {
        let (tree, worker) = two_levels(significant).await;
        worker.tell(Order::Panic).unwrap();
        settle().await;
        assert!(worker.up().await, "a crash of a transient one is no end");
        worker.tell(Order::Stop).unwrap();
        worker.down().await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(state(&tree, "root/crew/inner"), SlotState::Down);
        assert_eq!(state(&tree, "root/crew"), above); // G5
        assert_eq!(state(&tree, "root"), SlotState::Up);
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_ends_in_order_with_its_children_is_no_trouble() {
    let (tree, worker) = two_levels(true).await;
    let mut mode = tree.system().mode().watch();
    mode.mark_unchanged();
    worker.tell(Order::Stop).unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(state(&tree, "root/crew"), SlotState::Down);
    assert!(!mode.has_changed().unwrap(), "{:?}", mode.borrow()); // T5
    let told = tree.system().events().recent();
    let trouble = |event: &EventKind| {
        matches!(event, EventKind::ActorRestarting { .. } | EventKind::SupervisorGaveUp { .. })
    };
    assert!(!told.iter().any(|event| trouble(&event.kind)), "{told:#?}"); // T5
}
