//! The client against real sockets: every fault of the scripted provider, and servers that are worse.

use bytes::Bytes;
use futures_util::StreamExt;
use mainstay_actors::{
    call::{Api, ProviderReply, Request, Usage},
    error::ErrorKind,
};
use serde_json::Value;

use super::*;
use crate::providers::{
    openai::completion,
    read,
    testing::{
        self,
        Ended::{self, Failed, Silent, Whole},
        KEY, call,
        faults::Scene,
        http, http_answer, raw, scripted, until,
    },
};

const BODY: &str = r#"{"model":"x","max_tokens":9,"messages":[{"role":"user","content":"one two"}]}"#;

fn request() -> Request {
    read(Api::Messages, Bytes::from_static(BODY.as_bytes())).unwrap().request
}

fn client(base_url: &str) -> Anthropic {
    Anthropic::new(http(), base_url, Some(KEY.into())).unwrap()
}

async fn whole(client: &Anthropic, model: &str) -> Ended {
    testing::whole(client, &request(), model).await
}

async fn streamed(client: &Anthropic, model: &str) -> (usize, Ended) {
    testing::streamed(client, &request(), model).await
}

/// Start, block and ping; the block's end, the message's end with its reason, the last event.
const AROUND: (usize, usize) = (3, 3);

#[tokio::test]
async fn every_fault_has_its_outcome_whole_and_streamed() {
    let server = scripted().await;
    let (provider, request) = (&client(&server.base_url()), &request());
    Scene { provider, request, around: AROUND }.every_fault_has_its_outcome(true).await; // PC12, RS5, RS6
}

#[tokio::test]
async fn a_stream_broken_anywhere_is_never_passed_off_as_complete() {
    let server = scripted().await;
    let (provider, request) = (&client(&server.base_url()), &request());
    Scene { provider, request, around: AROUND }.a_broken_stream_is_never_complete().await; // RS6
}

#[tokio::test]
async fn a_stream_cut_inside_an_event_is_truncated() {
    let (base_url, _) =
        raw(http_answer("content-type: text/event-stream", "event: message_start\ndata: {")).await;
    assert_eq!(streamed(&client(&base_url), "m").await, (0, Failed(ErrorKind::Truncated)));
}

#[tokio::test]
async fn answers_come_back_as_they_were_sent_with_what_they_took() {
    let body = "{ \"type\" : \"message\",\"x\":[1e999],\"content\":[],\"usage\":{\"input_tokens\":2,\"output_tokens\":4} }\n";
    let (base_url, _) = raw(http_answer("content-type: application/json\r\nrequest-id: req_1", body)).await;
    let Ok(ProviderReply::Full(full)) = call(&client(&base_url), &request(), "m").await else {
        panic!("no whole answer")
    };
    assert_eq!(full.body, body); // GW2
    assert_eq!(full.request_id.as_deref(), Some("req_1"));
    assert_eq!(full.usage, Some(Usage { input_tokens: 2, output_tokens: 4 })); // PC19
}

#[tokio::test]
async fn a_stream_s_events_come_back_as_they_were_sent_with_what_they_took() {
    let events = concat!(
        "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":2}}}\r\n\r\n",
        ": a comment\n\n",
        "event: new\ndata: {\"type\":\"new\"}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\ndata:  \"delta\":{\"stop_reason\":\"end_turn\"},",
        "\"usage\":{\"output_tokens\":4}}\n\n",
        "event: message_stop\ndata: { \"type\" : \"message_stop\" }\n\n",
    );
    let (base_url, _) = raw(http_answer("content-type: text/event-stream", events)).await;
    let request = Request { stream: true, ..request() };
    let Ok(ProviderReply::Stream(reply)) = call(&client(&base_url), &request, "m").await else {
        panic!("no stream")
    };
    let frames: Vec<_> = reply.frames.map(Result::unwrap).collect().await;
    let bytes: Vec<_> = frames.iter().map(|frame| &frame.bytes[..]).collect();
    assert_eq!(bytes.concat(), events.as_bytes()); // GW2
    let used: Vec<_> = frames.iter().filter_map(|frame| frame.usage).collect();
    let usage = |output_tokens| Usage { input_tokens: 2, output_tokens };
    assert_eq!(used, [usage(0), usage(4)]); // PC19
}

