//! The routes that ask a provider, each in the words of one vendor's API.
//!
//! A request is read once, checked, and handed to its chain as it came. Retries and failover are the chain's
//! work; errors are put into words by [`answer`](super::answer) and [`dialect`](super::dialect).

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
    routing::{MethodRouter, post},
};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::LengthLimitError;
use mainstay_actors::{
    call::{Api, Request},
    chain::{Chain, stream::ReplyStream},
    error::{ErrorKind, Interrupted, ProviderError},
};
use tokio_util::sync::CancellationToken;

use super::{
    Gateway,
    answer::{self, Refusal},
    caching,
    dialect::Caller,
    waiting,
};
use crate::providers::{self, anthropic};

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The route of one API.
pub(super) fn route(api: Api) -> MethodRouter<Gateway> {
    post(
        async move |State(gateway): State<Gateway>,
                    caller: Extension<Caller>,
                    headers: HeaderMap,
                    body: Body| {
            let Extension(caller) = caller;
            match understand(&gateway, api, &caller.id, &headers, body).await {
                Ok((chain, request)) => {
                    answered(&gateway, &chain, request.id(caller.id.clone()), caller).await
                }
                Err(refusal) => refusal.to(&caller),
            }
        },
    )
}

async fn understand(
    gateway: &Gateway,
    api: Api,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Arc<Chain>, Request), Refusal> {
    let body = read(body, gateway.0.limits.max_body).await?;
    let asked = providers::read(api, body).map_err(|bad| Refusal {
        status: StatusCode::BAD_REQUEST,
        code: bad.code,
        message: bad.message,
        param: bad.param,
    })?;
    let chain = gateway.0.system.chain(&asked.model);
    let chain = chain.ok_or_else(|| unknown_model(gateway, &asked.model))?;
    if let Some(retries) = waiting::retries(headers) {
        tracing::info!(request_id = %id, chain = %chain.name(), retries, "a client's SDK asks again");
    }
    let request = Request { cache: caching::wishes(headers)?, ..asked.request };
    Ok((chain, travelling(headers, waiting::within(headers, request))))
}

/// The headers that belong to the body's meaning go where the body goes, and no others.
fn travelling(headers: &HeaderMap, request: Request) -> Request {
    let names: &[&'static str] = if request.api == Api::Messages { &anthropic::TRAVELLING } else { &[] };
    let named = names.iter().flat_map(|name| headers.get_all(*name).iter().map(move |value| (*name, value)));
    let readable = named.filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
    readable.fold(request, |request, (name, value)| request.header(name, value))
}

pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
            Err(too_large(limit))
        }
        Ok(Err(_)) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, "incomplete_body", "The request body broke off."))
        }
        Err(_) => {
            let message = format!("The request body did not arrive within {} s.", BODY_TIMEOUT.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message))
        }
    }
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("The request body is larger than the {limit} bytes that this gateway accepts.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
}

pub(super) fn unknown_model(gateway: &Gateway, model: &str) -> Refusal {
    let known: Vec<_> = gateway.0.system.chains().map(|chain| chain.name().to_string()).collect();
    let shown: String = model.chars().take(64).collect();
    let message = format!("The model `{shown}` does not exist. Ask for one of: {}.", known.join(", "));
    Refusal { param: Some("model"), ..Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message) }
}

async fn answered(gateway: &Gateway, chain: &Chain, request: Request, caller: Caller) -> Response {
    match request.stream {
        true => streamed(gateway, chain, request, caller).await,
        false => whole(gateway, chain, request, &caller).await,
    }
}

async fn whole(gateway: &Gateway, chain: &Chain, request: Request, caller: &Caller) -> Response {
    let Some(answer) = gateway.0.ending.cut.run_until_cancelled(chain.call(request)).await else {
        let message = "This gateway is shutting down: send the request to another one, or again in a moment.";
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message).to(caller);
    };
    match answer {
        Ok(reply) => {
            let mut response = answer::with_type(StatusCode::OK, Body::from(reply.body));
            answer::credit(&mut response, &reply.story);
            response
        }
        Err(error) => answer::failure(&error, caller),
    }
}

/// The headers go out with the first content: until then the provider may still change.
async fn streamed(gateway: &Gateway, chain: &Chain, request: Request, caller: Caller) -> Response {
    let api = request.api;
    match chain.stream(request).await {
        Ok(reply) => {
            let story = reply.story.clone();
            let relay = Relay { reply, cut: gateway.0.ending.cut.clone(), api, caller, sent: 0 };
            let mut response = Response::new(Body::from_stream(relay.into_stream()));
            answer::credit(&mut response, &story);
            as_events(&mut response);
            response
        }
        Err(error) => answer::failure(&error, &caller),
    }
}

/// Marks a response as a stream of events that nobody on the way may hold back.
pub(super) fn as_events(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

/// A stream on its way to its caller.
struct Relay {
    reply: ReplyStream,
    cut: CancellationToken,
    api: Api,
    caller: Caller,
    sent: u64,
}

impl Relay {
    /// The provider's events as they came; a break becomes a last event that says so, and never the sign that
    /// the answer is complete (RS6).
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        stream::unfold(Some(self), |open| async move {
            let mut relay = open?;
            let next = tokio::select! {
                biased;
                next = relay.reply.next() => next?,
                () = relay.cut.cancelled() => Err(relay.shut_down()),
            };
            Some(match next {
                Ok(frame) => {
                    relay.sent += 1;
                    (Ok(frame.bytes), Some(relay))
                }
                Err(broken) => (Ok(relay.caller.interruption(relay.api, &broken, relay.sent).into()), None),
            })
        })
    }

    fn shut_down(&self) -> Interrupted {
        let error = ProviderError::new(ErrorKind::Local, "this gateway is shutting down");
        Interrupted { provider: self.reply.story.provider.clone(), delivered: self.reply.delivered(), error }
    }
}

pub(super) async fn wrong_method(caller: Extension<Caller>, method: Method, uri: Uri) -> Response {
    let message = format!("{method} is not possible on {}: see the `allow` header.", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).to(&caller)
}

pub(super) async fn unknown_route(caller: Extension<Caller>, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(128).collect();
    let message = format!(
        "There is nothing at {path}. Ask at POST /v1/chat/completions, /v1/messages, /v1/responses or \
         /v1/embeddings."
    );
    Refusal::new(StatusCode::NOT_FOUND, "unknown_url", message).to(&caller)
}
