//! A client that goes away takes its call along, wherever that is: seen from the provider's side (GW5).

use std::time::Duration;

use futures_util::StreamExt;
use mainstay::{ProviderPolicy, providers::scripted::Fault, server::GatewayLimits};
use reqwest::Method;

use crate::support::{Speaks, World, until};

/// Timeouts that no test waits for.
const LONG: &str = r#"connect = "5s", first_token = "1h", idle = "1h", total = "1h""#;

async fn world() -> World {
    World::with(Speaks::OpenAi, GatewayLimits::default(), LONG).await
}

/// A call that its client can leave.
fn asking(world: &World, stream: bool) -> tokio::task::JoinHandle<Result<reqwest::Response, reqwest::Error>> {
    let body = world.body("hi", stream).to_string();
    tokio::spawn(world.request(Method::POST, world.speaks.path()).body(body).send())
}

async fn until_aborted(world: &World) {
    until("a's request is aborted", async || {
        let counts = world.a.counts();
        (counts.aborted, counts.in_progress) == (1, 0)
    })
    .await;
    let desk = world.runtime.system().provider("a").unwrap();
    until("its place is free", async || desk.in_flight() == 0).await;
    assert_eq!((world.a.requests(), world.b.requests()), (1, 0), "nobody is asked for who has gone");
    assert_eq!(world.circuit("a"), "closed");
}

#[tokio::test]
async fn a_client_that_leaves_before_a_whole_answer_ends_the_provider_s_request() {
    let world = world().await;
    world.a.set_default_fault(Some(Fault::Hang));
    let call = asking(&world, false);
    until("a is asked", async || world.a.counts().in_progress == 1).await;
    call.abort();
    until_aborted(&world).await; // GW5
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_the_provider_s_request() {
    for before_content in [true, false] {
        let world = world().await;
        let events = if before_content { 1 } else { 3 };
        world.a.set_default_fault(Some(Fault::HangAfter(events)));
        let call = asking(&world, true);
        until("a is asked", async || world.a.counts().in_progress == 1).await;
        match before_content {
            true => call.abort(),
            false => {
                let mut stream = call.await.unwrap().unwrap().bytes_stream();
                stream.next().await.unwrap().unwrap();
                drop(stream);
            }
        }
        until_aborted(&world).await; // GW5
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_in_line_is_never_asked_for() {
    let world = world().await;
    let desk = world.runtime.system().provider("a").unwrap();
    let one_at_a_time =
        ProviderPolicy { max_concurrent: Some(1), max_wait: Duration::from_secs(3600), ..**desk.policy() };
    for name in ["a", "b"] {
        world.runtime.system().provider(name).unwrap().adapt(one_at_a_time).unwrap();
    }
    let waiting = async || desk.status(world.runtime.system().commons().now()).waiting;
    world.a.set_default_fault(Some(Fault::Hang));
    world.b.set_default_fault(Some(Fault::Hang));
    let (first, second) = (asking(&world, false), asking(&world, false));
    until("both are taken", async || world.a.requests() + world.b.requests() == 2).await;
    let third = asking(&world, false);
    until("the third waits in line", async || waiting().await == 1).await;
    third.abort();
    until("it has left the line", async || waiting().await == 0).await; // GW5
    first.abort();
    second.abort();
    until("all places are free", async || world.a.counts().aborted + world.b.counts().aborted == 2).await;
    world.a.set_default_fault(None);
    assert_eq!(world.ask("next").await.status, 200);
    assert_eq!((world.a.requests(), world.b.requests()), (2, 1), "the third never reached anybody"); // GW5
}
