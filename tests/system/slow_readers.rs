//! A caller that reads slowly slows its provider down, and costs the gateway little memory.
#![cfg(target_os = "linux")] // The kernel tells how much memory a process has.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::process::{Folder, Process};

/// So many that what the process takes once, such as the allocator's arenas, weighs little beside them.
const STREAMS: usize = 50;
/// What RS7 allows a stream.
const MOST: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes streams without an end, as fast as they are taken, which no model does; counts their bytes.
async fn flood() -> (String, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", socket.local_addr().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(pour(stream, counted.clone()));
        }
    });
    (base_url, written)
}

async fn pour(mut stream: TcpStream, written: Arc<AtomicUsize>) {
    let word = "x".repeat(2000);
    let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n");
    let _ = stream.read(&mut [0; 4096]).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
    while stream.write_all(event.as_bytes()).await.is_ok() {
        written.fetch_add(event.len(), Ordering::Relaxed);
    }
}

/// Asks for a stream and reads no more than its head.
async fn begin(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let body = r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}content-type: application/json\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut heard = [0; 12];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"HTTP/1.1 200");
    stream
}

/// Waits until no more is written for a while; tells how much was.
async fn stalled(written: &AtomicUsize) -> usize {
    let (mut before, mut quiet) = (0, 0);
    let stalls = async {
        while quiet < 5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = written.load(Ordering::Relaxed);
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
    };
    tokio::time::timeout(PATIENCE, stalls).await.expect("the provider is never slowed down");
    before
}

fn memory_of(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// What a stream costs is how much the process grew while so many of them were stalled, divided by their number. The
/// first stream is not counted: it pays for what all of them share.
#[tokio::test]
async fn a_stream_that_nobody_reads_stalls_its_provider_and_holds_little() {
    let (base_url, written) = flood().await;
    let folder = Folder::new("slow-readers");
    let timeouts = r#"timeouts = { first_token = "5m", idle = "5m", total = "5m" }"#;
    let config = folder.write(
        "m.toml",
        &format!(
            "[provider.a]\nkind = \"openai\"\nbase_url = \"{base_url}\"\nmax_concurrent = 100\n{timeouts}\n\
             [chain.chat]\ntargets = [\"a/m\"]\n"
        ),
    );
    let args = ["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let gateway = Process::start_with(folder, &args, &[]);
    let address = gateway.url.trim_start_matches("http://").to_string();
    let first = begin(&address).await;
    stalled(&written).await;
    let before = memory_of(gateway.id());
    let mut others = Vec::new();
    for _ in 0..STREAMS {
        others.push(begin(&address).await);
    }
    let taken = stalled(&written).await;
    let each = memory_of(gateway.id()).saturating_sub(before) / STREAMS;

    assert!(each <= MOST, "{} KiB a stream after {} MiB", each >> 10, taken >> 20); // RS7
    drop((first, others));
}
