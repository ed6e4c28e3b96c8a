//! What the gateway offers beside chat, and what every answer carries.

use std::time::Duration;

use futures_util::StreamExt;
use mainstay::{providers::scripted::Fault, server::GatewayLimits};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Speaks, World, answered, until};

#[tokio::test]
async fn every_answer_says_who_gave_it_and_how_the_system_is() {
    let world = World::new().await;
    let answers = [
        (world.ask("hi").await, "a", "1"),
        (world.ask_streaming("hi").await, "a", "1"),
        (world.post("{").await, "none", "0"),
        (world.get("/nowhere").await, "none", "0"),
        (world.get("/v1/chat/completions").await, "none", "0"),
        (world.get("/livez").await, "none", "0"),
    ];
    for (answer, provider, attempts) in &answers {
        assert_eq!(answer.header("x-mainstay-provider"), *provider, "{answer:?}"); // GW3
        assert_eq!(answer.header("x-mainstay-attempts"), *attempts, "{answer:?}");
        assert_eq!(answer.header("x-mainstay-mode"), "NORMAL");
        assert_eq!(answer.header("x-mainstay-notice"), "");
        assert_eq!(answer.header("x-request-id"), answer.header("request-id"));
        assert_eq!(answer.header("x-request-id").len(), 36, "{answer:?}");
    }
    let own = world.request(Method::GET, "/v1/models").header("x-request-id", "mine-1");
    assert_eq!(answered(own).await.header("request-id"), "mine-1");
}

#[tokio::test]
async fn models_are_the_chains() {
    let world = World::new().await;
    let list = world.get("/v1/models").await.json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&"list".into(), &"chat".into()));
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/v1/models/chat").await.json()["object"], "model");
    let missing = world.get("/v1/models/gpt-9").await;
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &"model_not_found".into()));
}

#[tokio::test]
async fn health_is_a_status_for_machines_and_lines_for_people() {
    let world = World::new().await;
    assert_eq!(world.get("/livez").await.text, "ok\n");
    assert_eq!(world.get("/readyz?verbose").await.text, "[+]supervision ok\n[+]accepting ok\n");
    world.break_a(Fault::status(503)).await;
    assert_eq!(world.get("/readyz").await.status, 200, "degraded still answers");
}

#[tokio::test]
async fn the_status_shows_mode_providers_chains_and_tree() {
    let world = World::new().await;
    world.ask("hi").await;
    let status = world.get("/status.json").await.json();
    assert_eq!(status["mode"]["mode"], "NORMAL");
    assert_eq!(status["chains"][0]["targets"][1], "b/model-b");
    let a = &status["providers"][0];
    assert_eq!((a["name"].as_str(), a["circuit"].as_str()), (Some("a"), Some("closed")));
    until("the answer is counted", async || {
        world.get("/status.json").await.json()["providers"][0]["answered"] == 1
    })
    .await;
    let children = status["tree"]["children"].as_array().unwrap();
    let paths: Vec<_> = children.iter().map(|child| child["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["root/mode", "root/cache", "root/providers", "root/server"]);
}

#[tokio::test]
async fn a_reader_of_events_that_comes_back_gets_what_it_missed() {
    let world = World::new().await;
    world.runtime.system().provider("a").unwrap().actor().crash();
    until("a is back", async || world.runtime.tree().find("root/providers/a").unwrap().restarts == 1).await;
    let boot = world.runtime.events().boot();
    let missed = first_event(&world, Some(format!("{boot}-1"))).await;
    assert!(missed.starts_with(&format!("id: {boot}-2\n")), "{missed}");
    let stranger = first_event(&world, Some("1-1".into())).await;
    assert!(stranger.starts_with("event: snapshot\n"), "another life of the process: {stranger}");
}

async fn first_event(world: &World, last: Option<String>) -> String {
    let mut request = world.request(Method::GET, "/events");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut stream = request.send().await.unwrap().bytes_stream();
    String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_wait_is_told_so_that_sdks_come_back_in_time() {
    let world = World::new().await;
    let headers = "status=429; retry-after=7".parse::<Fault>().unwrap();
    world.a.set_default_fault(Some(headers.clone()));
    world.b.set_default_fault(Some(headers));
    let answer = world.ask("hi").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "7"));
    assert_eq!(answer.header("x-should-retry"), "");
    let again = world.ask("hi").await;
    assert_eq!((again.status, again.header("x-mainstay-attempts")), (429, "0"), "left alone: {again:?}"); // PC12
    let world = World::new().await;
    let long = "status=429; retry-after=3600".parse::<Fault>().unwrap();
    world.a.set_default_fault(Some(long.clone()));
    world.b.set_default_fault(Some(long));
    let answer = world.ask("hi").await;
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), ("60", "false")); // GW4
}

#[tokio::test]
async fn a_shutdown_lets_running_requests_finish_and_ends_a_stream_that_does_not() {
    let limits = GatewayLimits { drain: Duration::from_millis(600), ..GatewayLimits::default() };
    let world = World::with(Speaks::OpenAi, limits, r#"total = "1h""#).await;
    let ask = |stream: bool| {
        let request = world.request(Method::POST, "/v1/chat/completions");
        let messages = r#"[{"role":"user","content":"hi"}]"#;
        let body = format!(r#"{{"model":"chat","stream":{stream},"messages":{messages}}}"#);
        tokio::spawn(answered(request.body(body)))
    };
    world.a.set_default_fault(Some(Fault::HangAfter(3)));
    let endless = ask(true);
    until("the stream hangs", async || world.a.counts().in_progress == 1).await;
    world.a.set_default_fault(Some(Fault::Hang));
    let too_late = ask(false);
    until("a has both", async || world.a.counts().in_progress == 2).await;
    world.a.set_default_fault(Some(Fault::Slow(Duration::from_millis(150))));
    let finishing = ask(false);
    until("a has all", async || world.a.counts().in_progress == 3).await;
    let events = tokio::spawn(answered(world.request(Method::GET, "/events")));
    let mut dawdling = tokio::net::TcpStream::connect(world.url.trim_start_matches("http://")).await.unwrap();
    dawdling.write_all(b"GET /li").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let World { runtime, a: _a, b: _b, .. } = world;
    let report = runtime.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report:?}"); // B16
    assert_eq!(finishing.await.unwrap().said(), "Echo from a: hi");
    let too_late = too_late.await.unwrap();
    assert_eq!((too_late.status, &too_late.json()["error"]["code"]), (503, &"shutting_down".into()));
    let endless = endless.await.unwrap();
    assert_eq!(endless.streamed(), "Echo from ");
    assert!(endless.events().last().unwrap().contains("shutting down"), "{endless:?}");
    assert!(events.await.unwrap().text.contains("event: draining"));
    assert_eq!(dawdling.read(&mut [0]).await.unwrap_or(0), 0, "it was cut at once");
}
