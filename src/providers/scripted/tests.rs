//! The scripted provider as an application under test meets it: over HTTP, with nothing of ours.

use std::net::SocketAddr;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::*;

async fn start(script: Script) -> (Scripted, Client) {
    let server = Scripted::start(SocketAddr::from(([127, 0, 0, 1], 0)), script).await.unwrap();
    (server, Client::builder().no_proxy().build().unwrap())
}

fn url(server: &Scripted, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

async fn send(http: &Client, method: Method, url: String, body: Value) -> (StatusCode, Value) {
    let response = http.request(method, url).body(body.to_string()).send().await.unwrap();
    let status = response.status();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn ask(text: Value) -> Value {
    json!({"model": "m", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": text}]})
}

async fn chat(server: &Scripted, http: &Client, body: Value) -> (StatusCode, Value) {
    send(http, Method::POST, url(server, "/v1/chat/completions"), body).await
}

#[tokio::test]
async fn answers_are_made_from_the_request_s_last_user_message() {
    let (server, http) = start(Script { name: "b".into(), ..Script::default() }).await;
    let parts =
        json!([{"type": "text", "text": "two"}, {"type": "image_url"}, {"type": "text", "text": "parts"}]);
    for (content, text) in [(json!("hi"), "Echo from b: hi"), (parts, "Echo from b: two parts")] {
        let (status, body) = chat(&server, &http, ask(content)).await;
        assert_eq!((status, &body["choices"][0]["message"]["content"]), (StatusCode::OK, &json!(text)));
        assert_eq!(
            (&body["object"], &body["usage"]["completion_tokens"].is_u64()),
            (&json!("chat.completion"), &true)
        );
    }
}

#[tokio::test]
async fn usage_is_streamed_only_where_asked_for() {
    let (server, http) = start(Script::default()).await;
    for include in [true, false] {
        let mut body = ask(json!("hi"));
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": include});
        let sent =
            http.post(url(&server, "/v1/chat/completions")).body(body.to_string()).send().await.unwrap();
        let text = String::from_utf8(sent.bytes().await.unwrap().to_vec()).unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(text.contains("total_tokens"), include, "{text}");
    }
}

#[tokio::test]
async fn a_flaky_provider_fails_the_first_few_of_every_so_many() {
    let (server, http) = start(Script { fail_first: 1, of_every: 3, ..Script::default() }).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(chat(&server, &http, ask(json!("hi"))).await.0.as_u16());
    }
    assert_eq!(statuses, [503, 200, 200, 503, 200, 200]);
    assert_eq!(server.counts().faults, [("status", 2)].into());
}

#[tokio::test]
async fn faults_are_set_shown_and_taken_away_over_the_control_endpoint() {
    let (server, http) = start(Script::default()).await;
    let control = || url(&server, "/control");
    let (_, state) = send(&http, Method::PUT, control(), json!({"fault": "status=500", "next": 1})).await;
    assert_eq!(state["plan"], json!({"next": {"fault": "status=500", "left": 1}}));
    assert_eq!(chat(&server, &http, ask(json!("hi"))).await.0, 500);
    assert_eq!(chat(&server, &http, ask(json!("hi"))).await.0, 200);
    send(&http, Method::PUT, control(), json!({"fault": "status=429"})).await;
    let (_, state) = send(&http, Method::DELETE, control(), Value::Null).await;
    assert_eq!((&state["plan"], &state["counts"]["requests"]), (&json!("never"), &json!(2)));
    let (status, body) = send(&http, Method::PUT, control(), json!({"fault": "hung"})).await;
    assert_eq!(status, 400);
    assert!(body["error"]["message"].as_str().unwrap().contains("try status=503"), "{body}");
}

#[tokio::test]
async fn the_header_s_fault_goes_before_the_model_s_before_the_plan_s() {
    let (server, http) = start(Script { fault: Some(Fault::status(500)), ..Script::default() }).await;
    let mut body = ask(json!("hi"));
    assert_eq!(chat(&server, &http, body.clone()).await.0, 500);
    body["model"] = json!("fault:status=404");
    assert_eq!(chat(&server, &http, body.clone()).await.0, 404);
    let request =
        http.post(url(&server, "/v1/chat/completions")).header("x-mock-fault", "status=429; retry-after=2");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );
}

#[tokio::test]
async fn wrong_requests_get_the_vendor_s_errors() {
    let (server, http) = start(Script { models: vec!["m".into()], ..Script::default() }).await;
    let table = [
        (
            Method::POST,
            "/v1/chat/completions",
            json!({"model": "m", "messages": []}),
            400,
            json!("empty_array"),
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            json!({"model": "n", "messages": [{}]}),
            404,
            json!("model_not_found"),
        ),
        (Method::GET, "/v1/chat/completions", Value::Null, 405, Value::Null),
        (Method::POST, "/v1/models", Value::Null, 405, Value::Null),
        (Method::POST, "/control", Value::Null, 405, Value::Null),
        (Method::GET, "/v1/other", Value::Null, 404, Value::Null),
    ];
    for (method, path, body, status, code) in table {
        let answer = send(&http, method, url(&server, path), body).await;
        assert_eq!((answer.0.as_u16(), &answer.1["error"]["code"]), (status, &code), "{path}");
    }
    let (_, models) = send(&http, Method::GET, url(&server, "/v1/models"), Value::Null).await;
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("m")));
    assert_eq!((server.counts().in_progress, server.counts().aborted), (0, 0));
}

#[tokio::test]
async fn whoever_answers_to_every_model_lists_its_own_name() {
    let (server, http) = start(Script { name: "b".into(), ..Script::default() }).await;
    let (_, models) = send(&http, Method::GET, url(&server, "/v1/models"), Value::Null).await;
    assert_eq!(models["data"][0]["id"], "b");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let (server, http) = start(Script::default()).await;
    let answered =
        http.post(url(&server, "/v1/chat/completions")).body(vec![b' '; (16 << 20) + 1]).send().await;
    // The answer may come before the last byte has gone, and the connection with it.
    assert!(answered.is_err() || answered.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(chat(&server, &http, ask(json!("hi"))).await.0, 200);
}

#[tokio::test]
async fn a_stopped_server_frees_its_port_and_ends_its_connections() {
    let (server, http) = start(Script::default()).await;
    let addr = server.addr();
    let hanging = http.post(url(&server, "/v1/chat/completions")).header("x-mock-fault", "hang");
    let hanging = tokio::spawn(hanging.body(ask(json!("hi")).to_string()).send());
    while server.requests() == 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    assert!(hanging.await.unwrap().is_err());
    Scripted::start(addr, Script::default()).await.unwrap().stop().await;
}
