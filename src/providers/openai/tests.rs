//! The client against real sockets: every fault of the scripted provider, and servers that are worse.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use mainstay_actors::{
    call::{Api, ProviderReply, Request},
    error::ErrorKind,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::*;
use crate::providers::{
    http_client, read,
    scripted::Fault,
    testing::{
        self,
        Ended::{self, Failed, Short, Silent, Whole},
        KEY, call, http, http_answer, raw, read_request, scripted, until,
    },
    wire,
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

/// Five words, so seven events before `[DONE]`: role, words, finish reason.
const WORDS: usize = 5;
const EVENTS: usize = WORDS + 3;

#[tokio::test]
async fn every_fault_has_its_outcome_whole_and_streamed() {
    use ErrorKind::*;
    let table = [
        ("slow=20", Whole, (WORDS, Whole)),
        ("status=400", Failed(BadRequest), (0, Failed(BadRequest))),
        ("status=401", Failed(Auth), (0, Failed(Auth))),
        ("status=404", Failed(NotFound), (0, Failed(NotFound))),
        ("status=429; retry-after=2", Failed(RateLimited), (0, Failed(RateLimited))),
        ("status=500", Failed(ServerError), (0, Failed(ServerError))),
        ("status=503", Failed(Overloaded), (0, Failed(Overloaded))),
        ("status=529", Failed(Overloaded), (0, Failed(Overloaded))),
        ("hang", Silent, (0, Silent)),
        ("hang-after=0", Silent, (0, Silent)),
        ("hang-after=3", Silent, (2, Silent)),
        ("cut-after=0", Failed(Malformed), (0, Short)),
        ("reset", Failed(Reset), (0, Failed(Reset))),
        ("reset-after=0", Failed(Reset), (0, Failed(Reset))),
        ("malformed", Failed(Malformed), (0, Failed(Malformed))),
        ("no-done", Whole, (WORDS, Short)),
        ("error-after=0", Failed(ServerError), (0, Failed(ServerError))),
        ("error-after=3", Failed(ServerError), (2, Failed(ServerError))),
        ("pings", Silent, (0, Silent)),
        ("empty", Failed(Malformed), (0, Short)),
    ];
    let server = scripted().await;
    let client = client(&server.base_url());
    let outcomes = join_all(table.map(|(fault, ..)| {
        let (client, model) = (&client, format!("fault:{fault}"));
        async move { (fault, unary(client, &model).await, streamed(client, &model).await) }
    }));
    for (outcome, expected) in outcomes.await.into_iter().zip(table) {
        assert_eq!(outcome, expected); // PC12, RS5, RS6
    }
}

#[tokio::test]
async fn a_stream_broken_anywhere_is_never_passed_off_as_complete() {
    let server = scripted().await;
    let client = client(&server.base_url());
    for cut in 0..=EVENTS {
        let contents = cut.saturating_sub(1).min(WORDS);
        let model = |fault: &str| format!("fault:{fault}-after={cut}");
        let (short, reset) = match cut {
            EVENTS => (Whole, Whole),
            _ => (Short, Failed(ErrorKind::Reset)),
        };
        assert_eq!(streamed(&client, &model("cut")).await, (contents, short), "cut after {cut}"); // RS6
        assert_eq!(streamed(&client, &model("reset")).await, (contents, reset), "reset after {cut}"); // RS6
    }
}

/// The events of a streamed response before its words: created, in progress, item, part.
const BEFORE: usize = 4;

#[tokio::test]
async fn responses_and_embeddings_have_the_same_outcomes_for_every_fault() {
    use ErrorKind::*;
    let table = [
        ("slow=20", Whole, (WORDS, Whole)),
        ("status=429", Failed(RateLimited), (0, Failed(RateLimited))),
        ("status=500", Failed(ServerError), (0, Failed(ServerError))),
        ("hang", Silent, (0, Silent)),
        ("hang-after=6", Silent, (2, Silent)),
        ("cut-after=6", Failed(Malformed), (2, Short)),
        ("reset", Failed(Reset), (0, Failed(Reset))),
        ("reset-after=6", Failed(Reset), (2, Failed(Reset))),
        ("malformed", Failed(Malformed), (0, Failed(Malformed))),
        ("no-done", Whole, (WORDS, Short)),
        ("error-after=6", Failed(ServerError), (2, Failed(ServerError))),
        ("pings", Silent, (0, Silent)),
        ("empty", Failed(Malformed), (0, Short)),
    ];
    let server = scripted().await;
    let client = client(&server.base_url());
    let responses = asked(Api::Responses, r#"{"model":"x","input":"one two"}"#);
    let embeddings = asked(Api::Embeddings, r#"{"model":"x","input":["one two"]}"#);
    let outcomes = join_all(table.map(|(fault, ..)| {
        let (client, model) = (&client, format!("fault:{fault}"));
        let (responses, embeddings) = (&responses, &embeddings);
        async move {
            let embedded = testing::whole(client, embeddings, &model).await;
            let responded = testing::whole(client, responses, &model).await;
            (embedded, (fault, responded, testing::streamed(client, responses, &model).await))
        }
    }));
    for ((embedded, outcome), expected) in outcomes.await.into_iter().zip(table) {
        assert_eq!(outcome, expected); // PC12, RS6
        assert_eq!(embedded, expected.1, "{}", expected.0);
    }
}

#[tokio::test]
async fn a_response_cut_anywhere_is_never_passed_off_as_complete() {
    let server = scripted().await;
    let client = client(&server.base_url());
    let request = asked(Api::Responses, r#"{"model":"x","input":"one two"}"#);
    let events = BEFORE + WORDS + 4;
    for cut in 0..=events {
        let contents = cut.saturating_sub(BEFORE).min(WORDS);
        let expected = (contents, if cut == events { Whole } else { Short });
        let model = format!("fault:cut-after={cut}");
        assert_eq!(testing::streamed(&client, &request, &model).await, expected, "cut after {cut}"); // RS6
    }
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
async fn connections_are_used_again_after_whole_answers_and_after_streams() {
    let server = scripted().await;
    let client = client(&server.base_url());
    for _ in 0..5 {
        assert_eq!(streamed(&client, "m").await.1, Whole);
        assert_eq!(unary(&client, "m").await, Whole);
    }
    assert!(server.counts().connections <= 2, "{:?}", server.counts());
}

#[tokio::test]
async fn a_stream_s_connection_is_used_again_though_the_body_ends_after_the_dialect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&format!("http://{}/v1", listener.local_addr().unwrap()));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let events = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = format!("{head}{:x}\r\n{events}\r\n", events.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(http_answer("x: y", r#"{"choices":[]}"#).as_bytes()).await.unwrap();
    });
    assert_eq!(streamed(&client, "m").await, (0, Whole));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(unary(&client, "m").await, Whole);
    server.await.unwrap();
}

#[tokio::test]
async fn a_reset_is_not_retried_behind_the_runtime_s_back() {
    let server = scripted().await;
    let client = client(&server.base_url());
    assert_eq!(unary(&client, "m").await, Whole);
    assert_eq!(unary(&client, "fault:reset").await, Failed(ErrorKind::Reset));
    assert_eq!(server.requests(), 2); // PC14
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_request_along() {
    let server = scripted().await;
    let client = client(&server.base_url());
    for (left, fault) in ["hang", "hang-after=3", "pings"].into_iter().enumerate() {
        let model = format!("fault:{fault}");
        assert_eq!(streamed(&client, &model).await.1, Silent);
        until("an abort", || server.counts().aborted == left as u64 + 1).await; // GW5
    }
    assert_eq!(server.counts().in_progress, 0);
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
async fn a_redirect_is_not_followed_and_its_target_sees_nothing() {
    let (first, target) = (scripted().await, scripted().await);
    let location = format!("status=307; location={}/chat/completions", target.base_url());
    first.set_default_fault(Some(location.parse().unwrap()));
    let error = call(&client(&first.base_url()), &completion("x"), "m").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Malformed);
    assert!(error.message.contains("redirects are not followed"), "{error}");
    assert_eq!(target.counts().connections, 0); // SE5
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
async fn proxy_variables_are_ignored() {
    let test = "providers::openai::tests::answers_come_back_as_they_were_sent";
    let nowhere = "http://127.0.0.1:1";
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]).env_remove("NO_PROXY").env_remove("no_proxy");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, nowhere);
    }
    let output = child.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}"); // SE5
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

#[tokio::test]
async fn what_is_not_http_is_malformed_and_a_short_body_is_a_reset() {
    let (base_url, _) = raw("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    assert_eq!(unary(&client(&base_url), "m").await, Failed(ErrorKind::Malformed));
    let (base_url, _) = raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
    assert_eq!(unary(&client(&base_url), "m").await, Failed(ErrorKind::Reset));
}

#[tokio::test]
async fn a_refused_connection_is_told_without_the_address() {
    let server = scripted().await;
    let base_url = server.base_url();
    server.stop().await;
    let error = call(&client(&base_url), &completion("x"), "m").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Connect);
    assert!(!error.message.contains("http://"), "{error}"); // SE4
}

#[tokio::test]
async fn a_connection_that_does_not_come_up_is_a_connect_timeout() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    // Nobody accepts: once the queue is full, connections are not answered.
    let mut queue = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
        queue.push(stream);
    }
    let http = http_client(Duration::from_millis(100)).unwrap();
    let client = OpenAi::new(http, &format!("http://{addr}/v1"), None).unwrap();
    let error = call(&client, &completion("x"), "m").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::ConnectTimeout, "{error}"); // PC18
}

#[tokio::test]
async fn a_machine_out_of_descriptors_does_not_blame_the_provider() {
    struct OutOfDescriptors;
    impl reqwest::dns::Resolve for OutOfDescriptors {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Box::pin(async { Err(std::io::Error::from_raw_os_error(24).into()) })
        }
    }
    let http = reqwest::Client::builder().tls_backend_preconfigured(wire::tls().unwrap());
    let http = http.dns_resolver(Arc::new(OutOfDescriptors)).build().unwrap();
    let client = OpenAi::new(http, "http://localhost:1/v1", None).unwrap();
    assert_eq!(unary(&client, "m").await, Failed(ErrorKind::Local)); // PC5
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
