//! Hostile clients against the accept loop, over real sockets.

use std::{net::SocketAddr, time::Instant as StdInstant};

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use super::*;

const GET: &[u8] = b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";

struct Server {
    at: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Served>,
}

/// Answers `/slow` after 200 ms and `/never` never; short limits.
async fn server(connections: usize, drain: Duration) -> Server {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let slow = get(|| async {
        sleep(Duration::from_millis(200)).await;
        "done"
    });
    let router = Router::new().route("/slow", slow).route("/never", get(std::future::pending::<String>));
    let (header, stall) = (Duration::from_millis(300), Duration::from_secs(5));
    let limits = Limits { connections, header, stall, header_bytes: 16 << 10 };
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(Arc::new(socket), router, limits, stop.clone(), drain));
    Server { at, stop, served }
}

impl Server {
    async fn client(&self, sends: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(sends).await.unwrap();
        stream
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_header_that_does_not_end_is_cut_off() {
    let server = server(10, Duration::ZERO).await;
    let mut dawdling = Vec::new();
    for _ in 0..10 {
        dawdling.push(server.client(b"GET / HTTP/1.1\r\nhost: lo").await);
    }
    let started = StdInstant::now();
    for stream in dawdling {
        rest(stream).await;
    }
    assert!(started.elapsed() < Duration::from_secs(5), "ten are cut as fast as one");
    let next = server.client(GET).await;
    assert!(rest(next).await.starts_with("HTTP/1.1 200"), "their places are free again");
}

#[tokio::test]
async fn a_shutdown_waits_for_running_requests_and_for_nobody_else() {
    let server = server(10, Duration::from_secs(20)).await;
    let running = server.client(GET).await;
    let idle = server.client(b"").await;
    let dawdling = server.client(b"GET / HT").await;
    sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    let started = StdInstant::now();
    assert_eq!(server.served.await.unwrap(), Served { cut: 0 });
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(rest(running).await.ends_with("done"));
    assert_eq!((rest(idle).await, rest(dawdling).await), (String::new(), String::new()));
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_and_tells_how_many_it_cut() {
    let server = server(10, Duration::from_millis(200)).await;
    let hanging = server.client(b"GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    assert_eq!(server.served.await.unwrap(), Served { cut: 1 });
    assert_eq!(rest(hanging).await, "");
}

#[tokio::test]
async fn beyond_the_limit_a_client_waits_and_is_then_served() {
    let server = server(1, Duration::ZERO).await;
    let first = server.client(b"").await;
    let mut second = server.client(GET).await;
    let waits = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(waits.is_err(), "the only place is taken");
    drop(first);
    assert!(rest(second).await.ends_with("done"));
}

#[tokio::test]
async fn a_header_beyond_its_limit_is_refused() {
    let server = server(10, Duration::ZERO).await;
    let mut large = b"GET /slow HTTP/1.1\r\nhost: localhost\r\nx: ".to_vec();
    large.resize(64 << 10, b'x');
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    let _ = stream.write_all(&large).await;
    assert!(rest(stream).await.starts_with("HTTP/1.1 431"));
}

#[test]
fn connections_stay_below_the_descriptors_of_the_process() {
    assert!(Limits::new(usize::MAX).connections <= descriptors() / 3);
    assert_eq!(Limits::new(0).connections, 1);
}
