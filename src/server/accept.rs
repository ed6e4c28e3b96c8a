//! An accept loop that hostile clients cannot hold up.
//!
//! `axum::serve` never cuts a client that sends its header byte by byte, and one such client keeps a shutdown
//! waiting for ever. Here a header has its time, connections have a limit, a failing `accept` is waited out,
//! and a drain ends at its deadline. What is served is not known here.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Gauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

use super::stall::Stalled;

/// How long a failing `accept` is left alone: descriptors are short, and trying at once would only spin.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a request's header may take, and a connection may idle before its next one.
    pub header: Duration,
    /// How long a client may refuse to take a piece of its answer.
    pub stall: Duration,
    /// How much of a header is read at once, in bytes; one of twice this size or more is refused with 431.
    pub header_bytes: usize,
}

impl Limits {
    /// The default limits for so many connections, kept well below the descriptors that this process may
    /// have: each call needs another one for its upstream.
    pub fn new(connections: usize) -> Self {
        let connections = connections.min(descriptors() / 3).max(1);
        let (header, stall) = (Duration::from_secs(30), Duration::from_secs(60));
        Self { connections, header, stall, header_bytes: 64 << 10 }
    }
}

/// The limit of open files, as the kernel tells it.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Connections that had not finished at the deadline.
    pub cut: usize,
}

/// Serves `router` until `stop`, then lets running requests finish for at most `drain`.
pub async fn serve(
    socket: Arc<TcpListener>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    drain: Duration,
) -> Served {
    let serving = Serving {
        router,
        limits,
        stop: stop.clone(),
        cut: CancellationToken::new(),
        connections: TaskTracker::new(),
        gauge: metrics::gauge!("mainstay_connections"),
    };
    stop.run_until_cancelled(serving.accept(&socket)).await;
    drop(socket);
    serving.finish(drain).await
}

struct Serving {
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    gauge: Gauge,
}

impl Serving {
    async fn accept(&self, socket: &TcpListener) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        // The semaphore is never closed.
        while let Ok(place) = places.clone().acquire_owned().await {
            match socket.accept().await {
                Ok((stream, _)) => {
                    let connection = self.connection(stream);
                    let open = Open::new(self.gauge.clone());
                    self.connections.spawn(async move {
                        let _kept = (place, open);
                        connection.await;
                    });
                }
                Err(error) => failed_to_accept(&error).await,
            }
        }
    }

    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + use<> {
        // Without it small answers wait up to 40 ms for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(Stalled::new(stream, self.limits.stall));
        let running = Arc::new(AtomicUsize::new(0));
        let (router, counted) = (self.router.clone(), running.clone());
        let service = service_fn(move |request| {
            let mut router = router.clone();
            let request_runs = Running::new(counted.clone());
            async move {
                let response = router.call(request).await?;
                Ok::<_, Infallible>(response.map(|body| Counted { body, _running: request_runs }))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header)
            .max_buf_size(self.limits.header_bytes)
            .serve_connection(io, service);
        let (stop, cut) = (self.stop.clone(), self.cut.clone());
        async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    // Neither an idle client nor one that dawdles over its header holds up a shutdown.
                    if running.load(Ordering::Acquire) == 0 {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        ended = connection.as_mut() => ended,
                        () = cut.cancelled() => return,
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a client's connection broke");
            }
        }
    }

    async fn finish(self, drain: Duration) -> Served {
        self.connections.close();
        let done = timeout_at(Instant::now() + drain, self.connections.wait()).await;
        let cut = if done.is_ok() { 0 } else { self.connections.len() };
        self.cut.cancel();
        self.connections.wait().await;
        Served { cut }
    }
}

async fn failed_to_accept(error: &io::Error) {
    metrics::counter!("mainstay_accept_errors_total").increment(1);
    // A client that left before it was accepted says nothing about the next one.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "cannot accept connections; trying again");
        sleep(PAUSE).await;
    }
}

/// Counts a connection while it is open.
struct Open(Gauge);

impl Open {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Counts a request of one connection while it runs: until the last byte of its answer is handed over.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body that keeps its request running.
struct Counted {
    body: Body,
    _running: Running,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
