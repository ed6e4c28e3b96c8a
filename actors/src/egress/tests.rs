//! A lost network and lost providers over real actors on virtual time: only the latter are blamed.

use std::{sync::Arc, time::Duration};

use crate::{
    chain::policy::ChainPolicy,
    error::ErrorKind,
    event::EventKind,
    mode::Mode,
    provider::policy::ProviderPolicy,
    testing::{Act, FakeNetwork, FakeProvider, World, request, settle},
};

const SECOND: Duration = Duration::from_secs(1);

/// Three providers, all of which can be probed, and the network before them.
async fn world() -> (World, Arc<FakeNetwork>) {
    let network = Arc::new(FakeNetwork::default());
    let once = ChainPolicy { retries: 0, ..ChainPolicy::default() };
    let world = World::start_behind(&network, 1, 3, ProviderPolicy::default(), once).await.unwrap();
    world.fakes.iter().for_each(|fake| fake.set_probe(None));
    assert!(call(&world).await);
    (world, network)
}

async fn call(world: &World) -> bool {
    let answered = world.chat().call(request()).await.is_ok();
    settle().await;
    answered
}

fn all(world: &World, act: Act) {
    world.fakes.iter().for_each(|fake| fake.set(act));
}

fn circuits(world: &World) -> Vec<&'static str> {
    let now = world.system().commons().now();
    (0..3).map(|provider| world.desk(provider).status(now).circuit).collect()
}

fn opened(world: &World) -> usize {
    let events = world.system().events().recent();
    events.iter().filter(|event| matches!(event.kind, EventKind::CircuitChanged { to: "open", .. })).count()
}

