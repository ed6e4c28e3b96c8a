//! The client against real sockets: every fault of the scripted provider, and servers that are worse.

mod connections;

use std::time::Duration;

use futures_util::StreamExt;
use mainstay_actors::{
    call::{Api, ProviderReply, Request},
    error::ErrorKind,
};

use super::*;
use crate::providers::{
    read,
    scripted::Fault,
    testing::{
        self,
        Ended::{self, Failed, Whole},
        KEY, call,
        faults::Scene,
        http, http_answer, raw, scripted,
    },
};

fn client(base_url: &str) -> OpenAi {
    OpenAi::new(http(), base_url, Some(KEY.into())).unwrap()
}

async fn unary(client: &OpenAi, model: &str) -> Ended {
    testing::whole(client, &completion("one two"), model).await
}

async fn streamed(client: &OpenAi, model: &str) -> (usize, Ended) {
    testing::streamed(client, &completion("one two"), model).await
}

/// A client, and requests of each of its APIs.
async fn scenes(seen: impl AsyncFn(Scene<'_>, bool)) {
    let server = scripted().await;
    let provider = &client(&server.base_url());
    let responses = asked(Api::Responses, r#"{"model":"x","input":"one two"}"#);
    let embeddings = asked(Api::Embeddings, r#"{"model":"x","input":["one two"]}"#);
    // Role; finish reason, `[DONE]`.
    let chat = Scene { provider, request: &completion("one two"), around: (1, 2) };
    // Created, in progress, item, part; the ends of the text, the part, the item and the response.
    let responses = Scene { provider, request: &responses, around: (4, 4) };
    let embeddings = Scene { provider, request: &embeddings, around: (0, 0) };
    for (scene, streams) in [(chat, true), (responses, true), (embeddings, false)] {
        seen(scene, streams).await;
    }
}

#[tokio::test]
async fn every_fault_has_its_outcome_whole_and_streamed() {
    scenes(async |scene, streams| scene.every_fault_has_its_outcome(streams).await).await; // PC12, RS5, RS6
}

#[tokio::test]
async fn a_stream_broken_anywhere_is_never_passed_off_as_complete() {
    scenes(async |scene, streams| {
        if streams {
            scene.a_broken_stream_is_never_complete().await; // RS6
        }
    })
    .await;
}

#[tokio::test]
async fn each_api_has_its_address_and_its_body_goes_there_as_it_came() {
    let table = [
        (Api::Responses, "/v1/responses", r#"{"model": "m","n":1e999, "input":["x"]}"#, r#"{"output":[]}"#),
        (Api::Embeddings, "/v1/embeddings", r#"{"model": "m","n":1e999, "input":["x"]}"#, r#"{"data":[]}"#),
    ];
    for (api, path, body, answer) in table {
        let (base_url, heard) = raw(http_answer("content-type: application/json", answer)).await;
        let Ok(ProviderReply::Full(full)) = call(&client(&base_url), &asked(api, body), "m").await else {
            panic!("no whole answer from {path}")
        };
        assert_eq!(full.body, answer);
        let heard = heard.await;
        assert!(heard.starts_with(&format!("POST {path} ")) && heard.ends_with(body), "{heard}"); // GW2
    }
}

#[tokio::test]
async fn it_says_what_it_does_not_offer_and_asks_nobody() {
    let server = scripted().await;
    let client = client(&server.base_url());
    let messages = completion("x").api(Api::Messages);
    let streamed = Request { stream: true, ..completion("x").api(Api::Embeddings) };
    for request in [messages, streamed] {
        let error = call(&client, &request, "m").await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(server.counts().connections, 0);
}

fn asked(api: Api, body: &'static str) -> Request {
    read(api, body.into()).unwrap().request
}

#[tokio::test]
async fn a_stream_cut_inside_an_event_is_truncated() {
    let (base_url, _) = raw(http_answer("content-type: text/event-stream", "data: {\"choices\":[")).await;
    assert_eq!(streamed(&client(&base_url), "m").await, (0, Failed(ErrorKind::Truncated)));
}

#[tokio::test]
async fn answers_come_back_as_they_were_sent() {
    let server = scripted().await;
    let client = client(&server.base_url());
    let Ok(ProviderReply::Full(full)) = call(&client, &completion("hello there"), "m-1").await else {
        panic!("no whole answer")
    };
    let body: serde_json::Value = serde_json::from_slice(&full.body).unwrap();
    assert_eq!(body["model"], "m-1");
    assert_eq!(body["choices"][0]["message"]["content"], "Echo from scripted: hello there");
    assert_eq!(full.request_id.as_deref(), Some("call-1"));
}

#[tokio::test]
async fn a_stream_s_pieces_make_up_its_text() {
    let server = scripted().await;
    let request = Request { stream: true, ..completion("one two") };
    let Ok(ProviderReply::Stream(reply)) = call(&client(&server.base_url()), &request, "m").await else {
        panic!("no stream")
    };
    let pieces: Vec<_> = reply.frames.filter_map(async |frame| delta_of(&frame.unwrap())).collect().await;
    assert_eq!(pieces.concat(), "Echo from scripted: one two");
}

#[tokio::test]
async fn a_wait_and_the_vendor_s_body_are_kept_with_an_error() {
    let server = scripted().await;
    server.set_default_fault("status=429; retry-after-ms=1500".parse::<Fault>().ok());
    let error = call(&client(&server.base_url()), &completion("x"), "m").await.err().unwrap();
    assert_eq!(error.retry_after, Some(Duration::from_millis(1500))); // PC13
    assert_eq!((error.status, error.request_id.as_deref()), (Some(429), Some("call-1")));
    assert!(error.body.unwrap().starts_with(b"{\"error\""));
}

#[tokio::test]
async fn what_is_sent_holds_the_key_the_id_and_the_provider_s_model_and_nothing_is_compressed() {
    let (base_url, heard) = raw(http_answer("content-type: application/json", r#"{"choices":[]}"#)).await;
    assert_eq!(unary(&client(&base_url), "m-7").await, Whole);
    let heard = heard.await;
    for part in [
        "POST /v1/chat/completions ",
        "authorization: Bearer key-0123456789abcdef\r\n",
        "x-request-id: call-1\r\n",
        "accept-encoding: identity\r\n",
        r#"{"model":"m-7","#,
    ] {
        assert!(heard.contains(part), "{part} in {heard}");
    }
}

#[tokio::test]
async fn a_server_that_looks_for_its_key_in_api_key_finds_it_there_alone() {
    let (base_url, heard) = raw(http_answer("content-type: application/json", r#"{"choices":[]}"#)).await;
    let client = OpenAi::authorized(http(), &base_url, Some(KEY.into()), Auth::ApiKey).unwrap();
    assert_eq!(unary(&client, "m").await, Whole);
    let heard = heard.await;
    assert!(
        heard.contains("api-key: key-0123456789abcdef\r\n") && !heard.contains("authorization"),
        "{heard}"
    );
}

#[tokio::test]
async fn answers_that_are_none_are_malformed() {
    let json = "content-type: application/json";
    let events = "content-type: text/event-stream";
    let huge = format!(r#"{{"choices":[],"x":"{}"}}"#, "x".repeat(17 << 20));
    for (headers, body) in [
        (json, ""),
        (json, "[]"),
        (json, "{}"),
        (json, r#"[[{}],null]"#),
        (json, "<html>"),
        (json, huge.as_str()),
    ] {
        let (base_url, _) = raw(http_answer(headers, body)).await;
        assert_eq!(unary(&client(&base_url), "m").await, Failed(ErrorKind::Malformed), "{body:.20}");
    }
    let long = format!("data: {}", "x".repeat(2 << 20));
    for (headers, body) in [(json, r#"{"choices":[]}"#), (events, long.as_str())] {
        let (base_url, _) = raw(http_answer(headers, body)).await;
        assert_eq!(streamed(&client(&base_url), "m").await, (0, Failed(ErrorKind::Malformed)), "{body:.20}");
    }
}

#[tokio::test]
async fn an_error_in_an_answer_s_clothes_is_told_by_its_own_words() {
    let quota = r#"{"error":{"message":"empty","type":"insufficient_quota","code":null}}"#;
    let answer = http_answer("content-type: application/json", quota);
    let (whole, _) = raw(answer.clone()).await;
    assert_eq!(unary(&client(&whole), "m").await, Failed(ErrorKind::QuotaExhausted));
    let (stream, _) = raw(answer).await;
    assert_eq!(streamed(&client(&stream), "m").await, (0, Failed(ErrorKind::QuotaExhausted))); // PC12
}

#[test]
fn settings_that_would_give_the_key_away_are_refused_without_showing_it() {
    let urls = [
        "http://example.com/v1",
        "http://127.0.0.1.example.com/v1",
        "https://user:key-0123456789abcdef@example.com",
        "https://example.com/v1?key=key-0123456789abcdef",
        "ftp://example.com",
        "key-0123456789abcdef",
    ];
    for url in urls {
        let error = OpenAi::new(http(), url, Some(KEY.into())).expect_err(url).to_string();
        assert!(error.contains("base_url") && !error.contains(KEY), "{error}"); // SE4
    }
    for key in ["", "two words", "line\n"] {
        assert!(OpenAi::new(http(), "https://example.com/v1", Some(key.into())).is_err(), "{key:?}");
    }
}

#[test]
fn loopback_and_keyless_servers_may_be_asked_without_tls() {
    for (url, key) in [
        ("http://localhost:1/v1", Some(KEY.into())),
        ("http://[::1]:1/v1/", Some(KEY.into())),
        ("http://127.9.9.9/v1", Some(KEY.into())),
        ("http://10.0.0.7:8000/v1", None),
    ] {
        let client = OpenAi::new(http(), url, key).unwrap();
        let shown = format!("{client:?}");
        assert!(shown.contains("/v1/chat/completions") && !shown.contains(KEY), "{shown}"); // SE4
    }
}
