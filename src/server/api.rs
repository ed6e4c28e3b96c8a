//! The OpenAI dialect's routes: chat completions and the list of models, which are the chains.
//!
//! A request is read once, checked, and handed to its chain as it came. Retries and failover are the chain's
//! work; errors are put into words by [`answer`](super::answer).

use std::{convert::Infallible, error::Error, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::LengthLimitError;
use mainstay_actors::{
    call::Api,
    chain::{Chain, stream::ReplyStream},
    error::{ErrorKind, Interrupted, ProviderError},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Gateway,
    answer::{self, Refusal, RequestId},
};
use crate::providers;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn chat(
    State(gateway): State<Gateway>,
    Extension(id): Extension<RequestId>,
    body: Body,
) -> Response {
    match understand(&gateway, id, body).await {
        Ok((chain, request)) if request.stream => streamed(&gateway, &chain, request).await,
        Ok((chain, request)) => whole(&gateway, &chain, request).await,
        Err(refusal) => refusal.into_response(),
    }
}

type Understood = (std::sync::Arc<Chain>, mainstay_actors::call::Request);

async fn understand(gateway: &Gateway, id: RequestId, body: Body) -> Result<Understood, Refusal> {
    let body = read(body, gateway.0.limits.max_body).await?;
    let chat = providers::read(Api::Chat, body).map_err(|bad| Refusal {
        status: StatusCode::BAD_REQUEST,
        code: bad.code,
        message: bad.message,
        param: bad.param,
    })?;
    let chain = gateway.0.system.chain(&chat.model).cloned();
    let chain = chain.ok_or_else(|| unknown_model(gateway, &chat.model))?;
    Ok((chain, chat.request.id(id.0)))
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
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

fn unknown_model(gateway: &Gateway, model: &str) -> Refusal {
    let known: Vec<_> = gateway.0.system.chains().map(|chain| chain.name().to_string()).collect();
    let shown: String = model.chars().take(64).collect();
    let message = format!("The model `{shown}` does not exist. Ask for one of: {}.", known.join(", "));
    Refusal { param: Some("model"), ..Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message) }
}

async fn whole(gateway: &Gateway, chain: &Chain, request: mainstay_actors::call::Request) -> Response {
    let Some(answer) = gateway.0.cut.run_until_cancelled(chain.call(request)).await else {
        let message = "This gateway is shutting down: send the request to another one, or again in a moment.";
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message).into_response();
    };
    match answer {
        Ok(reply) => {
            let mut response = answer::with_type(StatusCode::OK, Body::from(reply.body));
            answer::credit(&mut response, &reply.story);
            response
        }
        Err(error) => answer::failure(&error),
    }
}

/// The headers go out with the first content: until then the provider may still change.
async fn streamed(gateway: &Gateway, chain: &Chain, request: mainstay_actors::call::Request) -> Response {
    match chain.stream(request).await {
        Ok(reply) => {
            let story = reply.story.clone();
            let mut response = Response::new(Body::from_stream(relay(reply, gateway.0.cut.clone())));
            answer::credit(&mut response, &story);
            as_events(&mut response);
            response
        }
        Err(error) => answer::failure(&error),
    }
}

/// Marks a response as a stream of events that nobody on the way may hold back.
pub(super) fn as_events(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

/// The provider's events as they came; a break becomes a last event that says so, never `[DONE]` (RS6).
fn relay(
    reply: ReplyStream,
    cut: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    stream::unfold(Some((reply, cut)), |open| async move {
        let (mut reply, cut) = open?;
        let next = tokio::select! {
            biased;
            next = reply.next() => next?,
            () = cut.cancelled() => Err(shut_down(&reply)),
        };
        Some(match next {
            Ok(frame) => (Ok(frame.bytes), Some((reply, cut))),
            Err(broken) => (Ok(answer::interruption(&broken).into()), None),
        })
    })
}

fn shut_down(reply: &ReplyStream) -> Interrupted {
    let error = ProviderError::new(ErrorKind::Local, "this gateway is shutting down");
    Interrupted { provider: reply.story.provider.clone(), delivered: reply.delivered(), error }
}

pub(super) async fn models(State(gateway): State<Gateway>) -> Response {
    let data: Vec<_> = gateway.0.system.chains().map(|chain| described(&gateway, chain)).collect();
    answer::json_response(StatusCode::OK, &json!({ "object": "list", "data": data }))
}

pub(super) async fn model(
    State(gateway): State<Gateway>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    // What is not even text is no chain's name either.
    let id = id.map_or_else(|_| "?".into(), |Path(id)| id);
    match gateway.0.system.chain(&id) {
        Some(chain) => answer::json_response(StatusCode::OK, &described(&gateway, chain)),
        None => unknown_model(&gateway, &id).into_response(),
    }
}

fn described(gateway: &Gateway, chain: &Chain) -> Value {
    json!({ "id": chain.name(), "object": "model", "created": gateway.0.started_unix, "owned_by": "mainstay" })
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{method} is not possible on {}: see the `allow` header.", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

pub(super) async fn unknown_route(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(128).collect();
    let message = format!("There is nothing at {path}. Chat is at POST /v1/chat/completions.");
    Refusal::new(StatusCode::NOT_FOUND, "unknown_url", message)
}
