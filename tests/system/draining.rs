//! How a gateway leaves: whoever sends requests notices before any is refused, and nothing ends silently.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use mainstay::providers::scripted::Fault;

use crate::{
    process::{Folder, Process},
    support::{answered, http, scripted, until},
};

const STREAM: &str = r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;

fn config(base_url: &str, server: &str) -> String {
    format!(
        "[server]\n{server}\n[provider.a]\nkind = \"openai\"\nbase_url = \"{base_url}\"\n\
         [chain.chat]\ntargets = [\"a/m\"]\n"
    )
}

async fn ready(url: &str) -> Option<u16> {
    let answer = http().get(format!("{url}/readyz")).send().await;
    answer.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn a_gateway_that_drains_says_so_before_it_refuses_anybody() {
    let a = scripted("a").await;
    let folder = Folder::new("drain-delay");
    folder.write("mainstay.toml", &config(&a.base_url(), "drain_delay = \"2s\"\ndrain = \"1s\""));
    let args = ["--listen", "127.0.0.1:0", "--config", "mainstay.toml"];
    let mut process = Process::start_with(folder, &args, &[]);
    a.set_default_fault(Some(Fault::HangAfter(3)));
    let stream =
        http().post(format!("{}/v1/chat/completions", process.url)).body(STREAM).send().await.unwrap();
    let mut stream = stream.bytes_stream();
    stream.next().await.unwrap().unwrap();
    a.set_default_fault(None);
    assert_eq!(ready(&process.url).await, Some(200));

    process.signal("TERM");
    let asked = Instant::now();
    until("it is not ready", async || ready(&process.url).await == Some(503)).await; // GW7
    assert_eq!(process.ask().await.said(), "Echo from a: hello", "requests are still taken on"); // GW7
    until("connections are refused", async || ready(&process.url).await.is_none()).await;
    assert!(asked.elapsed() >= Duration::from_secs(2));

    let rest = stream.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap());
    let rest = rest.collect::<Vec<_>>().await.concat();
    assert!(rest.contains("shutting down") && !rest.contains("[DONE]"), "{rest}"); // RS6
    assert_eq!(process.ended().await.code(), Some(0)); // GW7
}

#[tokio::test]
async fn a_call_that_ends_within_the_drain_is_answered() {
    let a = scripted("a").await;
    let folder = Folder::new("drain");
    folder.write("mainstay.toml", &config(&a.base_url(), "drain = \"10s\""));
    let args = ["--listen", "127.0.0.1:0", "--config", "mainstay.toml"];
    let mut process = Process::start_with(folder, &args, &[]);
    a.set_default_fault(Some(Fault::Slow(Duration::from_millis(300))));
    let call = http().post(format!("{}/v1/chat/completions", process.url)).body(STREAM);
    let call = tokio::spawn(answered(call));
    until("the call runs", async || a.counts().in_progress == 1).await;
    process.signal("TERM");
    let answer = call.await.unwrap();
    assert!(answer.is_signed_off(), "{answer:?}"); // GW7
    assert_eq!(process.ended().await.code(), Some(0));
}
