//! Bugs: in a provider's code, in a provider's actor, in the mode manager, in the listener. Calls go on.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use mainstay::{
    Chain, ErrorKind, Provider, ProviderCall, ProviderError, Runtime,
    actors::{
        call::{FullReply, ProviderReply},
        shell::{Behavior, Cx, Failure},
        supervision::{ChildSpec, RestartPolicy, Shutdown, SlotState},
    },
    completion,
    providers::scripted::Fault,
};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::support::{World, until};

/// Answers after a moment; panics or fails when told to.
#[derive(Clone, Default)]
struct Buggy {
    panics: Arc<AtomicBool>,
    fails: Arc<AtomicBool>,
}

impl Provider for Buggy {
    fn call<'a>(&'a self, _: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(!self.panics.load(Ordering::Relaxed), "a bug, with a secret sk-canary in its text");
            if self.fails.load(Ordering::Relaxed) {
                return Err(ProviderError::new(ErrorKind::Connect, "refused"));
            }
            Ok(ProviderReply::Full(FullReply::new("{}")))
        }
        .boxed()
    }
}

async fn two(a: &Buggy) -> Runtime {
    let builder = Runtime::builder().provider("a", a.clone()).provider("b", Buggy::default());
    builder.chain("chat", ["a", "b"]).start().await.unwrap()
}

/// Eight callers that call until told to stop; how many of their calls failed, and were made.
fn load(chat: Arc<Chain>) -> impl Future<Output = (usize, usize)> {
    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers = (0..8).map(|_| {
        let (chat, stop, failed) = (chat.clone(), stop.clone(), failed.clone());
        tokio::spawn(async move {
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                let answered = chat.call(completion("hi")).await.is_ok();
                failed.fetch_add(usize::from(!answered), Ordering::Relaxed);
                calls += 1;
            }
            calls
        })
    });
    let callers: Vec<_> = callers.collect();
    async move {
        stop.store(true, Ordering::Relaxed);
        let calls = futures_util::future::join_all(callers).await;
        (failed.load(Ordering::Relaxed), calls.into_iter().map(Result::unwrap).sum())
    }
}

#[tokio::test]
async fn a_panic_in_a_providers_code_is_an_attempt_that_failed() {
    let a = Buggy::default();
    let runtime = two(&a).await;
    let under_load = load(runtime.chain("chat").unwrap());
    a.panics.store(true, Ordering::Relaxed);
    let desk = runtime.system().provider("a").unwrap().clone();
    until("the panics open the circuit", async || !desk.is_usable()).await;
    let reason = desk.status(runtime.system().commons().now()).reason;
    assert!(reason.contains("panicked") && !reason.contains("canary"));
    let (failed, calls) = under_load.await;
    assert_eq!(failed, 0, "of {calls} calls");
    let life = runtime.tree().find("root/providers/a").unwrap().incarnation;
    assert_eq!(life, 1, "the actor has nothing to do with it");
}

#[tokio::test]
async fn a_panic_in_a_providers_actor_fails_no_call_and_loses_no_breaker_state() {
    let a = Buggy::default();
    let runtime = two(&a).await;
    let desk = runtime.system().provider("a").unwrap().clone();
    let under_load = load(runtime.chain("chat").unwrap());
    desk.actor().crash();
    until("a is back", async || life(&runtime, "root/providers/a") == 2).await;
    assert!(desk.is_usable());

    a.fails.store(true, Ordering::Relaxed);
    until("a's circuit opens", async || !desk.is_usable()).await;
    let status = || desk.status(runtime.system().commons().now());
    let before = status();
    desk.actor().crash();
    until("a is back again", async || life(&runtime, "root/providers/a") == 3).await;
    let after = status();
    assert_eq!((before.circuit, after.circuit), ("open", "open"));
    assert!(after.probe_in_ms <= before.probe_in_ms, "the open time did not start anew");
    let (failed, calls) = under_load.await;
    assert_eq!(failed, 0, "of {calls} calls");
    assert_eq!((desk.in_flight(), desk.actor().waiting()), (0, 0));
}

fn life(runtime: &Runtime, path: &str) -> u64 {
    let tree = runtime.tree();
    let actor = tree.find(path).unwrap();
    if actor.state == SlotState::Up { actor.incarnation } else { 0 }
}

#[tokio::test]
async fn a_crash_is_told_as_an_event_a_reason_and_a_line_in_the_tree() {
    let world = World::new().await;
    let mut degraded = world.runtime.mode().watch();
    world.runtime.system().provider("a").unwrap().actor().crash();
    let reason = degraded.wait_for(|now| now.notice().is_some()).await.unwrap().notice().unwrap();
    assert!(reason.starts_with("DEGRADED: root/providers/a panicked: crash requested"), "{reason}");
    world.until_mode(mainstay::Mode::Normal).await;
    let tree = world.get("/status.json").await.json()["tree"].clone();
    let a = &tree["children"][2]["children"][0];
    assert_eq!((a["path"].as_str(), a["restarts"].as_u64()), (Some("root/providers/a"), Some(1)));
    assert_eq!(a["last_exit"]["how"], "panicked");
    let events: Vec<_> = world.runtime.events().recent();
    let told = events.iter().map(|event| serde_json::to_value(&**event).unwrap()["type"].clone());
    let told: Vec<_> = told.collect();
    assert!(told.contains(&"actor_restarting".into()), "{told:?}");
}

