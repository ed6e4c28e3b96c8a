//! What every answer carries, errors included.
//!
//! The headers say who answered, after how many attempts and in which mode; the notice says in plain words
//! what is wrong with the system. Bodies of answers are the provider's own and are not touched here; in whose
//! words an error is told, [`dialect`](super::dialect) knows.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::Response,
};
use mainstay_actors::{call::Story, error::CallError, mode::Mode};
use serde_json::{Value, json};

use super::{
    Gateway, cache_status,
    dialect::{Caller, Dialect, Told},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-mainstay-provider");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-mainstay-attempts");
const MODE: HeaderName = HeaderName::from_static("x-mainstay-mode");
const NOTICE: HeaderName = HeaderName::from_static("x-mainstay-notice");
const LACKS: HeaderName = HeaderName::from_static("x-mainstay-lacks");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Clients of the official SDKs ignore or give up on a longer wait: beyond it they are told not to retry by
/// themselves (GW4).
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_ID: usize = 128;

/// Turns away who should not be here, and gives every answer its headers (GW3).
pub(super) async fn stamp(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers()).unwrap_or_else(|| gateway.0.system.commons().new_id());
    let caller = Caller { id: id.clone(), dialect: Dialect::of(&request) };
    let checked = check_one_host(&request).and_then(|()| check_host(&request));
    request.extensions_mut().insert(caller.clone());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.to(&caller),
    };
    let headers = response.headers_mut();
    put_ids(headers, &id);
    headers.entry(PROVIDER).or_insert(HeaderValue::from_static("none"));
    headers.entry(ATTEMPTS).or_insert(HeaderValue::from_static("0"));
    stamp_mode(&gateway, headers);
    response
}

/// Both vendors' names for the id of a request.
pub(super) fn put_ids(headers: &mut HeaderMap, id: &str) {
    put(headers, X_REQUEST_ID, id);
    put(headers, REQUEST_ID, id);
}

fn stamp_mode(gateway: &Gateway, headers: &mut HeaderMap) {
    let mode = gateway.0.system.mode();
    headers.insert(MODE, HeaderValue::from_static(mode.now().name()));
    if mode.now() != Mode::Normal
        && let Some(notice) = mode.snapshot().notice()
    {
        notify(headers, &notice);
    }
}

/// Adds a sentence to what the notice says already.
fn notify(headers: &mut HeaderMap, sentence: &str) {
    let before = headers.get(NOTICE).and_then(|notice| notice.to_str().ok());
    let notice = before.map_or(sentence.into(), |before| format!("{sentence}; {before}"));
    put(headers, NOTICE, &notice);
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value).or_else(|_| HeaderValue::from_str(&in_ascii(value))) {
        headers.insert(name, value);
    }
}

/// An operator's reason may be in any language, and a header may not.
fn in_ascii(value: &str) -> String {
    value.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// The caller's own id, if it is a sane one.
pub(super) fn request_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let sane = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_graphic());
    sane.then(|| id.into())
}

/// Whoever stands between us and a client must mean the same host as we do.
pub(super) fn check_one_host(request: &Request) -> Result<(), Refusal> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        let message = "A request needs exactly one Host header.";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_host", message));
    }
    Ok(())
}

/// Clients are not authenticated, so the gateway serves this machine only: no page of another site may spend
/// tokens through a visitor's browser, neither directly (`Origin`) nor under a borrowed name (`Host`).
pub(super) fn check_host(request: &Request) -> Result<(), Refusal> {
    let target = request.uri().authority().is_none_or(|target| is_loopback(target.as_str()));
    if target && is_local(request.headers()) { Ok(()) } else { Err(foreign_site()) }
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).is_none_or(|host| host.to_str().is_ok_and(is_loopback));
    let origin = headers.get(header::ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").is_some_and(|(_, host)| is_loopback(host))
    });
    host && origin
}

fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else { return false };
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn foreign_site() -> Refusal {
    let message = "This gateway serves its own machine only: use http://127.0.0.1 or http://localhost";
    Refusal::new(StatusCode::FORBIDDEN, "foreign_site", message)
}

/// Says whose place the answering provider took, and why, if it was not asked first.
fn in_place_of(story: &Story) -> Option<String> {
    let first = story.failed.first()?;
    let (by, instead) = (&story.provider, &first.provider);
    (by != instead).then(|| format!("provider {by} answered in place of {instead} ({})", first.kind))
}

