//! Where a Redis is, who we are there, and how a connection to it comes up.
//!
//! The URL holds a password: of all that is in it only the [place](Address::place) is ever shown. What the server says
//! is not shown either, but for the word that it begins with: it may repeat what it was sent.

use std::{io, sync::Arc};

use futures_util::future::BoxFuture;
use mainstay_actors::ports::StoreError;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    aio::MultiplexedConnection,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use crate::providers::tls;

/// A Redis and our way in.
pub(super) struct Address {
    server: ConnectionAddr,
    login: RedisConnectionInfo,
    tls: Option<TlsConnector>,
}

/// A connection, and what moves its bytes as long as it is polled.
pub(super) type Line = (MultiplexedConnection, BoxFuture<'static, ()>);

trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

const FORM: &str = "the URL of a Redis reads redis://USER:PASSWORD@HOST:PORT/DATABASE (rediss:// for TLS, \
                    redis+unix:///PATH for a socket)";

impl Address {
    /// Reads the URL. Nothing connects yet.
    pub(super) fn new(url: &SecretString) -> Result<Self, StoreError> {
        Self::with(url, || tls().map_err(|error| unusable(&error.to_string())))
    }

    /// `tls` says what is trusted, if the URL asks for TLS.
    pub(super) fn with(
        url: &SecretString,
        tls: impl FnOnce() -> Result<ClientConfig, StoreError>,
    ) -> Result<Self, StoreError> {
        let url = url.expose_secret();
        if url.contains('#') {
            return Err(unusable("a URL of a Redis ends before any `#`: certificates are always checked"));
        }
        // TLS is ours, so the client only hears of the plain schemes.
        let over_tls = url.strip_prefix("rediss:").or(url.strip_prefix("valkeys:"));
        let plain = over_tls.map_or_else(|| url.into(), |rest| format!("redis:{rest}"));
        let info = plain.into_connection_info().map_err(|_| unusable(FORM))?;
        let login = info.redis_settings().clone().set_lib_name("mainstay", env!("CARGO_PKG_VERSION"));
        let tls = over_tls.map(|_| tls()).transpose()?.map(|config| TlsConnector::from(Arc::new(config)));
        Ok(Self { server: info.addr().clone(), login, tls })
    }

    /// Host and port, or the socket's path.
    pub(super) fn place(&self) -> String {
        format!("Redis at {}", self.server)
    }

    pub(super) fn failed(&self, problem: impl Into<String>) -> StoreError {
        StoreError { place: self.place(), problem: problem.into(), in_use: false }
    }

    /// Connects and logs in. The server has answered when this is done.
    pub(super) async fn connect(&self) -> Result<Line, StoreError> {
        let wire = self.wire().await.map_err(|error| {
            self.failed(format!("cannot be reached ({error}): start it, or correct the address"))
        })?;
        // Deadlines are the callers'.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let line = MultiplexedConnection::new_with_config(&self.login, wire, config).await;
        let (connection, driver) = line.map_err(|error| self.failed(advice(&error)))?;
        Ok((connection, Box::pin(driver)))
    }

    async fn wire(&self) -> io::Result<Box<dyn Wire>> {
        match (&self.server, &self.tls) {
            (ConnectionAddr::Tcp(host, port), None) => Ok(Box::new(tcp(host, *port).await?)),
            (ConnectionAddr::Tcp(host, port), Some(tls)) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, tcp(host, *port).await?).await?))
            }
            (ConnectionAddr::Unix(path), None) => Ok(Box::new(UnixStream::connect(path).await?)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn unusable(problem: &str) -> StoreError {
    StoreError { place: "Redis".into(), problem: problem.into(), in_use: false }
}

/// What went wrong on a connection, and what to do about it.
pub(super) fn advice(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Io => "the connection was lost: a new one is being made".into(),
        ErrorKind::AuthenticationFailed => refusal("WRONGPASS"),
        _ => refusal(error.code().unwrap_or_default()),
    }
}

/// What an error that the server answered with means; only its first word is looked at.
pub(super) fn refusal(code: &str) -> String {
    let known = match code {
        "NOAUTH" => "it asks for a password: put one into the URL",
        "WRONGPASS" => {
            "it refuses the user name or the password: correct those in the URL, or leave them out if it has none"
        }
        "NOPERM" => {
            "the user may not do that: allow it GETRANGE, SET, UNLINK, EVAL, HGET, HSET, HDEL, HLEN, HGETALL, TYPE, \
             DBSIZE and INFO on the keys of the prefix"
        }
        "OOM" => "its memory is full: give it more, or let it evict (maxmemory-policy allkeys-lru)",
        "READONLY" => "it is a replica, which only reads: use the address of its primary",
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => {
            "it is a cluster, which the cache does not work with: use a single Redis"
        }
        "LOADING" => "it is still loading its data: wait",
        "MISCONF" => {
            "it cannot save its data and refuses writes: look at its log, or turn `save` off for a cache"
        }
        _ => "",
    };
    let is_word = (1..=20).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase());
    match known {
        "" if is_word => {
            format!("it refused a command ({code}): look at its version (6 or later) and its settings")
        }
        "" => "it gave no answer that makes sense: is there a Redis at that address?".into(),
        known => known.into(),
    }
}
