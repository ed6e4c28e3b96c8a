//! Every row of the vendors' table as it comes over the wire, and errors that are in no table.

use std::time::Duration;

use futures_util::StreamExt;
use mainstay_actors::{
    call::{
        Api::{self, Chat, Messages, Responses},
        ProviderReply, Request,
    },
    ports::Provider,
};
use serde_json::json;

use super::{
    table::{Row, Sign, TABLE},
    *,
};
use crate::providers::{
    anthropic::Anthropic,
    openai::OpenAi,
    read,
    scripted::{Fault, Scripted},
    testing,
};

const SSE: (&str, &str) = ("content-type", "text/event-stream");

fn rows() -> impl Iterator<Item = (&'static str, &'static Row)> {
    TABLE.iter().flat_map(|(vendor, rows)| rows.iter().map(move |row| (*vendor, row)))
}

/// The API that a vendor's rows come from.
fn api_of(vendor: &str) -> Api {
    if vendor == "Anthropic" { Messages } else { Chat }
}

fn message(row: &Row) -> String {
    match row.decides {
        Sign::Opening => format!("{}; and so on.", row.text),
        Sign::Text => format!("So: {} and so on.", row.text),
        Sign::Code | Sign::Status => "It did not work.".into(),
    }
}

/// The row as its vendor writes it.
fn body(vendor: &str, row: &Row) -> Value {
    let Row { kind, code, .. } = row;
    let message = message(row);
    let or_null = |word: &str| if word.is_empty() { Value::Null } else { word.into() };
    match (vendor, *code) {
        ("Anthropic", "") => {
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"})
        }
        ("Anthropic", code) => {
            let details = json!({"error_code": code});
            json!({"type": "error", "error": {"type": kind, "message": message, "details": details}})
        }
        (_, "ResponsibleAIPolicyViolation") => {
            json!({"error": {"code": null, "message": message, "innererror": {"code": code}}})
        }
        _ => {
            json!({"error": {"message": message, "type": or_null(kind), "param": null, "code": or_null(code)}})
        }
    }
}

/// The row as an event of a stream, in every way in which its vendor's APIs send one.
fn events(vendor: &str, row: &Row) -> Vec<(Api, String)> {
    let body = body(vendor, row);
    let both = |api| {
        [format!("event: error\ndata: {body}\n\n"), format!("data: {body}\n\n")].map(|event| (api, event))
    };
    if vendor == "Anthropic" {
        return both(Messages).into();
    }
    // Responses have codes and no types.
    let code = if row.code.is_empty() { row.kind } else { row.code };
    let error = json!({"type": "error", "code": code, "message": message(row), "param": null});
    let failed = json!({"type": "response.failed", "response": {"status": "failed", "error": error}});
    let of_responses = [format!("event: error\ndata: {error}\n\n"), format!("data: {failed}\n\n")];
    both(Chat).into_iter().chain(of_responses.map(|event| (Responses, event))).collect()
}

fn request(api: Api, stream: bool) -> Request {
    let said = json!([{"role": "user", "content": "hi"}]);
    let body = match api {
        Responses => json!({"model": "m", "input": "hi"}),
        _ => json!({"model": "m", "max_tokens": 9, "messages": said}),
    };
    Request { stream, ..read(api, body.to_string().into()).unwrap().request }
}

struct Scene {
    server: Scripted,
    openai: OpenAi,
    anthropic: Anthropic,
}

impl Scene {
    async fn start() -> Self {
        let server = testing::scripted().await;
        let openai = OpenAi::new(testing::http(), &server.base_url(), None).unwrap();
        let anthropic = Anthropic::new(testing::http(), &server.base_url(), None).unwrap();
        Self { server, openai, anthropic }
    }

    /// What comes of a call when this is the answer to it.
    async fn call(&self, api: Api, stream: bool, fault: Fault) -> Result<ProviderReply, ProviderError> {
        self.server.set_default_fault(Some(fault));
        let provider: &dyn Provider = if api == Messages { &self.anthropic } else { &self.openai };
        testing::call(provider, &request(api, stream), "m").await
    }

    /// The error that a call ends with.
    async fn failed(&self, api: Api, stream: bool, fault: Fault) -> ProviderError {
        match self.call(api, stream, fault).await {
            Err(error) => error,
            Ok(ProviderReply::Stream(mut reply)) => reply.frames.next().await.unwrap().unwrap_err(),
            Ok(ProviderReply::Full(_)) => panic!("an error passed for an answer"),
        }
    }
}

