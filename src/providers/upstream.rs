//! One request to one server, whatever its dialect.
//!
//! Nothing is retried, followed or decompressed here, and no environment variable is looked at: what leaves
//! this process goes to the configured host and nowhere else. Every body is bounded while it is read.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use mainstay_actors::{
    call::{FullReply, ProviderReply, StreamReply},
    error::{ErrorKind, ProviderError},
    ports::ProviderCall,
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    body::outgoing,
    client::HttpClient,
    dialect::{Dialect, Whole, malformed},
    errors::{self, MAX_ERROR_BODY, Told},
    events::Events,
    redact::Redactor,
    wire::{BadProvider, broken},
};

/// The largest whole answer that is taken, in bytes.
const MAX_ANSWER: usize = 16 << 20;

type Response = http::Response<Incoming>;

/// A server, and what every request to it carries.
pub(super) struct Upstream {
    http: HttpClient,
    headers: HeaderMap,
    secrets: Redactor,
}

impl Upstream {
    pub(super) fn new(http: HttpClient) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self { http, headers, secrets: Redactor::default() }
    }

    /// Sends `key` along, in this header, behind `prefix`.
    pub(super) fn key(self, name: HeaderName, prefix: &str, key: SecretString) -> Result<Self, BadProvider> {
        let Self { http, mut headers, .. } = self;
        headers.insert(name, secret(prefix, &key)?);
        Ok(Self { http, headers, secrets: Redactor::new(Some(key)) })
    }

    /// Sends the call's request to `url` with `more` headers, and judges what comes back.
    pub(super) async fn ask<D: Dialect>(
        &self,
        url: &Uri,
        mut more: HeaderMap,
        call: ProviderCall<'_>,
    ) -> Result<ProviderReply, ProviderError> {
        let body = outgoing(call.request, call.model)
            .map_err(|wrong| ProviderError::new(ErrorKind::BadRequest, wrong))?;
        if let Ok(id) = HeaderValue::from_str(call.id) {
            more.insert("x-request-id", id);
        }
        let response = self.send(Method::POST, url, more, body).await?;
        match (response.status().is_success(), call.request.stream) {
            (false, _) => Err(self.refused(response).await),
            (true, false) => self.whole::<D>(response).await.map(ProviderReply::Full),
            (true, true) => self.stream::<D>(response).await.map(ProviderReply::Stream),
        }
    }

    /// Asks `url` for nothing but an answer. That proves that the server can be reached and is awake, and nothing
    /// of any model behind it.
    pub(super) async fn probe(&self, url: &Uri, more: HeaderMap) -> Result<(), ProviderError> {
        let response = self.send(Method::GET, url, more, Bytes::new()).await?;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(self.refused(response).await),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        more: HeaderMap,
        body: Bytes,
    ) -> Result<Response, ProviderError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().extend(more);
        self.http.send(request).await.map_err(|e| broken(&e, &self.secrets))
    }

    async fn refused(&self, response: Response) -> ProviderError {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = self.read(response, MAX_ERROR_BODY).await.unwrap_or_default();
        errors::answer(status, &headers, body, &self.secrets)
    }

    async fn whole<D: Dialect>(&self, response: Response) -> Result<FullReply, ProviderError> {
        let Told { request_id, allowances, .. } = errors::told(response.headers());
        let body = self.read(response, MAX_ANSWER).await;
        match body.and_then(|body| D::whole(&body, &self.secrets).map(|whole| (body, whole))) {
            Ok((body, Whole { usage, finish })) => {
                Ok(FullReply { request_id, usage, allowances, finish, ..FullReply::new(body) })
            }
            Err(error) => Err(ProviderError { request_id, ..error }),
        }
    }

    async fn stream<D: Dialect>(&self, response: Response) -> Result<StreamReply, ProviderError> {
        let Told { request_id, allowances, .. } = errors::told(response.headers());
        if !is_event_stream(&response) {
            let body = self.read(response, MAX_ERROR_BODY).await.unwrap_or_default();
            let error = D::whole(&body, &self.secrets).err();
            let error = error.filter(|error| error.kind != ErrorKind::Malformed);
            let error = error.unwrap_or_else(|| malformed("a stream was asked for, and something else came"));
            return Err(ProviderError { request_id, ..error });
        }
        let events = Events::<D>::new(response.into_body(), self.secrets.clone());
        Ok(StreamReply { request_id, allowances, ..StreamReply::new(events.into_frames()) })
    }

    async fn read(&self, response: Response, limit: usize) -> Result<Bytes, ProviderError> {
        let body = Limited::new(response.into_body(), limit).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| {
            if error.is::<LengthLimitError>() {
                malformed(format!("the answer is larger than {limit} bytes"))
            } else {
                broken(&*error, &self.secrets)
            }
        })
    }
}

fn secret(prefix: &str, key: &SecretString) -> Result<HeaderValue, BadProvider> {
    let wrong = || BadProvider::new("the API key is empty or holds characters that no header can carry");
    let key = key.expose_secret();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(wrong());
    }
    let mut value = HeaderValue::from_str(&format!("{prefix}{key}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().get(..17).is_some_and(|start| start.eq_ignore_ascii_case("text/event-stream"))
}