/// Says on the response who answered, in whose place, and without what.
pub(super) fn credit(response: &mut Response, story: &Story) {
    let headers = response.headers_mut();
    put(headers, PROVIDER, &story.provider);
    headers.insert(ATTEMPTS, HeaderValue::from(story.attempts()));
    if !story.lacks.is_empty() {
        let lacks = story.lacks.join(", ");
        put(headers, LACKS, &lacks);
        notify(headers, &format!("provider {} answered without: {lacks}", story.provider));
    }
    if let Some(cache) = &story.cache {
        cache_status::tell(headers, cache);
    }
    let warning = story.cache.as_ref().and_then(cache_status::warning);
    if let Some(sentence) = warning.or_else(|| in_place_of(story)) {
        notify(headers, &sentence);
    }
}

/// A request that was refused before any provider was asked.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    pub(super) param: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Some(code), message: message.into(), param: None }
    }

    pub(super) fn to(&self, caller: &Caller) -> Response {
        let Self { status, code, ref message, param } = *self;
        json_response(status, &caller.error(Told { status, message, code, param, more: Value::Null }))
    }
}

/// A call that nobody answered: the provider's own words if exactly one was asked, otherwise every attempt
/// (PC2).
pub(super) fn failure(error: &CallError, caller: &Caller) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let own_words = error.upstream.as_ref().and_then(|upstream| upstream.body.clone());
    let mut response = match own_words {
        Some(body) => with_type(status, Body::from(body)),
        None => json_response(status, &composed(error, status, caller)),
    };
    let headers = response.headers_mut();
    headers.insert(ATTEMPTS, HeaderValue::from(error.attempts_made()));
    if let Some(last) = error.attempts.iter().rfind(|attempt| !attempt.kind.is_refusal()) {
        put(headers, PROVIDER, &last.provider);
    }
    cache_status::tell_of(headers, error);
    say_when(headers, error.retry_after);
    response
}

fn composed(error: &CallError, status: StatusCode, caller: &Caller) -> Value {
    let (message, code) = (error.to_string(), Some(error.kind.code()));
    let more = json!({ "attempts": error.attempts });
    caller.error(Told { status, message: &message, code, param: None, more })
}

fn say_when(headers: &mut HeaderMap, wait: Option<Duration>) {
    let Some(wait) = wait else { return };
    let seconds = wait.min(LONGEST_WAIT).as_millis().div_ceil(1000).max(1) as u64;
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    if wait > LONGEST_WAIT {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    with_type(status, Body::from(body.to_string()))
}

pub(super) fn with_type(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_this_machine_is_served() {
        for host in ["127.0.0.1:8080", "localhost", "[::1]:80", "LOCALHOST:1"] {
            assert!(is_local(&headers(&[(header::HOST, host)])), "{host}");
        }
        for host in ["example.com", "127.0.0.1.example.com", "x/#@evil", "localhost.evil:80", ""] {
            assert!(!is_local(&headers(&[(header::HOST, host)])), "{host}");
        }
        let page = |origin| headers(&[(header::HOST, "localhost:8080"), (header::ORIGIN, origin)]);
        assert!(is_local(&page("http://localhost:3000")));
        assert!(!is_local(&page("https://evil.example")));
        assert!(!is_local(&page("null")));
    }

    #[test]
    fn a_callers_request_id_is_kept_only_if_it_is_a_sane_one() {
        let id = |value| request_id(&headers(&[(X_REQUEST_ID, value)]));
        assert_eq!(id("abc-1").as_deref(), Some("abc-1"));
        assert_eq!(id("two words"), None);
        assert_eq!(id(""), None);
    }

    #[test]
    fn a_wait_beyond_a_minute_tells_sdks_not_to_retry_by_themselves() {
        let mut soon = HeaderMap::new();
        say_when(&mut soon, Some(Duration::from_millis(1500)));
        assert_eq!(soon[header::RETRY_AFTER], "2");
        assert!(!soon.contains_key(SHOULD_RETRY));
        let mut late = HeaderMap::new();
        say_when(&mut late, Some(Duration::from_secs(300)));
        assert_eq!(late[header::RETRY_AFTER], "60");
        assert_eq!(late[SHOULD_RETRY], "false"); // GW4
    }
}
