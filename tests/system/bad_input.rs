//! Everything that comes from outside is wrong in every way it can be; nothing else is harmed.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{World, answered};
use mainstay::server::GatewayLimits;

#[tokio::test]
async fn a_bad_request_gets_a_clear_error_in_the_vendors_form() {
    let world = World::new().await;
    let user = json!([{"role": "user", "content": "hi"}]);
    let cases = [
        ("{".to_string(), 400, "line 1"),
        ("[]".into(), 400, "object"),
        (String::new(), 400, ""),
        ("\u{1}\u{2}".into(), 400, ""),
        (json!({"messages": user}).to_string(), 400, "model"),
        (json!({"model": 7, "messages": user}).to_string(), 400, "string"),
        (json!({"model": "chat"}).to_string(), 400, "messages"),
        (json!({"model": "chat", "messages": []}).to_string(), 400, "messages"),
        (json!({"model": "chat", "messages": "hi"}).to_string(), 400, "messages"),
        (json!({"model": "chat", "messages": ["hi"]}).to_string(), 400, "messages"),
        (json!({"model": "chat", "messages": user, "stream": "yes"}).to_string(), 400, "boolean"),
        (json!({"model": "gpt-9", "messages": user}).to_string(), 404, "`gpt-9` does not exist"),
    ];
    for (body, status, says) in cases {
        let answer = world.post(body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        assert!(error["message"].as_str().unwrap().contains(says), "{body}: {error}");
        assert!(error.as_object().unwrap().contains_key("param"), "{body}: {error}");
    }
    assert_eq!(world.a.requests() + world.b.requests(), 0, "no provider was bothered");
    assert_eq!(world.ask("hi").await.said(), "Echo from a: hi");
}

#[tokio::test]
async fn bytes_that_are_not_text_are_refused() {
    let world = World::new().await;
    assert_eq!(world.post(vec![b'{', 0xff, 0xfe, b'}']).await.status, 400);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_with_and_without_its_length() {
    let world = World::with_limits(GatewayLimits { max_body: 1024, ..GatewayLimits::default() }).await;
    let large =
        json!({"model": "chat", "messages": [{"role": "user", "content": "x".repeat(4096)}]}).to_string();
    let answer = world.post(large.clone()).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &"request_too_large".into()));
    let chunks: Vec<_> = large.as_bytes().chunks(100).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect();
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    assert_eq!(world.post(chunked).await.status, 413);
    assert_eq!(world.ask("hi").await.status, 200);
}

#[tokio::test]
async fn a_wrong_method_and_a_wrong_address_are_told_apart() {
    let world = World::new().await;
    let wrong = answered(world.request(Method::DELETE, "/v1/chat/completions")).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["code"]), (405, &"method_not_allowed".into()));
    assert_eq!(wrong.header("allow"), "POST");
    let lost = world.get("/v2/chat").await;
    assert_eq!((lost.status, &lost.json()["error"]["code"]), (404, &"unknown_url".into()));
}

#[tokio::test]
async fn another_sites_page_cannot_spend_tokens_through_a_visitors_browser() {
    let world = World::new().await;
    let body = json!({"model": "chat", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let post = || world.request(Method::POST, "/v1/chat/completions").body(body.clone());
    assert_eq!(answered(post().header("origin", "https://evil.example")).await.status, 403);
    assert_eq!(answered(post().header("host", "evil.example")).await.status, 403);
    assert_eq!(answered(post().header("origin", "http://localhost:3000")).await.status, 200);
    assert_eq!(world.a.requests(), 1);
}

#[tokio::test]
async fn a_request_needs_exactly_one_host_and_names_no_other_in_its_target() {
    let world = World::new().await;
    let cases = [
        ("GET /livez HTTP/1.1\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", "400"),
        ("GET http://evil.example/livez HTTP/1.1\r\nhost: localhost\r\n", "403"),
        ("GET http://localhost/livez HTTP/1.1\r\nhost: localhost\r\n", "200"),
    ];
    for (head, status) in cases {
        let address = world.url.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}"); // GW6
        assert!(answer.contains("x-request-id: "), "{head}: {answer}");
    }
}

/// What cannot be parsed is answered by hyper itself, which leaves no way to say more: a bare status without a body and
/// without our headers, after which the connection is closed.
#[tokio::test]
async fn what_is_no_http_gets_a_bare_status_and_the_connection_is_closed() {
    let world = World::new().await;
    let header = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(256 << 10));
    let address = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(70 << 10));
    let cases = [
        ("\u{16}\u{3}\u{1} not http at all\r\n\r\n", "400 Bad Request"),
        ("GET /livez HTTP/9.9\r\nhost: localhost\r\n\r\n", "400 Bad Request"),
        ("GET /livez HTTP/1.1\r\nno colon\r\n\r\n", "400 Bad Request"),
        (
            "GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "400 Bad Request",
        ),
        (&header, "431 Request Header Fields Too Large"),
        (&address, "414 URI Too Long"),
    ];
    for (sent, status) in cases {
        let shown: String = sent.chars().take(40).collect();
        let mut stream =
            tokio::net::TcpStream::connect(world.url.trim_start_matches("http://")).await.unwrap();
        let _ = stream.write_all(sent.as_bytes()).await;
        let mut answer = Vec::new();
        // Whoever sent more than was read may see a reset after the answer.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{shown}: {answer}"); // GW6
        assert!(
            answer.contains("connection: close\r\n") && answer.ends_with("\r\n\r\n"),
            "{shown}: {answer}"
        );
        assert!(!answer.contains("x-request-id"), "hyper can say more now: let it: {answer}");
    }
    assert_eq!(world.ask("hi").await.status, 200);
}

#[tokio::test]
async fn a_model_s_name_that_is_no_text_is_unknown_like_any_other() {
    let world = World::new().await;
    let answer = world.get("/v1/models/%ff").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &"model_not_found".into()));
}

#[tokio::test]
async fn members_that_mainstay_does_not_know_reach_the_provider_untouched() {
    let world = World::new().await;
    let odd =
        r#"{ "model" : "chat","x_new":[1,{"deep":"\u00e9"}],"messages":[{"role":"user","content":"hi"}] }"#;
    let answer = world.post(odd).await;
    assert_eq!((answer.status, answer.said().as_str()), (200, "Echo from a: hi"));
}
