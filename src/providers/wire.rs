//! The HTTP client below the dialects, and whose fault it is when the wire fails.
//!
//! Everything that an HTTP client does by itself is turned off here: the runtime above decides about retries,
//! and nobody decides about redirects or proxies.

use std::{io, time::Duration};

use mainstay_actors::error::{ErrorKind, ProviderError};
use reqwest::Client;
use rustls::{ClientConfig, RootCertStore};

use super::redact::Redactor;

/// Connections kept open to one host while nobody uses them.
const IDLE_CONNECTIONS: usize = 64;

/// How long they are kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A provider's settings that cannot work; says what to change.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadProvider(String);

impl BadProvider {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// An HTTP client that does what it is told and nothing else: no redirects, proxies, cookies, retries or
/// decompression. One client serves any number of providers.
///
/// `connect` limits how long a connection may take to come up, TLS included; without it, the machine's own
/// limit holds. Certificates are checked against
/// the system's roots, read once, here.
pub fn http_client(connect: impl Into<Option<Duration>>) -> Result<Client, BadProvider> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .user_agent(concat!("mainstay/", env!("CARGO_PKG_VERSION")));
    let builder = match connect.into() {
        Some(limit) => builder.connect_timeout(limit),
        None => builder,
    };
    builder.build().map_err(|e| BadProvider::new(format!("the HTTP client cannot be built: {e}")))
}

pub(crate) fn tls() -> Result<ClientConfig, BadProvider> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 {
        tracing::warn!("no root certificates found: everything over TLS will fail; install ca-certificates");
    }
    // Named, not the process's default: a host application may have installed another.
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|e| BadProvider::new(format!("TLS cannot be set up: {e}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Why the wire failed, and whose fault that is.
pub(super) fn broken(error: reqwest::Error, secrets: &Redactor) -> ProviderError {
    let kind = kind_of(&error);
    // An address says more about the set-up than a client should read.
    let error = error.without_url();
    let story: Vec<_> = causes(&error).map(ToString::to_string).collect();
    ProviderError::new(kind, secrets.line(&story.join(": ")))
}

fn kind_of(error: &reqwest::Error) -> ErrorKind {
    let mut http = causes(error).filter_map(|e| e.downcast_ref::<hyper::Error>());
    if is_local(error) {
        ErrorKind::Local
    } else if error.is_connect() && error.is_timeout() {
        ErrorKind::ConnectTimeout
    } else if error.is_connect() {
        ErrorKind::Connect
    } else if http.any(hyper::Error::is_parse) {
        ErrorKind::Malformed
    } else {
        ErrorKind::Reset
    }
}

/// Is it this machine that ran out of something?
fn is_local(error: &reqwest::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    causes(error)
        .filter_map(|e| e.downcast_ref::<io::Error>()?.raw_os_error())
        .any(|code| matches!(code, ENOMEM | ENFILE | EMFILE))
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}
