//! One request to one server of the OpenAI dialect.
//!
//! Nothing is retried, followed or decompressed here, and no environment variable is looked at: what leaves
//! this process goes to the configured host and nowhere else. Every body is bounded while it is read.

use std::{fmt, io, net::IpAddr, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mainstay_actors::{
    call::{Frame, FrameKind, FrameStream, FullReply, ProviderReply, StreamReply},
    error::{ErrorKind, ProviderError},
    ports::{Provider, ProviderCall},
};
use reqwest::{
    Client, Response, Url,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    chunk::Chunks,
    classify::{self, MAX_ERROR_BODY},
    redact::Redactor,
    request::outgoing,
};
use crate::providers::sse::{Rest, Splitter};

/// The largest whole answer that is taken, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Connections kept open to one host while nobody uses them.
const IDLE_CONNECTIONS: usize = 64;

/// How long they are kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A provider's settings that cannot work; says what to change.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadProvider(String);

/// A server of the OpenAI dialect.
pub struct OpenAi {
    http: Client,
    url: Url,
    headers: HeaderMap,
    secrets: Redactor,
}

impl OpenAi {
    /// A server at `base_url` (with its `/v1`), asked with `key`.
    ///
    /// A key is never sent unencrypted to another machine: with one, `http` goes to loopback addresses only.
    pub fn new(http: Client, base_url: &str, key: Option<SecretString>) -> Result<Self, BadProvider> {
        let url = endpoint(base_url)?;
        if key.is_some() && url.scheme() == "http" && !is_loopback(&url) {
            return Err(BadProvider(
                "base_url: an API key must not be sent over plain http to another machine; use https".into(),
            ));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(key) = &key {
            headers.insert(AUTHORIZATION, bearer(key)?);
        }
        Ok(Self { http, url, headers, secrets: Redactor::new(key) })
    }

    async fn ask(&self, call: ProviderCall<'_>) -> Result<ProviderReply, ProviderError> {
        let body = outgoing(call.request, call.model)
            .map_err(|wrong| ProviderError::new(ErrorKind::BadRequest, wrong.message))?;
        let mut headers = self.headers.clone();
        if let Ok(id) = HeaderValue::from_str(call.id) {
            headers.insert("x-request-id", id);
        }
        let sent = self.http.post(self.url.clone()).headers(headers).body(body).send().await;
        let response = sent.map_err(|e| self.broken(e))?;
        match (response.status().is_success(), call.request.stream) {
            (false, _) => Err(self.refused(response).await),
            (true, false) => self.whole(response).await.map(ProviderReply::Full),
            (true, true) => self.stream(response).await.map(ProviderReply::Stream),
        }
    }

    async fn refused(&self, response: Response) -> ProviderError {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = self.read(response, MAX_ERROR_BODY).await.unwrap_or_default();
        classify::answer(status, &headers, body, &self.secrets)
    }

    async fn whole(&self, response: Response) -> Result<FullReply, ProviderError> {
        let request_id = classify::request_id(response.headers());
        let body = self.read(response, MAX_ANSWER).await;
        match body.and_then(|body| self.check(&body).map(|()| body)) {
            Ok(body) => Ok(FullReply { body, request_id }),
            Err(error) => Err(ProviderError { status: Some(200), request_id, ..error }),
        }
    }

    /// Is it an answer, or an error in an answer's clothes?
    fn check(&self, body: &[u8]) -> Result<(), ProviderError> {
        #[derive(Deserialize)]
        struct Answer {
            choices: Option<Vec<IgnoredAny>>,
            error: Option<IgnoredAny>,
        }
        let answer =
            serde_json::from_slice(body).ok().filter(|_| body.trim_ascii_start().first() == Some(&b'{'));
        match answer {
            Some(Answer { error: Some(_), .. }) => Err(classify::inside(body, &self.secrets)),
            Some(Answer { choices: Some(_), .. }) => Ok(()),
            _ => Err(malformed("the answer is not a JSON object with `choices`")),
        }
    }

    async fn stream(&self, response: Response) -> Result<StreamReply, ProviderError> {
        let request_id = classify::request_id(response.headers());
        if !is_event_stream(&response) {
            let body = self.read(response, MAX_ERROR_BODY).await.unwrap_or_default();
            let error = self.check(&body).err().filter(|error| error.kind != ErrorKind::Malformed);
            let error = error.unwrap_or_else(|| malformed("a stream was asked for, and something else came"));
            return Err(ProviderError { status: Some(200), request_id, ..error });
        }
        let secrets = self.secrets.clone();
        Ok(StreamReply { frames: Events::new(response, secrets).into_frames(), request_id })
    }

    async fn read(&self, response: Response, limit: usize) -> Result<Bytes, ProviderError> {
        let body = Limited::new(reqwest::Body::from(response), limit).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| match error.downcast::<reqwest::Error>() {
            Ok(error) => self.broken(*error),
            Err(error) if error.is::<LengthLimitError>() => {
                malformed(&format!("the answer is larger than {limit} bytes"))
            }
            Err(error) => ProviderError::new(ErrorKind::Reset, self.secrets.line(&error.to_string())),
        })
    }

    fn broken(&self, error: reqwest::Error) -> ProviderError {
        broken(error, &self.secrets)
    }
}

impl Provider for OpenAi {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        Box::pin(self.ask(call))
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// An HTTP client that does what it is told and nothing else: no redirects, proxies, cookies, retries or
/// decompression. One client serves any number of providers.
///
/// `connect` limits how long a connection may take to come up, TLS included. Certificates are checked against
/// the system's roots, read once, here.
pub fn http_client(connect: Duration) -> Result<Client, BadProvider> {
    Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .user_agent(concat!("mainstay/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| BadProvider(format!("the HTTP client cannot be built: {e}")))
}

pub(super) fn tls() -> Result<ClientConfig, BadProvider> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 {
        tracing::warn!("no root certificates found: every https provider will fail; install ca-certificates");
    }
    // Named, not the process's default: a host application may have installed another.
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|e| BadProvider(format!("TLS cannot be set up: {e}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn endpoint(base_url: &str) -> Result<Url, BadProvider> {
    let mut url = Url::parse(base_url).map_err(|e| BadProvider(format!("base_url is not a URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadProvider("base_url must begin with https:// or http://".into()));
    }
    // Said without quoting it: what stands there may be a key.
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(BadProvider(
            "base_url must hold no credentials, query or fragment; set the key apart".into(),
        ));
    }
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bearer(key: &SecretString) -> Result<HeaderValue, BadProvider> {
    let wrong = || BadProvider("the API key is empty or holds characters that no header can carry".into());
    let key = key.expose_secret();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(wrong());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().get(..17).is_some_and(|start| start.eq_ignore_ascii_case("text/event-stream"))
}

fn malformed(problem: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Malformed, problem)
}

/// The events of one answer.
struct Events {
    response: Response,
    splitter: Splitter,
    chunks: Chunks,
    secrets: Redactor,
}

impl Events {
    fn new(response: Response, secrets: Redactor) -> Box<Self> {
        let chunks = Chunks::new(secrets.clone());
        Box::new(Self { response, splitter: Splitter::default(), chunks, secrets })
    }

    /// The stream is over after its end, and after an error.
    fn into_frames(self: Box<Self>) -> FrameStream {
        Box::pin(stream::try_unfold(Some(self), async |events| {
            let Some(mut events) = events else { return Ok(None) };
            let Some(frame) = events.next().await? else { return Ok(None) };
            let rest = (frame.kind != FrameKind::End).then_some(events);
            Ok(Some((frame, rest)))
        }))
    }

    async fn next(&mut self) -> Result<Option<Frame>, ProviderError> {
        loop {
            if let Some(event) = self.splitter.next_event().map_err(|e| malformed(&e.to_string()))? {
                return self.frame(event).map(Some);
            }
            match self.response.chunk().await.map_err(|e| broken(e, &self.secrets))? {
                Some(chunk) => self.splitter.push(chunk),
                None => return self.last(),
            }
        }
    }

    fn frame(&mut self, bytes: Bytes) -> Result<Frame, ProviderError> {
        let kind = self.chunks.kind_of(&bytes)?;
        Ok(Frame { bytes, kind })
    }

    fn last(&mut self) -> Result<Option<Frame>, ProviderError> {
        match std::mem::take(&mut self.splitter).finish() {
            Rest::Nothing => Ok(None),
            Rest::Event(event) => self.frame(event).map(Some),
            Rest::Cut(length) => Err(ProviderError::new(
                ErrorKind::Truncated,
                format!("the stream ended {length} bytes into an event"),
            )),
        }
    }
}

/// Why the wire failed, and whose fault that is.
fn broken(error: reqwest::Error, secrets: &Redactor) -> ProviderError {
    let kind = match () {
        () if is_local(&error) => ErrorKind::Local,
        () if error.is_connect() && error.is_timeout() => ErrorKind::ConnectTimeout,
        () if error.is_connect() => ErrorKind::Connect,
        () if causes(&error).filter_map(|e| e.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse) => {
            ErrorKind::Malformed
        }
        () => ErrorKind::Reset,
    };
    // An address may hold a key.
    let error = error.without_url();
    let story: Vec<_> = causes(&error).map(ToString::to_string).collect();
    ProviderError::new(kind, secrets.line(&story.join(": ")))
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
