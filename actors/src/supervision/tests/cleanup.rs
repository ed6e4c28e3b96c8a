//! The last callback: when it runs, how long it may, and what becomes of its own failures.

use super::*;

fn limit(seconds: u32) -> impl Fn(ChildSpec) -> ChildSpec {
    move |spec| spec.shutdown(Shutdown::Within(seconds * SECOND))
}

async fn workers_within(seconds: u32, count: usize, slow: u64) -> Workers {
    let slow = |plans: &[Arc<Plan>]| {
        plans.iter().for_each(|plan| plan.slow_stop.store(slow, Ordering::Relaxed));
    };
    workers_under(RestartPolicy::default(), count, slow, limit(seconds)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_child_cleans_up_before_the_one_started_before_it_is_stopped() {
    let workers = workers_within(5, 3, 2).await;
    let log = workers.plans[0].log.clone();
    assert_eq!(workers.shut_down().await, 6);
    let order = [2, 1, 0].map(|n| [format!("{n} cleans up"), format!("{n} is clean")]).concat();
    assert_eq!(log.lines(), order); // P5
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_the_end_is_done_before_the_cleanup_and_nothing_after() {
    let workers = workers_within(5, 1, 3).await;
    let (handle, plan) = (workers.handles[0].clone(), workers.plans[0].clone());
    handle.tell(Order::Count).unwrap();
    let late = async {
        tokio::time::sleep(SECOND).await;
        handle.tell(Order::Count).unwrap_err().reason
    };
    let (_, reason) = tokio::join!(workers.shut_down(), late);
    assert_eq!((reason, plan.counted.load(Ordering::Relaxed)), (Obstacle::NotUp, 1));
    assert_eq!(plan.log.lines(), ["0 cleans up", "0 is clean"], "once");
}

#[tokio::test(start_paused = true)]
async fn a_life_that_ends_by_itself_or_with_an_error_cleans_up_and_one_that_panics_or_is_killed_does_not() {
    for End { order, told, .. } in ENDS {
        let limits = |spec: ChildSpec| limit(5)(spec).hang_after(2 * SECOND);
        let workers = workers_under(RestartPolicy::default(), 1, |_| (), limits).await.unwrap();
        workers.handles[0].tell(order()).unwrap();
        tokio::time::sleep(4 * SECOND).await;
        assert!(workers.last_exit(0).unwrap().to_string().starts_with(told));
        let is_sound = told == "stopped" || told.starts_with("failed");
        let expected: &[&str] = if is_sound { &["0 cleans up", "0 is clean"] } else { &[] };
        assert_eq!(workers.plans[0].log.lines(), expected, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_leaves_nothing_to_clean_up() {
    let workers = workers(1, |plans| plans[0].idle.store(1, Ordering::Relaxed)).await.unwrap();
    workers.plans[0].failing_starts.store(1, Ordering::Relaxed);
    assert!(workers.children.restart("0").await.is_err());
    assert_eq!(workers.plans[0].log.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_child_without_a_limit_has_all_the_time_to_clean_up() {
    let an_hour = |plans: &[Arc<Plan>]| plans[0].slow_stop.store(3600, Ordering::Relaxed);
    let patient = |spec: ChildSpec| spec.shutdown(Shutdown::Infinity);
    let workers = workers_under(RestartPolicy::default(), 1, an_hour, patient).await.unwrap();
    let system = workers.tree.system().clone();
    assert_eq!(workers.shut_down().await, 3600); // P1
    for actor in ["root/crew/0", "root/crew", "root"] {
        assert_eq!(system.tree().find(actor).unwrap().last_exit, Some(Exit::Normal), "{actor}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_get_clean_in_time_is_killed_and_the_others_end_in_order() {
    let workers = workers_within(1, 2, 0).await;
    workers.plans[1].slow_stop.store(3600, Ordering::Relaxed);
    let (spec, _) = worker("added", &workers.plans[1]);
    workers.children.start(limit(2)(spec)).await.unwrap();
    let system = workers.tree.system().clone();
    assert_eq!(workers.shut_down().await, 3);
    let exits = ["0", "1", "added"].map(|name| {
        let tree = system.tree();
        tree.find(&format!("root/crew/{name}")).unwrap().last_exit.clone().unwrap()
    });
    assert_eq!(exits, [Exit::Normal, Exit::Killed, Exit::Killed]); // P2
}

#[tokio::test(start_paused = true)]
async fn a_brutal_end_comes_at_once_and_cleans_nothing_up() {
    let brutal = |spec: ChildSpec| spec.shutdown(Shutdown::Brutal);
    let workers = workers_under(RestartPolicy::default(), 1, |_| (), brutal).await.unwrap();
    workers.plans[0].slow_stop.store(3600, Ordering::Relaxed);
    let (spec, _) = worker("added", &workers.plans[0]);
    workers.children.start(brutal(spec)).await.unwrap();
    workers.children.terminate("added").await.unwrap();
    workers.children.terminate("0").await.unwrap();
    assert_eq!(workers.last_exit(0), Some(Exit::Killed)); // P3
    assert_eq!(workers.find("root/crew/added").last_exit, Some(Exit::Killed));
    assert_eq!(workers.plans[0].log.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_life_that_ends_by_itself_has_the_same_time_to_clean_up() {
    for (order, exit) in [(Order::Stop, Exit::Killed), (Order::Fail, Exit::Failed("told to".into()))] {
        let workers = workers_within(2, 1, 3600).await;
        workers.handles[0].tell(order).unwrap();
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(workers.life(0), 1);
        workers.up_again(0).await;
        assert_eq!(workers.last_exit(0), Some(exit.clone()));
        assert_eq!(workers.plans[0].log.lines(), ["0 cleans up"], "{exit}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_cleans_up_within_its_time_is_not_taken_for_hung() {
    let shape = |spec: ChildSpec| {
        limit(60)(spec).hang_after(2 * SECOND).answer_within(3 * SECOND).restart(Restart::Transient)
    };
    let workers = workers_under(RestartPolicy::default(), 1, |_| (), shape).await.unwrap();
    workers.plans[0].slow_stop.store(30, Ordering::Relaxed);
    tokio::time::sleep(SECOND / 2).await;
    workers.handles[0].tell(Order::Stop).unwrap();
    tokio::time::sleep(31 * SECOND).await;
    assert_eq!(workers.last_exit(0), Some(Exit::Normal));
    assert_eq!(workers.plans[0].log.lines(), ["0 cleans up", "0 is clean"]);
}

#[tokio::test(start_paused = true)]
async fn a_cleanup_that_panics_is_how_the_life_ended_unless_it_had_failed_before() {
    for (order, told) in [(Order::Stop, "panicked: "), (Order::Fail, "failed: told to")] {
        let workers = workers(2, |plans| plans[0].plant(Some(Bug::Stopped))).await.unwrap();
        workers.handles[0].tell(order).unwrap();
        workers.up_again(0).await; // B19
        let exit = workers.last_exit(0).unwrap().to_string();
        assert!(exit.starts_with(told), "{exit}");
        assert_eq!((workers.life(0), workers.life(1)), (2, 1));
    }
}