fn exact(status: u16, headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> Fault {
    let headers = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
    Fault::Exact(status, headers.collect(), body.into())
}

#[tokio::test]
async fn every_row_of_the_table_is_told_apart_over_http() {
    let scene = Scene::start().await;
    for (vendor, row) in rows().filter(|(_, row)| row.status != 200) {
        let body = body(vendor, row).to_string();
        let error = scene.failed(api_of(vendor), false, exact(row.status, &[], body.clone())).await;
        assert_eq!((error.kind, error.status), (row.means, Some(row.status)), "{vendor}: {row:?}"); // PC12
        let forwarded = !matches!(row.status, 401 | 403);
        assert_eq!(error.body.is_some_and(|sent| sent == body), forwarded, "{vendor}: {row:?}"); // GW2
    }
}

#[tokio::test]
async fn every_row_is_told_apart_inside_an_answer_that_began_with_success() {
    let scene = Scene::start().await;
    for (vendor, row) in rows().filter(|(_, row)| speaks_without_a_status(row)) {
        for (api, event) in events(vendor, row) {
            let error = scene.failed(api, true, exact(200, &[SSE], event.clone())).await;
            assert_eq!((error.kind, error.status), (row.means, None), "{vendor}: {event}"); // PC12
        }
        let body = body(vendor, row).to_string();
        let error = scene.failed(api_of(vendor), false, exact(200, &[], body.clone())).await;
        assert_eq!(error.kind, row.means, "{vendor}: {body}"); // PC12
    }
}

/// A type that comes with several statuses says the least of them.
fn speaks_without_a_status(row: &Row) -> bool {
    let same_type = |other: &&Row| other.decides == Sign::Status && other.kind == row.kind;
    let first = rows().map(|(_, row)| row).find(same_type);
    row.decides != Sign::Status
        || !row.kind.is_empty() && first.is_some_and(|first| first.status == row.status)
}

#[test]
fn no_row_is_hidden_by_another() {
    for (vendor, row) in rows() {
        let message = row.text;
        let status = Some(row.status).filter(|status| *status != 200);
        let said = Said { status, words: [row.code, "", "", row.kind], message };
        assert_eq!(said.means(), Some(row.means), "{vendor}: {row:?}");
    }
}

#[test]
fn a_request_that_quotes_an_account_s_error_does_not_take_the_account_out() {
    for (_, row) in rows().filter(|(_, row)| row.decides == Sign::Opening) {
        let message = format!("Invalid value: '{}'. Supported values are: 'user'.", row.text);
        let body = json!({"error": {"message": message, "type": "invalid_request_error"}}).to_string();
        let error = answer(400, &HeaderMap::new(), body.into(), &Redactor::default());
        assert_eq!(error.kind, ErrorKind::BadRequest, "{row:?}");
    }
}

#[test]
fn statuses_in_no_table_are_judged_by_their_class() {
    for (status, expected) in
        [(302, ErrorKind::Malformed), (418, ErrorKind::BadRequest), (507, ErrorKind::ServerError)]
    {
        let error = answer(status, &HeaderMap::new(), Bytes::new(), &Redactor::default());
        assert_eq!(error.kind, expected, "{status}");
    }
}

#[tokio::test]
async fn what_the_headers_tell_comes_with_the_error() {
    let scene = Scene::start().await;
    let headers =
        [("retry-after-ms", "1500"), ("x-should-retry", "false"), ("x-ratelimit-remaining-requests", "3")];
    let error = scene.failed(Chat, false, exact(500, &headers, "{}")).await;
    assert_eq!((error.retry_after, error.should_retry), (Some(Duration::from_millis(1500)), Some(false))); // PC13
    assert_eq!(error.request_id.as_deref(), Some("call-1"));
    assert_eq!(error.allowances.unwrap().requests.remaining, Some(3));
}

#[tokio::test]
async fn what_the_headers_tell_of_our_limits_comes_with_an_answer() {
    let scene = Scene::start().await;
    let limits = ("anthropic-ratelimit-requests-remaining", "3");
    let whole = exact(200, &[limits], r#"{"choices":[]}"#);
    let streamed = exact(200, &[limits, SSE], "");
    for (stream, fault) in [(false, whole), (true, streamed)] {
        let allowances = match scene.call(Chat, stream, fault).await.unwrap() {
            ProviderReply::Full(reply) => reply.allowances,
            ProviderReply::Stream(reply) => reply.allowances,
        };
        assert_eq!(allowances.unwrap().requests.remaining, Some(3)); // PC13, PC19
    }
}

#[tokio::test]
async fn a_speed_limit_without_a_wait_waits_for_what_is_used_up() {
    let scene = Scene::start().await;
    let headers = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "100ms")];
    let error = scene.failed(Chat, false, exact(429, &headers, "{}")).await;
    let expected = (ErrorKind::RateLimited, Some(Duration::from_millis(100)));
    assert_eq!((error.kind, error.retry_after), expected); // PC13
}

