//! The story of a failure, end to end: a provider dies, another answers, everybody hears of it, it heals.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use mainstay::{Mode, ModeChange, providers::scripted::Fault};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{Speaks, World, until};

/// Every way to die that says something about the provider, with the kind it is counted as.
fn faults() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::status(500), "server_error"),
        (Fault::status(503), "overloaded"),
        (Fault::status(401), "auth"),
        (Fault::Hang, "total_timeout"),
        (Fault::HangAfter(0), "total_timeout"),
        (Fault::CutAfter(0), "malformed"),
        (Fault::Reset, "reset"),
        (Fault::ResetAfter(0), "reset"),
        (Fault::Malformed, "malformed"),
        (Fault::Slow(Duration::from_secs(5)), "total_timeout"),
        (Fault::ErrorAfter(0), "server_error"),
        (Fault::Empty, "malformed"),
    ]
}

/// The same for streams, before the first content: nobody sees anything but the next provider's stream.
fn stream_faults() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::status(503), "overloaded"),
        (Fault::Hang, "first_token_timeout"),
        (Fault::HangAfter(1), "first_token_timeout"),
        (Fault::CutAfter(1), "truncated"),
        (Fault::Reset, "reset"),
        (Fault::ResetAfter(1), "reset"),
        (Fault::Malformed, "malformed"),
        (Fault::Slow(Duration::from_secs(5)), "first_token_timeout"),
        (Fault::Pings, "first_token_timeout"),
        (Fault::ErrorAfter(1), "server_error"),
    ]
}

#[tokio::test]
async fn whatever_kills_a_b_answers_and_a_is_left_alone_until_it_heals() {
    stories(Speaks::OpenAi).await;
}

#[tokio::test]
async fn the_same_is_true_in_anthropic_s_dialect() {
    stories(Speaks::Anthropic).await;
}