#[tokio::test]
async fn what_is_sent_is_the_caller_s_body_with_the_key_and_the_headers_that_may_travel() {
    let answer = || http_answer("content-type: application/json", r#"{"content":[]}"#);
    let (base_url, heard) = raw(answer()).await;
    assert_eq!(whole(&client(&base_url), "m-7").await, Whole);
    let plain = heard.await;
    for part in [
        "POST /v1/messages ",
        "x-api-key: key-0123456789abcdef\r\n",
        "anthropic-version: 2023-06-01\r\n",
        "accept-encoding: identity\r\n",
    ] {
        assert!(plain.contains(part), "{part} in {plain}");
    }
    assert!(plain.ends_with(&BODY.replace(r#""x""#, r#""m-7""#)), "{plain}"); // GW2
    assert!(!plain.contains("authorization"), "{plain}");

    let (base_url, heard) = raw(answer()).await;
    let request = request().header("anthropic-version", "2026-10-21").header("anthropic-beta", "a-1,b-2");
    let request = request.header("cookie", "c").header("anthropic-beta", "line\nbreak");
    assert_eq!(testing::whole(&client(&base_url), &request, "m").await, Whole);
    let own = heard.await;
    for part in ["anthropic-version: 2026-10-21\r\n", "anthropic-beta: a-1,b-2\r\n"] {
        assert!(own.contains(part), "{part} in {own}");
    }
    assert!(!own.contains("2023-06-01") && !own.contains("cookie") && !own.contains("break"), "{own}");
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_request_along() {
    let server = scripted().await;
    let client = client(&server.base_url());
    for (left, fault) in ["hang", "hang-after=5", "pings"].into_iter().enumerate() {
        assert_eq!(streamed(&client, &format!("fault:{fault}")).await.1, Silent);
        until("an abort", || server.counts().aborted == left as u64 + 1).await; // GW5
    }
    assert_eq!(server.counts().in_progress, 0);
}

#[tokio::test]
async fn an_error_keeps_its_wait_its_id_and_the_vendor_s_body() {
    let server = scripted().await;
    let error = call(&client(&server.base_url()), &request(), "fault:status=429; retry-after=7").await.err();
    let error = error.unwrap();
    assert_eq!(error.retry_after.map(|wait| wait.as_secs()), Some(7)); // PC13
    assert_eq!((error.status, error.request_id.as_deref()), (Some(429), Some("call-1")));
    let body: Value = serde_json::from_slice(&error.body.unwrap()).unwrap();
    assert_eq!((&body["type"], &body["error"]["type"]), (&"error".into(), &"rate_limit_error".into())); // GW4
}

#[tokio::test]
async fn an_error_in_foreign_words_is_understood_and_not_forwarded() {
    let body = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
    let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: ";
    let (base_url, _) = raw(format!("{head}{}\r\n\r\n{body}", body.len())).await;
    let error = call(&client(&base_url), &request(), "m").await.err().unwrap();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::RateLimited, "slow down"));
    assert_eq!(error.body, None); // GW4
}

#[tokio::test]
async fn answers_that_are_none_are_malformed_and_errors_in_their_clothes_are_told_apart() {
    let (json, events) = ("content-type: application/json", "content-type: text/event-stream");
    for body in ["", "[]", "{}", "<html>", r#"{"choices":[]}"#] {
        let (base_url, _) = raw(http_answer(json, body)).await;
        assert_eq!(whole(&client(&base_url), "m").await, Failed(ErrorKind::Malformed), "{body}");
    }
    let long = format!("data: {}", "x".repeat(2 << 20));
    for (headers, body) in [(json, r#"{"content":[]}"#), (events, long.as_str())] {
        let (base_url, _) = raw(http_answer(headers, body)).await;
        assert_eq!(streamed(&client(&base_url), "m").await, (0, Failed(ErrorKind::Malformed)), "{body:.20}");
    }
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let (base_url, _) = raw(http_answer(json, error)).await;
    assert_eq!(streamed(&client(&base_url), "m").await, (0, Failed(ErrorKind::Overloaded))); // PC12
}

#[tokio::test]
async fn it_says_what_it_does_not_offer_and_asks_nobody() {
    let server = scripted().await;
    let client = client(&server.base_url());
    for api in [Api::Chat, Api::Responses, Api::Embeddings] {
        let error = call(&client, &completion("x").api(api), "m").await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(server.counts().connections, 0);
}

#[test]
fn settings_that_would_give_the_key_away_are_refused_and_debug_shows_none() {
    for url in
        ["http://example.com/v1", "https://user:key-0123456789abcdef@example.com", "key-0123456789abcdef"]
    {
        let error = Anthropic::new(http(), url, Some(KEY.into())).expect_err(url).to_string();
        assert!(error.contains("base_url") && !error.contains(KEY), "{error}"); // SE4
    }
    let shown = format!("{:?}", client("https://example.com/v1/"));
    assert!(shown.contains("https://example.com/v1/messages") && !shown.contains(KEY), "{shown}");
}
