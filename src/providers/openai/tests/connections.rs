//! Connections: used again, not retried behind anybody's back, and told apart when they fail.

use std::time::Duration;

use mainstay_actors::error::ErrorKind;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::{client, streamed, unary};
use crate::providers::{
    http_client,
    openai::{OpenAi, completion},
    testing::{
        Ended::{Failed, Silent, Whole},
        call, http_answer, raw, read_request, scripted, until,
    },
};

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
