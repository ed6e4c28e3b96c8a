//! Handlers that hang, and actors that starve.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_found_killed_and_its_actor_restarted() {
    let hang_after = |spec: ChildSpec| spec.hang_after(5 * SECOND);
    let workers = workers_under(RestartPolicy::default(), 2, |_| (), hang_after).await.unwrap();
    assert_eq!(asked(&workers.handles[1], 4 * SECOND, Patience::Wait).await, Ok(1), "slow is not hung");
    workers.handles[0].tell(Order::Hang).unwrap();
    tokio::time::sleep(8 * SECOND).await;
    assert!(matches!(workers.find("root/crew/0").last_exit, Some(Exit::Hung(ms)) if ms >= 5000)); // B8
    workers.up_again(0).await;
    assert_eq!((workers.life(0), workers.life(1)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_is_starved_is_found_by_a_ping_and_a_busy_one_is_left_alone() {
    let answer_within = |spec: ChildSpec| spec.answer_within(5 * SECOND);
    let workers = workers_under(RestartPolicy::default(), 2, |_| (), answer_within).await.unwrap();
    let load = |worker: usize, messages: u32, each: Duration| {
        for _ in 0..messages {
            let (reply, _) = tokio::sync::oneshot::channel();
            workers.handles[worker].tell(Order::Answer(reply.into(), each)).unwrap();
        }
    };
    load(0, 100, SECOND);
    load(1, 100, SECOND / 50);
    tokio::time::sleep(9 * SECOND).await;
    assert!(matches!(workers.find("root/crew/0").last_exit, Some(Exit::Hung(ms)) if ms >= 5000)); // E7
    assert_eq!((workers.life(0), workers.life(1)), (2, 1));
}
