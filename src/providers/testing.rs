//! What the adapters' tests share: a provider asked over real sockets, and servers that are worse than any.

pub(super) mod faults;

use std::{future::Future, net::SocketAddr, time::Duration};

use futures_util::StreamExt;
use mainstay_actors::{
    call::{FrameKind, ProviderReply, Request},
    error::{ErrorKind, ProviderError},
    ports::{Provider, ProviderCall},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    client::HttpClient,
    http_client,
    scripted::{Script, Scripted},
};

pub(super) const KEY: &str = "key-0123456789abcdef";

/// Long beside any answer here; a silent provider costs a test this much.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn http() -> HttpClient {
    http_client(Duration::from_secs(5)).unwrap()
}

pub(super) async fn scripted() -> Scripted {
    Scripted::start(SocketAddr::from(([127, 0, 0, 1], 0)), Script::default()).await.unwrap()
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    /// The stream ended without its sign of completeness.
    Short,
    Silent,
    Failed(ErrorKind),
}
use Ended::{Failed, Short, Silent, Whole};

pub(super) async fn call(
    provider: &dyn Provider,
    request: &Request,
    model: &str,
) -> Result<ProviderReply, ProviderError> {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    provider.call(ProviderCall { request, model, id: "call-1", deadline }).await
}

pub(super) async fn whole(provider: &dyn Provider, request: &Request, model: &str) -> Ended {
    match timeout(PATIENCE, call(provider, request, model)).await {
        Err(_) => Silent,
        Ok(Ok(_)) => Whole,
        Ok(Err(error)) => Failed(error.kind),
    }
}

/// How many content frames came, and how the stream ended.
pub(super) async fn streamed(provider: &dyn Provider, request: &Request, model: &str) -> (usize, Ended) {
    let request = Request { stream: true, ..request.clone() };
    let reply = match timeout(PATIENCE, call(provider, &request, model)).await {
        Err(_) => return (0, Silent),
        Ok(Ok(ProviderReply::Stream(reply))) => reply,
        Ok(Ok(ProviderReply::Full(_))) => panic!("a whole answer to a stream"),
        Ok(Err(error)) => return (0, Failed(error.kind)),
    };
    let mut frames = reply.frames;
    let mut contents = 0;
    let ended = timeout(PATIENCE, async {
        loop {
            match frames.next().await {
                None => return Short,
                Some(Err(error)) => return Failed(error.kind),
                Some(Ok(frame)) if frame.kind == FrameKind::End => return Whole,
                Some(Ok(frame)) => contents += usize::from(frame.kind == FrameKind::Content),
            }
        }
    });
    let ended = ended.await.unwrap_or(Silent);
    (contents, ended)
}

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(5), held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Answers one connection with `answer` and gives the request's bytes back.
pub(super) async fn raw(answer: impl Into<Vec<u8>>) -> (String, impl Future<Output = String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let answer = answer.into();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let heard = read_request(&mut stream).await;
        let _ = stream.write_all(&answer).await;
        heard
    });
    (base_url, async { heard.await.unwrap() })
}

/// Reads a request whose body ends with an array, or that has none.
pub(super) async fn read_request(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let is_whole =
        |heard: &[u8]| heard.ends_with(b"]}") || heard.starts_with(b"GET ") && heard.ends_with(b"\r\n\r\n");
    while !is_whole(&heard) {
        assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "the request ended early");
    }
    String::from_utf8(heard).unwrap()
}

pub(super) fn http_answer(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
