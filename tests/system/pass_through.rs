//! Each caller is answered in its own words, and what passes through passes through untouched.

use std::time::{Duration, Instant};

use mainstay::{Config, Runtime, providers::scripted::Fault, server::GatewayLimits};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use crate::support::{Answer, Speaks, World, answered, http, until};

const MESSAGES: Speaks = Speaks::Anthropic;

/// A provider that answers one request with `answer`, and a gateway in front of it; what the provider heard.
async fn in_front_of(kind: &str, answer: String) -> (Runtime, String, JoinHandle<String>) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", upstream.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"] }") {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "the request ended early");
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(heard).unwrap()
    });
    let text = format!(
        "[provider.a]\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\n[chain.chat]\ntargets = [\"a/m-1\"]\nretries = 0\n"
    );
    let config = Config::from_toml(&text, "test.toml", &|_| None).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let builder = Runtime::builder().config(config).gateway(socket, GatewayLimits::default(), None);
    (builder.start().await.unwrap(), url, heard)
}

#[tokio::test]
async fn every_byte_passes_both_ways_but_for_the_model_s_name() {
    let chat = "data: {\"x\":[1e999],\"choices\":[{\"delta\":{\"content\":\"\\u00e9\"},\"finish_reason\":\"stop\"}]}\n\n";
    let message = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"x\":1e999,\"delta\":{\"text\":\"\\u00e9\"}}\n\n";
    let stop = "event: message_delta\r\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"new\"}}\r\n\r\n";
    let response =
        "event: response.new.delta\ndata: {\"type\":\"response.new.delta\",\"delta\":\"\\u00e9\"}\n\n";
    let table = [
        ("openai", "/v1/chat/completions", "", r#"{ "choices" : [], "x":[1e999, "\u00e9"]}"#.to_string()),
        ("openai", "/v1/chat/completions", r#""stream":true,"#, format!("{chat}: note\n\ndata: [DONE]\n\n")),
        ("openai", "/v1/responses", "", r#"{ "output" : [], "x":[1e999, "\u00e9"]}"#.into()),
        (
            "openai",
            "/v1/responses",
            r#""stream":true,"#,
            format!(
                "{response}event: response.completed\ndata: {{\"type\":\"response.completed\",\"x\":1e999}}\n\n"
            ),
        ),
        ("openai", "/v1/embeddings", r#""input":"x","#, r#"{ "data" : [], "x":[1e999, "\u00e9"]}"#.into()),
        ("anthropic", "/v1/messages", "", r#"{ "content" : [], "x":[1e999, "\u00e9"]}"#.into()),
        (
            "anthropic",
            "/v1/messages",
            r#""stream":true,"#,
            format!(
                "{message}: note\n\n{stop}event: message_stop\ndata: {{\"type\" : \"message_stop\"}}\n\n"
            ),
        ),
    ];
    for (kind, path, more, answer) in table {
        let body = |model: &str| {
            format!(
                "{{ \"model\" : \"{model}\",\"max_tokens\":1e0,{more}\"x_new\":[1e999,{{\"deep\":\"\\u00e9\"}}],\r\n\
                 \"messages\":[{{\"role\":\"user\",\"content\":[7]}}] }}"
            )
        };
        let events = if more.contains("stream") { "text/event-stream" } else { "application/json" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {events}\r\ncontent-length: {}", answer.len());
        let (_runtime, url, heard) = in_front_of(kind, format!("{head}\r\n\r\n{answer}")).await;
        let got = answered(http().post(format!("{url}{path}")).body(body("chat"))).await;
        assert_eq!((got.status, got.text.as_str()), (200, answer.as_str()), "{path}"); // GW2
        let heard = heard.await.unwrap();
        let (head, sent) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("POST {path} ")), "{head}");
        assert_eq!(sent, body("m-1"), "{path}"); // GW2
    }
}

#[tokio::test]
async fn of_the_caller_s_headers_only_those_travel_that_belong_to_the_body() {
    let answer = r#"{"content":[]}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
    let (_runtime, url, heard) = in_front_of("anthropic", answer).await;
    let body = r#"{"model":"chat","max_tokens":1,"messages":[{}] }"#;
    let request = http().post(format!("{url}/v1/messages")).body(body);
    let request = request.header("anthropic-version", "2026-10-21").header("anthropic-beta", "one-1");
    let request = request.header("anthropic-beta", "two-2").header("x-api-key", "the caller's");
    let request = request.header("authorization", "Bearer caller").header("cookie", "c=1");
    assert_eq!(answered(request).await.status, 200);
    let heard = heard.await.unwrap();
    for part in
        ["anthropic-version: 2026-10-21\r\n", "anthropic-beta: one-1\r\n", "anthropic-beta: two-2\r\n"]
    {
        assert!(heard.contains(part), "{part} in {heard}");
    }
    for word in ["caller", "cookie", "authorization", "x-api-key"] {
        assert!(!heard.contains(word), "{word} in {heard}");
    }
}

/// The type of an error in Anthropic's form, whose every other part is checked.
fn type_of(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!(body["type"], "error", "{answer:?}");
    assert_eq!(body["request_id"], answer.header("request-id"), "{answer:?}");
    assert!(!body["error"]["message"].as_str().unwrap().is_empty(), "{answer:?}");
    body["error"]["type"].as_str().unwrap().into()
}

#[tokio::test]
async fn every_error_about_messages_has_anthropic_s_form() {
    let limits = GatewayLimits { max_body: 1024, ..GatewayLimits::default() };
    let world = World::with(MESSAGES, limits, r#"total = "1s""#).await;
    let ask = || world.request(Method::POST, "/v1/messages").body(world.body("hi", false).to_string());
    let mut unknown = world.body("hi", false);
    unknown["model"] = json!("gpt-9");
    let table = [
        (world.post("{").await, 400, "invalid_request_error", "not valid JSON"),
        (world.post("[]").await, 400, "invalid_request_error", "object"),
        (world.post(vec![b'{', 0xff, b'}']).await, 400, "invalid_request_error", "not UTF-8"),
        (
            world.post(r#"{"model":"chat","messages":[{}]}"#).await,
            400,
            "invalid_request_error",
            "max_tokens: Field",
        ),
        (world.chat(&unknown).await, 404, "not_found_error", "`gpt-9` does not exist"),
        (world.ask(&"x".repeat(2048)).await, 413, "request_too_large", "larger than"),
        (
            answered(ask().header("origin", "https://evil.example")).await,
            403,
            "permission_error",
            "own machine",
        ),
        (world.get("/v1/messages").await, 405, "invalid_request_error", "see the `allow` header"),
        (world.get("/v1/messages/batches").await, 404, "not_found_error", "nothing at"),
    ];
    for (answer, status, kind, says) in table {
        assert_eq!((answer.status, type_of(&answer).as_str()), (status, kind), "{answer:?}"); // GW4
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(says), "{says}: {answer:?}");
    }
    assert_eq!(world.a.requests() + world.b.requests(), 0, "no provider was bothered");
    let elsewhere = world.request(Method::GET, "/v2").header("anthropic-version", "2023-06-01");
    assert_eq!(type_of(&answered(elsewhere).await), "not_found_error");
}

#[tokio::test]
async fn a_provider_s_own_error_keeps_its_words_and_a_common_one_lists_every_attempt() {
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ] {
        for streams in [false, true] {
            let world = World::speaking(MESSAGES).await;
            world.a.set_default_fault(Some(Fault::status(status)));
            world.b.set_default_fault(Some(Fault::status(status)));
            let answer = if streams { world.ask_streaming("hi").await } else { world.ask("hi").await };
            assert_eq!(answer.status, status, "{answer:?}");
            let body = answer.json();
            assert_eq!(
                (&body["type"], &body["error"]["type"]),
                (&json!("error"), &json!(kind)),
                "{answer:?}"
            ); // GW4
            let attempts = body["error"]["details"]["attempts"].as_array().map(Vec::len);
            let verdict = matches!(status, 400 | 413);
            assert_eq!(attempts, (!verdict).then_some(2), "{answer:?}"); // PC2, PC4
        }
    }
}

#[tokio::test]
async fn models_have_the_form_that_the_asking_sdk_knows() {
    let world = World::new().await;
    let get =
        async |path: &str| answered(world.request(Method::GET, path).header("anthropic-version", "x")).await;
    let list = get("/v1/models").await.json();
    let model = &list["data"][0];
    assert_eq!(
        (&model["type"], &model["id"], &model["display_name"]),
        (&json!("model"), &json!("chat"), &json!("chat"))
    );
    assert!(model["created_at"].as_str().unwrap().ends_with('Z'), "{model}");
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("chat"), &json!("chat"))
    );
    assert_eq!(&get("/v1/models/chat").await.json(), model);
    assert_eq!(type_of(&get("/v1/models/gpt-9").await), "not_found_error");
}

#[tokio::test]
async fn what_a_provider_does_not_offer_is_said_and_counts_against_nobody() {
    let world = World::speaking(MESSAGES).await;
    let post = async |path: &str, body: Value| {
        answered(world.request(Method::POST, path).body(body.to_string())).await
    };
    for _ in 0..6 {
        let embeddings = post("/v1/embeddings", json!({"model": "chat", "input": "x"})).await;
        assert_eq!((embeddings.status, &embeddings.json()["error"]["code"]), (400, &json!("unsupported")));
    }
    assert_eq!((world.circuit("a"), world.a.requests()), ("closed", 0));
    assert_eq!(world.ask("hi").await.said(), "Echo from a: hi");
}

/// One request of each API and kind; the events of a stream before its words are `before`.
fn asks(world: &World) -> Vec<(&'static str, String)> {
    let stream = |stream: bool| json!({"model": "chat", "input": "hi", "stream": stream}).to_string();
    match world.speaks {
        Speaks::OpenAi => vec![
            ("/v1/responses", stream(false)),
            ("/v1/responses", stream(true)),
            ("/v1/embeddings", json!({"model": "chat", "input": "hi"}).to_string()),
        ],
        Speaks::Anthropic => {
            [false, true].map(|stream| ("/v1/messages", world.body("hi", stream).to_string())).into()
        }
    }
}

#[tokio::test]
async fn responses_and_embeddings_fail_over_like_chats() {
    let world = World::new().await;
    world.a.set_default_fault(Some(Fault::status(503)));
    for (path, body) in asks(&world) {
        let answer = answered(world.request(Method::POST, path).body(body)).await;
        assert_eq!((answer.status, answer.header("x-mainstay-provider")), (200, "b"), "{answer:?}");
    }
    let vector =
        world.request(Method::POST, "/v1/embeddings").body(r#"{"model":"chat","input":["hi","you"]}"#);
    assert_eq!(answered(vector).await.json()["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_response_that_breaks_off_ends_in_an_error_event_and_never_in_completed() {
    for fault in [Fault::CutAfter(6), Fault::ResetAfter(6), Fault::ErrorAfter(6), Fault::HangAfter(6)] {
        let world = World::new().await;
        world.a.set_default_fault(Some(fault.clone()));
        let (path, body) = asks(&world).remove(1);
        let answer = answered(world.request(Method::POST, path).body(body)).await;
        assert!(answer.text.contains("event: error\n"), "{fault}: {answer:?}"); // RS6
        let last = answer.last_event();
        assert_eq!(
            (&last["type"], &last["sequence_number"]),
            (&json!("error"), &json!(6)),
            "{fault}: {last}"
        );
        assert_eq!(last["error"]["delivered_frames"], 2, "{fault}: {last}");
        assert!(!answer.text.contains("response.completed"), "{fault}: {answer:?}");
    }
}

#[tokio::test]
async fn whoever_leaves_takes_the_upstream_call_along_on_every_route() {
    for speaks in [Speaks::OpenAi, Speaks::Anthropic] {
        let world = World::with(speaks, GatewayLimits::default(), r#"total = "1h""#).await;
        let asks = asks(&world);
        let calls = asks.len() as u64;
        for fault in [Fault::Hang, Fault::HangAfter(6)] {
            world.a.set_default_fault(Some(fault));
            for (path, body) in &asks {
                let asking = tokio::spawn(answered(world.request(Method::POST, path).body(body.clone())));
                until("the provider is asked", async || world.a.counts().in_progress == 1).await;
                asking.abort();
                until("the provider is left", async || world.a.counts().in_progress == 0).await; // GW5
            }
        }
        assert_eq!(world.a.counts().aborted, 2 * calls);
        let desk = world.runtime.system().provider("a").unwrap().clone();
        until("all permits are home", async || desk.in_flight() == 0).await;
        assert_eq!((world.b.requests(), world.circuit("a")), (0, "closed")); // PC3
    }
}

#[tokio::test]
async fn a_caller_s_deadline_ends_its_call_and_counts_against_nobody() {
    let world = World::with(MESSAGES, GatewayLimits::default(), r#"total = "1h", first_token = "1h""#).await;
    world.a.set_default_fault(Some(Fault::Hang));
    let ask = |stream: bool, name: &str, value: &str| {
        let body = world.body("hi", stream).to_string();
        answered(world.request(Method::POST, "/v1/messages").header(name, value).body(body))
    };
    for (name, value) in [("x-mainstay-timeout-ms", "100"), ("x-stainless-read-timeout", "0.1")] {
        for stream in [false, true] {
            let started = Instant::now();
            let answer = ask(stream, name, value).await;
            assert_eq!((answer.status, type_of(&answer).as_str()), (504, "timeout_error"), "{answer:?}");
            assert_eq!(answer.json()["error"]["details"]["error_code"], "deadline_exceeded"); // PC16
            assert!(started.elapsed() < Duration::from_secs(10), "{name}");
        }
    }
    // The SDKs' limit is for silence: a stream that has begun may go on.
    world.a.set_default_fault(Some(Fault::HangAfter(5)));
    let slow = tokio::time::timeout(Duration::from_millis(600), ask(true, "x-stainless-read-timeout", "0.3"));
    assert!(slow.await.is_err(), "it still runs");
    let whole = ask(true, "x-mainstay-timeout-ms", "300").await;
    assert_eq!(whole.last_event()["error"]["details"]["error_code"], "deadline_exceeded", "{whole:?}");
    assert!(!whole.is_signed_off());
    assert_eq!((world.b.requests(), world.circuit("a")), (0, "closed"));
}