#[tokio::test]
async fn the_gateway_keeps_answering_while_its_providers_crash() {
    let world = World::new().await;
    world.break_a(Fault::status(503)).await;
    for _ in 0..3 {
        world.runtime.system().provider("b").unwrap().actor().crash();
        for _ in 0..10 {
            assert_eq!(world.ask("hi").await.said(), "Echo from b: hi");
        }
    }
}

/// A host's actor: it counts the trees that ended below it.
struct Host;

impl Actor for Host {
    type Msg = ();
    type State = Arc<AtomicUsize>;
    type Arguments = Arc<AtomicUsize>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        ended: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(ended)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        ended: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let over = matches!(event, SupervisionEvent::ActorTerminated(..) | SupervisionEvent::ActorFailed(..));
        ended.fetch_add(usize::from(over), Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn a_hosts_actor_is_told_of_the_end_of_its_tree_and_takes_it_along() {
    let ended = Arc::new(AtomicUsize::new(0));
    let (host, _) = Actor::spawn(None, Host, ended.clone()).await.unwrap();
    let start =
        || Runtime::builder().provider("a", Buggy::default()).chain("chat", ["a"]).start_linked(&host);
    let first = start().await.unwrap();
    assert!(first.chain("chat").unwrap().call(completion("hi")).await.is_ok());
    assert!(first.shutdown(Duration::from_secs(5)).await.is_clean());
    until("the host is told", async || ended.load(Ordering::Relaxed) == 1).await;
    let second = start().await.unwrap();
    host.stop(None);
    let exit = tokio::time::timeout(Duration::from_secs(5), second.system().ended()).await;
    assert!(exit.is_ok(), "the tree ends with its host");
    until("all is down", async || second.tree().alive().is_empty()).await;
}

/// Blocks the thread it runs on until the other end is dropped, which no kill can end.
struct Blocking(Arc<Mutex<mpsc::Receiver<()>>>);

impl Behavior for Blocking {
    type Msg = bool;

    async fn handle(&mut self, blocks: bool, _: &Cx<bool>) -> Result<(), Failure> {
        if blocks {
            let _ = self.0.lock().unwrap().recv();
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_actor_that_blocks_its_thread_is_abandoned_and_replaced() {
    let (release, held) = mpsc::channel();
    let held = Arc::new(Mutex::new(held));
    let (spec, actor) = ChildSpec::new("root/own/blocking", move |_| Blocking(held.clone()));
    let spec = spec.hang_after(Duration::from_millis(200));
    let own = Runtime::builder().supervise("own", RestartPolicy::default(), vec![spec]);
    let runtime = own.start().await.unwrap();
    actor.tell(true).unwrap();
    until("it is replaced", async || life(&runtime, "root/own/blocking") == 2).await; // B9
    let exit = runtime.tree().find("root/own/blocking").unwrap().last_exit.clone();
    actor.tell(false).unwrap();
    until("the new life works", async || actor.waiting() == 1).await;
    assert_eq!(exit, None, "the old life has not ended: its thread is still blocked");
    drop(release);
    until("its lane comes home in the end", async || actor.waiting() == 0).await;
    assert!(runtime.shutdown(Duration::from_secs(5)).await.is_clean());
}

/// Ends when it is told anything, and blocks its thread while it cleans up.
struct Clinging(Arc<Mutex<mpsc::Receiver<()>>>);

impl Behavior for Clinging {
    type Msg = ();

    async fn handle(&mut self, (): (), cx: &Cx<()>) -> Result<(), Failure> {
        cx.stop();
        Ok(())
    }

    async fn stopped(&mut self, _: &Cx<()>) {
        let _ = self.0.lock().unwrap().recv();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_actor_that_blocks_its_thread_while_it_cleans_up_is_abandoned_and_replaced() {
    let (release, held) = mpsc::channel();
    let held = Arc::new(Mutex::new(held));
    let (spec, actor) = ChildSpec::new("root/own/clinging", move |_| Clinging(held.clone()));
    let limit = Duration::from_millis(200);
    let spec = spec.shutdown(Shutdown::Within(limit)).hang_after(Duration::from_secs(3600));
    let own = Runtime::builder().supervise("own", RestartPolicy::default(), vec![spec]);
    let runtime = own.start().await.unwrap();
    actor.tell(()).unwrap();
    until("it is replaced", async || life(&runtime, "root/own/clinging") == 2).await; // B9
    drop(release);
    assert!(runtime.shutdown(Duration::from_secs(5)).await.is_clean());
}
