//! The HTTP client below the dialects.
//!
//! It does what it is told and nothing else: the runtime above decides about retries, and nobody decides about
//! redirects, proxies, cookies or decompression, which are not here at all.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{
    HeaderValue, Request, Response, Uri,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

use super::wire::BadProvider;

/// Connections kept open to one host while nobody uses them.
const IDLE_CONNECTIONS: usize = 64;

/// How long they are kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of an answer is read ahead of who takes it, in bytes; an answer's header must fit in. Of an answer that
/// nobody takes, a few times as much is held (RS7).
const READ_AHEAD: usize = 32 << 10;

/// How long a connection may be silent before the other machine is asked whether it is still there, and how often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_RETRIES: u32 = 3;

/// How long the other machine may leave what was sent to it unacknowledged.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

const WE: HeaderValue = HeaderValue::from_static(concat!("mainstay/", env!("CARGO_PKG_VERSION")));

/// Sends requests, and keeps connections for the next ones. Its clones share them; one serves any number of
/// providers.
#[derive(Clone, Debug)]
pub struct HttpClient(Client<Connector, Full<Bytes>>);

impl HttpClient {
    /// Sends a request once; only one of which nothing was written yet, because its connection had been closed
    /// while it was idle, takes another connection.
    pub(crate) async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, WE);
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        self.0.request(request.map(Full::new)).await
    }
}

/// `connect` limits how long a connection may take to come up, TLS included; without it, the machine's own
/// limit holds. Certificates are checked against the system's roots, read once, here.
pub fn http_client(connect: impl Into<Option<Duration>>) -> Result<HttpClient, BadProvider> {
    let limit = connect.into();
    let https = HttpsConnector::from((tcp(limit), tls()?));
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_buf_size(READ_AHEAD)
        .retry_canceled_requests(true)
        .build(Connector { https, limit });
    Ok(HttpClient(client))
}

fn tcp(limit: Option<Duration>) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Of several addresses, each has its share.
    tcp.set_connect_timeout(limit);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE));
    tcp.set_keepalive_retries(Some(KEEP_ALIVE_RETRIES));
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

pub(crate) fn tls() -> Result<ClientConfig, BadProvider> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 {
        tracing::warn!("no root certificates found: every https provider will fail; install ca-certificates");
    }
    // Named, not the process's default: a host application may have installed another.
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|e| BadProvider::new(format!("TLS cannot be set up: {e}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Brings connections up, each within its time.
#[derive(Clone, Debug)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    limit: Option<Duration>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Self::Response, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.https.call(uri), self.limit);
        let Some(limit) = limit else { return connecting };
        Box::pin(async move {
            let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
            timeout(limit, connecting).await.unwrap_or_else(late)
        })
    }
}