async fn stories(speaks: Speaks) {
    let stories = faults().into_iter().map(|(fault, kind)| story(speaks, fault, kind, false));
    let streams = stream_faults().into_iter().map(|(fault, kind)| story(speaks, fault, kind, true));
    let all = stories.map(|s| Box::pin(s) as futures_util::future::BoxFuture<'_, ()>);
    let all = all.chain(streams.map(|s| Box::pin(s) as futures_util::future::BoxFuture<'_, ()>));
    futures_util::future::join_all(all).await;
}

async fn story(speaks: Speaks, fault: Fault, kind: &str, streaming: bool) {
    let name = format!("{fault} ({speaks:?}, streaming: {streaming})");
    let world = World::speaking(speaks).await;
    let said = async |world: &World| {
        let answer = if streaming { world.ask_streaming("hi").await } else { world.ask("hi").await };
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        let text = if streaming { answer.streamed() } else { answer.said() };
        assert!(!streaming || answer.is_signed_off(), "{name}: {answer:?}");
        (text, answer)
    };
    assert_eq!(said(&world).await.0, "Echo from a: hi", "{name}");

    world.a.set_default_fault(Some(fault.clone()));
    let mut calls = 0;
    while world.circuit("a") == "closed" {
        let (text, answer) = said(&world).await;
        assert_eq!(text, "Echo from b: hi", "{name}");
        assert_eq!(answer.header("x-mainstay-attempts"), "2", "{name}");
        let instead = format!("provider b answered in place of a ({kind})");
        assert!(answer.header("x-mainstay-notice").contains(&instead), "{name}: {answer:?}");
        calls += 1;
        assert!(calls <= 6, "{name}: the circuit does not open");
    }
    world.until_mode(Mode::Degraded).await;
    let notice = said(&world).await.1.header("x-mainstay-notice").to_string();
    let out =
        if kind == "auth" { "provider a is taken out: " } else { "provider a, model model-a, is out: " };
    assert!(notice.starts_with(&format!("DEGRADED: {out}")), "{name}: {notice}");
    assert!(notice.contains(kind), "{name}: {notice}");

    // From now on only probes reach it: one in an open time, which is 300 ms ± 20 % or longer.
    let (before, started) = (world.a.requests(), Instant::now());
    for _ in 0..20 {
        assert_eq!(said(&world).await.0, "Echo from b: hi", "{name}");
    }
    let probes = world.a.requests() - before;
    let open_times = started.elapsed().as_millis() as u64 / 240;
    assert!(probes <= 1 + open_times, "{name}: {probes} requests in {open_times} open times");

    world.a.set_default_fault(None);
    if kind == "auth" {
        // Nobody tries a wrong key again by itself (PC12).
        world.runtime.system().provider("a").unwrap().close();
    }
    until("a's circuit closes", async || {
        said(&world).await;
        world.circuit("a") == "closed"
    })
    .await;
    world.until_mode(Mode::Normal).await;
    let (text, answer) = said(&world).await;
    assert_eq!((text.as_str(), answer.header("x-mainstay-notice")), ("Echo from a: hi", ""), "{name}");
}

#[tokio::test]
async fn every_kind_of_subscriber_sees_the_mode_go_and_come_back() {
    let world = World::new().await;
    let mut actor = subscribed_actor(&world).await;
    let mut watch = world.runtime.mode().watch();
    let events = world.request(reqwest::Method::GET, "/events").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut events = events.bytes_stream();

    world.break_a(Fault::status(503)).await;
    watch.wait_for(|now| now.mode == Mode::Degraded).await.unwrap();
    assert_eq!(next_mode(&mut actor).await, Mode::Degraded);
    world.a.set_default_fault(None);
    until("a answers again", async || {
        world.ask("hi").await.said() == "Echo from a: hi" && world.circuit("a") == "closed"
    })
    .await;
    watch.wait_for(|now| now.mode == Mode::Normal).await.unwrap();
    assert_eq!(next_mode(&mut actor).await, Mode::Normal);

    let mut heard = String::new();
    while !heard.contains(r#""to":"NORMAL""#) {
        heard += std::str::from_utf8(&events.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(heard.starts_with("event: snapshot\ndata: {"), "{heard}");
    let places = ["event: circuit_changed", r#""to":"DEGRADED""#, r#""to":"half_open""#, r#""to":"NORMAL""#];
    let places = places.map(|part| heard.find(part).unwrap_or_else(|| panic!("no {part} in {heard}")));
    assert!(places.is_sorted(), "{heard}");
}

#[tokio::test]
async fn with_both_dead_one_clear_error_lists_each_attempt_and_the_process_recovers() {
    let world = World::new().await;
    world.a.set_default_fault(Some(Fault::status(503)));
    world.b.set_default_fault(Some(Fault::Reset));
    let answer = world.ask("hi").await;
    assert_eq!(answer.status, 502, "{answer:?}");
    let error = &answer.json()["error"];
    let attempts: Vec<_> = error["attempts"].as_array().unwrap().iter().collect();
    assert_eq!(attempts.len(), 2);
    assert_eq!((&attempts[0]["provider"], &attempts[0]["kind"]), (&"a".into(), &"overloaded".into())); // PC2
    assert_eq!((&attempts[1]["provider"], &attempts[1]["kind"]), (&"b".into(), &"reset".into()));
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("1. a/model-a: overloaded") && message.contains("2. b/model-b: reset"),
        "{message}"
    );

    until("both are out", async || {
        world.ask("hi").await;
        world.runtime.mode().now() == Mode::Emergency
    })
    .await;
    let refused = world.ask("hi").await;
    assert_eq!(refused.header("x-mainstay-mode"), "EMERGENCY");
    assert_eq!(world.get("/livez").await.status, 200);
    assert_eq!(world.get("/status.json").await.json()["mode"]["mode"], "EMERGENCY");

    world.a.set_default_fault(None);
    world.b.set_default_fault(None);
    until("both are back", async || {
        world.ask("hi").await;
        world.runtime.mode().now() == Mode::Normal
    })
    .await;
    assert_eq!(world.ask("hi").await.said(), "Echo from a: hi");
}

#[tokio::test]
async fn a_request_that_is_wrong_is_asked_once_and_counts_against_nobody() {
    let world = World::new().await;
    world.a.set_default_fault(Some(Fault::status(400)));
    for _ in 0..10 {
        let answer = world.ask("hi").await;
        assert_eq!((answer.status, answer.header("x-mainstay-attempts")), (400, "1")); // PC4
        assert_eq!(answer.header("x-mainstay-provider"), "a");
        assert!(answer.json()["error"]["message"].is_string(), "the provider's own body: {answer:?}");
    }
    assert_eq!((world.b.requests(), world.circuit("a")), (0, "closed"));
}

#[tokio::test]
async fn a_verdict_on_the_request_stands_whoever_else_is_out() {
    let world = World::new().await;
    world.break_a(Fault::status(503)).await;
    world.b.set_default_fault(Some(Fault::status(422)));
    let answer = world.ask("hi").await;
    assert_eq!((answer.status, answer.header("x-mainstay-provider")), (422, "b")); // PC4, GW4
    let error = &answer.json()["error"];
    assert!(error["message"].as_str().unwrap().starts_with("The scripted provider"), "its own body: {error}");
    assert!(!answer.headers.contains_key("retry-after"), "waiting does not help");
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_upstream_call_along_and_counts_against_nobody() {
    let world = World::new().await;
    world.a.set_default_fault(Some(Fault::Hang));
    for _ in 0..10 {
        let leaving = tokio::time::timeout(Duration::from_millis(50), world.ask("hi"));
        assert!(leaving.await.is_err());
    }
    until("a's callers are gone", async || world.a.counts().aborted == 10).await; // PC3
    let desk = world.runtime.system().provider("a").unwrap().clone();
    until("all permits are home", async || desk.in_flight() == 0).await;
    assert_eq!((world.b.requests(), world.circuit("a")), (0, "closed"));
}

struct Listening;

struct Heard(ModeChange);

impl From<ModeChange> for Heard {
    fn from(change: ModeChange) -> Self {
        Self(change)
    }
}

impl Actor for Listening {
    type Msg = Heard;
    type State = UnboundedSender<Mode>;
    type Arguments = UnboundedSender<Mode>;

    async fn pre_start(
        &self,
        _: ActorRef<Heard>,
        out: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(out)
    }

    async fn handle(
        &self,
        _: ActorRef<Heard>,
        Heard(change): Heard,
        out: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Ok(out.send(change.snapshot.mode)?)
    }
}

/// An actor that has been told of the present, NORMAL, mode.
async fn subscribed_actor(world: &World) -> (Mode, UnboundedReceiver<Mode>) {
    let (out, mut heard) = unbounded_channel();
    let (actor, _) = Actor::spawn(None, Listening, out).await.unwrap();
    world.runtime.mode().subscribe(actor);
    (heard.recv().await.unwrap(), heard)
}

/// The next mode that differs from the last one heard.
async fn next_mode((last, heard): &mut (Mode, UnboundedReceiver<Mode>)) -> Mode {
    loop {
        let mode = heard.recv().await.unwrap();
        if mode != std::mem::replace(last, mode) {
            return mode;
        }
    }
}