fn reasons(world: &World) -> Vec<Arc<str>> {
    let snapshot = world.system().mode().snapshot();
    snapshot.reasons.iter().map(|reason| reason.component.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_network_is_one_cause_and_nobody_s_circuit_opens() {
    for kind in [ErrorKind::Connect, ErrorKind::ConnectTimeout, ErrorKind::Reset, ErrorKind::TotalTimeout] {
        let (world, network) = world().await;
        network.set_down(true);
        all(&world, Act::Fail(kind));
        for _ in 0..300 {
            assert!(!call(&world).await);
            tokio::time::sleep(SECOND).await;
        }
        assert_eq!((opened(&world), circuits(&world)), (0, vec!["closed"; 3]), "{kind}"); // PC21
        assert_eq!(reasons(&world), ["egress".into()], "{kind}"); // PC21
        assert_eq!(world.system().mode().now(), Mode::Emergency);
        assert!((50..=150).contains(&network.looks()), "{} looks in 5 minutes", network.looks());
        network.set_down(false);
        all(&world, Act::Answer);
        tokio::time::sleep(4 * SECOND).await;
        assert_eq!((reasons(&world).len(), world.system().mode().now()), (0, Mode::Normal));
        assert!(call(&world).await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_opened_before_the_network_was_known_to_be_lost_is_closed_again() {
    let (world, network) = world().await;
    network.set_down(true);
    network.takes(2 * SECOND);
    all(&world, Act::Fail(ErrorKind::Connect));
    for _ in 0..10 {
        call(&world).await;
    }
    assert_eq!(circuits(&world), ["open"; 3]);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!((circuits(&world), reasons(&world)), (vec!["closed"; 3], vec!["egress".into()])); // PC21
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_was_open_before_stays_open() {
    let (world, network) = world().await;
    world.fakes[0].set(Act::Fail(ErrorKind::ServerError));
    for _ in 0..5 {
        call(&world).await;
    }
    assert_eq!(circuits(&world), ["open", "closed", "closed"]);
    network.set_down(true);
    all(&world, Act::Fail(ErrorKind::Connect));
    for _ in 0..10 {
        call(&world).await;
    }
    assert_eq!(circuits(&world), ["open", "closed", "closed"]);
    assert_eq!(reasons(&world), ["provider/a".into(), "egress".into()]);
}

#[tokio::test(start_paused = true)]
async fn providers_that_are_really_gone_are_blamed_as_ever() {
    let (world, network) = world().await;
    all(&world, Act::Fail(ErrorKind::Connect));
    for _ in 0..10 {
        assert!(!call(&world).await);
    }
    assert_eq!((circuits(&world), opened(&world)), (vec!["open"; 3], 3));
    assert!(network.looks() >= 1);
    assert!(!reasons(&world).contains(&"egress".into()));
}

#[tokio::test(start_paused = true)]
async fn one_provider_that_is_silent_while_others_answer_is_not_excused() {
    let (world, network) = world().await;
    network.set_down(true);
    world.fakes[0].set(Act::Fail(ErrorKind::Connect));
    for _ in 0..10 {
        assert!(call(&world).await);
    }
    assert_eq!((circuits(&world)[0], network.looks()), ("open", 0));
}

#[tokio::test(start_paused = true)]
async fn idle_providers_whose_probes_are_silent_are_excused_too() {
    let (world, network) = world().await;
    for provider in 0..3 {
        world.desk(provider).adapt(ProviderPolicy::default()).unwrap();
    }
    network.set_down(true);
    all(&world, Act::Hang);
    tokio::time::sleep(300 * SECOND).await;
    assert!(world.fakes.iter().all(|fake| fake.probes() >= 8));
    assert_eq!((circuits(&world), reasons(&world)), (vec!["closed"; 3], vec!["egress".into()])); // PC21
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_proves_the_network_before_the_target_does() {
    let (world, network) = world().await;
    network.set_down(true);
    all(&world, Act::Fail(ErrorKind::Connect));
    call(&world).await;
    assert_eq!(reasons(&world), ["egress".into()]);
    world.fakes[2].set(Act::Answer);
    assert!(call(&world).await);
    assert_eq!((reasons(&world).len(), network.looks()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_watcher_changes_nothing() {
    let (world, network) = world().await;
    network.set_down(true);
    all(&world, Act::Fail(ErrorKind::Connect));
    call(&world).await;
    world.system().commons().egress.actor().unwrap().crash();
    for _ in 0..30 {
        call(&world).await;
        assert_eq!(reasons(&world)[0], "egress".into());
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(circuits(&world), ["closed"; 3]);
    network.set_down(false);
    tokio::time::sleep(4 * SECOND).await;
    assert!(reasons(&world).is_empty(), "{:?}", reasons(&world));
}

/// Keeps the first two providers, and puts another in the third one's place.
async fn third_replaced(world: &World) -> Arc<FakeProvider> {
    let fake = Arc::new(FakeProvider::default());
    let mut change = world.tree.change();
    for name in ["a", "b"] {
        change.keep(world.system().provider(name).unwrap(), ProviderPolicy::default(), None).unwrap();
    }
    change.provider("d", fake.clone(), ProviderPolicy::default()).unwrap();
    let once = ChainPolicy { retries: 0, ..ChainPolicy::default() };
    change.chain("chat", [("a", "m"), ("b", "m"), ("d", "m")], once).unwrap();
    change.apply().await.unwrap();
    fake
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_came_with_a_change_is_excused_like_the_others() {
    let (world, network) = world().await;
    let d = third_replaced(&world).await;
    network.set_down(true);
    network.takes(2 * SECOND);
    all(&world, Act::Fail(ErrorKind::Connect));
    d.set(Act::Fail(ErrorKind::Connect));
    for _ in 0..10 {
        assert!(world.system().chain("chat").unwrap().call(request()).await.is_err());
        settle().await;
    }
    let circuits = || {
        let now = world.system().commons().now();
        world.system().providers().map(|desk| desk.status(now).circuit).collect::<Vec<_>>()
    };
    assert_eq!(circuits(), ["open"; 3]);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!((circuits(), reasons(&world)), (vec!["closed"; 3], vec!["egress".into()])); // PC21
}