#[tokio::test]
async fn a_wait_that_only_the_message_tells_comes_with_the_error_whole_and_inside_a_stream() {
    let scene = Scene::start().await;
    let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(5 * 24);
    let regain = format!("You will regain access on {}.", day.strftime("%F at %R UTC"));
    let limit = format!("You have reached your specified API usage limits. {regain}");
    let account = json!({"error": {"type": "invalid_request_error", "message": limit}});
    let speed = json!({"error": {"code": "rate_limit_exceeded", "message": "Please try again in 6m0s."}});
    let five_days = Duration::from_secs(5 * 24 * 60 * 60);
    for (status, body, kind, wait) in [
        (400, account, ErrorKind::QuotaExhausted, five_days),
        (429, speed, ErrorKind::RateLimited, Duration::from_secs(360)),
    ] {
        let reset = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1s")];
        let whole = scene.failed(Chat, false, exact(status, &reset, body.to_string())).await;
        let inside = scene.failed(Chat, true, exact(200, &[SSE], format!("data: {body}\n\n"))).await;
        for error in [whole, inside] {
            let missing = wait.checked_sub(error.retry_after.unwrap()).unwrap();
            assert_eq!((error.kind, missing < Duration::from_secs(120)), (kind, true)); // PC12, PC13
        }
    }
    let headers = [("retry-after", "7")];
    let body = r#"{"error":{"message":"Please try again in 6m0s."}}"#;
    let error = scene.failed(Chat, false, exact(429, &headers, body)).await;
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)), "a header goes first"); // PC13
}

#[test]
fn an_error_inside_a_successful_answer_is_judged_by_its_own_words() {
    use ErrorKind::*;
    let table = [
        (r#"{"error":{"code":"rate_limit_exceeded"}}"#, RateLimited),
        (r#"{"error":{"type":"overloaded_error"}}"#, Overloaded),
        (r#"{"error":{"type":"invalid_request_error"}}"#, BadRequest),
        (r#"{"error":{"code":502,"message":"upstream"}}"#, ServerError),
        (r#"{"error":{"code":"429"}}"#, RateLimited),
        (r#"{"error":"broken"}"#, ServerError),
        (r#"{"message":"m","code":"context_length_exceeded"}"#, ContextTooLong),
        ("broken", ServerError),
        (r#"{"response":"broken"}"#, ServerError),
        (r#"{"response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}"#, RateLimited),
        (r#"{"error":{"type":"overloaded_error","details":7,"innererror":[1]}}"#, Overloaded),
    ];
    for (data, expected) in table {
        assert_eq!(inside(data.as_bytes(), &Redactor::default()).kind, expected, "{data}"); // PC12
    }
}

#[test]
fn bodies_that_are_not_the_vendor_s_are_judged_by_the_status_and_not_forwarded() {
    for body in ["", "<html>Bad gateway</html>", "[]", r#"{"detail":"x"}"#, "{\"error\":"] {
        let error = answer(503, &HeaderMap::new(), body.into(), &Redactor::default());
        assert_eq!((error.kind, error.body), (ErrorKind::Overloaded, None), "{body}");
    }
}

#[test]
fn a_long_prompt_is_known_by_its_words_alone() {
    let body =
        r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","code":400}"#;
    let error = answer(400, &HeaderMap::new(), body.into(), &Redactor::default());
    assert_eq!(error.kind, ErrorKind::ContextTooLong);
}

#[test]
fn a_key_echoed_by_the_vendor_reaches_neither_message_nor_body() {
    let secrets = Redactor::new(Some("key-0123456789".into()));
    for status in [400, 401, 403, 500] {
        let body = r#"{"error":{"message":"Incorrect API key provided: key-0123456789."}}"#;
        let error = answer(status, &HeaderMap::new(), body.into(), &secrets);
        assert_eq!(error.message, "Incorrect API key provided: [redacted]"); // SE4
        assert_eq!(error.body, None);
    }
}

#[test]
fn an_ordinary_error_body_is_forwarded_unchanged() {
    let body = Bytes::from_static(br#"{ "error" : {"message":"no", "x":1} }"#);
    let error = answer(400, &HeaderMap::new(), body.clone(), &Redactor::default());
    assert_eq!(error.body, Some(body)); // GW2
}
