//! One request to one server of the OpenAI dialect.
//!
//! Nothing is retried, followed or decompressed here, and no environment variable is looked at: what leaves
//! this process goes to the configured host and nowhere else. Every body is bounded while it is read.

use std::{fmt, net::IpAddr};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mainstay_actors::{
    call::{FullReply, ProviderReply, StreamReply},
    error::{ErrorKind, ProviderError},
    ports::{Provider, ProviderCall},
};
use reqwest::{
    Client, Response, Url,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    events::Events,
    request::outgoing,
    wire::{BadProvider, broken},
};
use crate::providers::{
    errors::{self, MAX_ERROR_BODY, Told},
    redact::Redactor,
};

/// The largest whole answer that is taken, in bytes.
const MAX_ANSWER: usize = 16 << 20;

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
        let url = endpoint(base_url, key.is_some())?;
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
        errors::answer(status, &headers, body, &self.secrets)
    }

    async fn whole(&self, response: Response) -> Result<FullReply, ProviderError> {
        let Told { request_id, allowances, .. } = errors::told(response.headers());
        let body = self.read(response, MAX_ANSWER).await;
        match body.and_then(|body| self.check(&body).map(|()| body)) {
            Ok(body) => Ok(FullReply { request_id, allowances, ..FullReply::new(body) }),
            Err(error) => Err(ProviderError { request_id, ..error }),
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
            Some(Answer { error: Some(_), .. }) => Err(errors::inside(body, &self.secrets)),
            Some(Answer { choices: Some(_), .. }) => Ok(()),
            _ => Err(malformed("the answer is not a JSON object with `choices`")),
        }
    }

    async fn stream(&self, response: Response) -> Result<StreamReply, ProviderError> {
        let Told { request_id, allowances, .. } = errors::told(response.headers());
        if !is_event_stream(&response) {
            let body = self.read(response, MAX_ERROR_BODY).await.unwrap_or_default();
            let error = self.check(&body).err().filter(|error| error.kind != ErrorKind::Malformed);
            let error = error.unwrap_or_else(|| malformed("a stream was asked for, and something else came"));
            return Err(ProviderError { request_id, ..error });
        }
        let frames = Events::new(response, self.secrets.clone()).into_frames();
        Ok(StreamReply { request_id, allowances, ..StreamReply::new(frames) })
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

/// Where chats are sent to; says what is wrong with a `base_url` that cannot be used.
pub(crate) fn endpoint(base_url: &str, with_key: bool) -> Result<Url, BadProvider> {
    let mut url =
        Url::parse(base_url).map_err(|e| BadProvider::new(format!("base_url is not a URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadProvider::new("base_url must begin with https:// or http://"));
    }
    // Said without quoting it: what stands there may be a key.
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(BadProvider::new(
            "base_url must hold no credentials, query or fragment; set the key apart",
        ));
    }
    if with_key && url.scheme() == "http" && !is_loopback(&url) {
        return Err(BadProvider::new(
            "base_url: an API key must not be sent over plain http to another machine; use https",
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
    let wrong = || BadProvider::new("the API key is empty or holds characters that no header can carry");
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

pub(super) fn malformed(problem: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Malformed, problem)
}
