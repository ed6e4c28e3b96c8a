//! Panics in every place where foreign code runs: they are contained, told, and recovered from.

use super::*;
use crate::mode::handle::ModeChange;

/// Nobody but worker 0 is touched by a bug, and it works again when that is gone.
async fn recovers(workers: &Workers, what: &str) {
    workers.plans[0].plant(None);
    workers.plans[0].slow_start.store(0, Ordering::Relaxed);
    tokio::time::sleep(20 * SECOND).await;
    let answer = asked(&workers.handles[0], Duration::ZERO, Patience::Wait).await;
    assert!(answer.is_ok(), "{what}: {answer:?}");
    assert_eq!((workers.life(1), workers.find("root/crew").incarnation), (1, 1), "{what}");
    assert_eq!(workers.plans[0].overlapped.load(Ordering::Relaxed), 0, "{what}");
}

async fn two() -> Workers {
    let hangs = |spec: ChildSpec| spec.hang_after(2 * SECOND);
    workers_under(RestartPolicy::default(), 2, |_| (), hangs).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_panic_where_a_life_is_made_or_started_is_a_failed_start() {
    for bug in [Bug::Make, Bug::Started] {
        let workers = two().await;
        workers.plans[0].plant(Some(bug));
        workers.handles[0].tell(Order::Panic).unwrap();
        tokio::time::sleep(SECOND).await;
        let Some(Exit::Panicked(why)) = workers.last_exit(0) else { panic!("{:?}", workers.last_exit(0)) };
        assert!(why.contains("a bug"), "{bug:?}: {why}");
        recovers(&workers, &format!("{bug:?}")).await; // B19
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_shutdown_is_an_end_all_the_same() {
    let workers = two().await;
    workers.plans[0].plant(Some(Bug::Shutdown));
    workers.children.terminate("0").await.unwrap();
    assert!(matches!(workers.last_exit(0), Some(Exit::Panicked(_))));
    workers.children.restart("0").await.unwrap();
    recovers(&workers, "shutdown").await; // B19
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_state_touches_nobody_else_however_its_life_ended() {
    for End { order, told, crash } in ENDS {
        let workers = two().await;
        workers.plans[0].plant(Some(Bug::Drop));
        workers.handles[0].tell(order()).unwrap();
        tokio::time::sleep(4 * SECOND).await;
        let exit = workers.last_exit(0).unwrap().to_string();
        assert!(exit.starts_with(if crash { told } else { "panicked: " }), "{exit}");
        recovers(&workers, told).await; // B19
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_state_that_did_not_start_is_contained_too() {
    for failing in [1, 2] {
        let workers = two().await;
        workers.plans[0].plant(Some(Bug::Drop));
        workers.plans[0].failing_starts.store(failing, Ordering::Relaxed);
        workers.children.terminate("0").await.unwrap();
        assert!(matches!(workers.children.restart("0").await, Err(AdminError::Failed(_))));
        workers.plans[0].plant(None);
        workers.plans[0].failing_starts.store(0, Ordering::Relaxed);
        workers.children.restart("0").await.unwrap();
        recovers(&workers, "not started").await; // B19
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_what_a_callback_held_when_it_was_cut_off_is_contained() {
    let hung = two().await;
    hung.plans[0].plant(Some(Bug::CutOff));
    hung.handles[0].tell(Order::Hang).unwrap();
    tokio::time::sleep(5 * SECOND).await;
    recovers(&hung, "a handler").await; // B19
    let starting = two().await;
    starting.plans[0].plant(Some(Bug::CutOff));
    starting.plans[0].slow_start.store(3600, Ordering::Relaxed);
    starting.handles[0].tell(Order::Panic).unwrap();
    tokio::time::sleep(15 * SECOND).await;
    recovers(&starting, "a start").await; // B19
}

/// What a subscriber makes of a mode change: a panic.
struct Careless;

#[cfg(feature = "ractor-cluster")]
impl ractor::Message for Careless {}

impl From<ModeChange> for Careless {
    fn from(_: ModeChange) -> Self {
        panic!("a bug of a subscriber")
    }
}

struct Reader;

#[cfg_attr(feature = "ractor-async-trait", ractor::async_trait)]
impl ractor::Actor for Reader {
    type Msg = Careless;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ractor::ActorRef<Careless>,
        (): (),
    ) -> Result<(), ractor::ActorProcessingErr> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_is_missed_by_nobody() {
    use futures_util::StreamExt;
    use ractor::Actor;
    let workers = two().await;
    let system = workers.tree.system();
    let (reader, _) = Actor::spawn(None, Reader, ()).await.unwrap();
    system.mode().subscribe(reader.clone());
    let mut events = Box::pin(system.events().follow());
    let careless = tokio::spawn(async move {
        events.next().await;
        panic!("a bug of a subscriber")
    });
    let mut mode = system.mode().watch();
    workers.handles[0].tell(Order::Panic).unwrap();
    mode.wait_for(|now| now.mode == Mode::Degraded).await.unwrap();
    mode.wait_for(|now| now.mode == Mode::Normal).await.unwrap(); // B19
    assert!(careless.await.is_err());
    recovers(&workers, "a subscriber").await;
    reader.stop(None);
    assert_eq!(workers.shut_down().await, 0);
}
