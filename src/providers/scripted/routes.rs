//! Who is asked for what: the APIs, the list of models, and the control of the faults.
//!
//! Errors are the vendor's: applications under test see what they would see in earnest.

use std::{future::pending, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue},
};
use mainstay_actors::call::Api;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    answer::{self, Answer, Ask, Said},
    body::{self, Body, InProgress},
    fault::Fault,
    plan::{Book, Plan, PlanRequest},
};
use crate::providers;

/// The largest request that is read, in bytes.
const MAX_REQUEST: usize = 16 << 20;

/// How long a request's body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request's own fault, in a header.
const FAULT_HEADER: &str = "x-mock-fault";

/// A request's own fault, in place of a model.
const FAULT_MODEL: &str = "fault:";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The routes with a model behind them.
const APIS: [(&str, Api); 4] = [
    ("/v1/chat/completions", Api::Chat),
    ("/v1/messages", Api::Messages),
    ("/v1/responses", Api::Responses),
    ("/v1/embeddings", Api::Embeddings),
];

/// What every request of one server needs.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) models: Vec<String>,
    pub(super) word_delay: Duration,
    pub(super) book: Arc<Book>,
}

impl Shared {
    /// What the list of models shows; whoever answers to every name goes by its own there.
    fn listed(&self) -> &[String] {
        if self.models.is_empty() { std::slice::from_ref(&self.name) } else { &self.models }
    }
}

/// An error answer; boxed, because it is rare and large.
type Refusal = Box<Response<Body>>;

/// Answers one request; an error breaks its connection.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (method, path) = (request.method().clone(), request.uri().path());
    let api = APIS.iter().find(|(route, _)| *route == path).map(|(_, api)| *api);
    match (&method, path, api) {
        (&Method::POST, _, Some(api)) => asked(&shared, api, request).await,
        (&Method::GET, "/v1/models", _) => {
            Ok(json_response(StatusCode::OK, &answer::models(shared.listed())))
        }
        (_, "/control", _) => Ok(control(&shared, request).await.unwrap_or_else(|refused| *refused)),
        (_, _, Some(api)) => Ok(not_allowed(api, "POST")),
        (_, "/v1/models", _) => Ok(not_allowed(Api::Chat, "GET")),
        _ => {
            let message = "Unknown route: try POST /v1/chat/completions or /v1/messages.";
            Ok(*refusal(Api::Chat, StatusCode::NOT_FOUND, message, None))
        }
    }
}

async fn asked(shared: &Shared, api: Api, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let number = shared.book.begin();
    let mut guard = InProgress::new(shared.book.clone());
    let id = request.headers().get(REQUEST_ID).cloned().unwrap_or_else(|| HeaderValue::from(number));
    let mut response = match understood(shared, api, request).await {
        Ok((ask, fault)) => {
            let said = Answer::new(api, &shared.name, number, &ask).said(ask.stream == Some(true));
            respond(api, said, shared.word_delay, fault.as_ref(), guard).await?
        }
        Err(refused) => {
            guard.over();
            *refused
        }
    };
    let name = if api == Api::Messages { HeaderName::from_static("request-id") } else { REQUEST_ID };
    response.headers_mut().insert(name, id);
    Ok(response)
}

/// What is asked, and what is to go wrong: the header's fault before the model's before the plan's.
async fn understood(
    shared: &Shared,
    api: Api,
    request: Request<Incoming>,
) -> Result<(Ask, Option<Fault>), Refusal> {
    let fault = |text: &str| {
        text.parse::<Fault>().map_err(|e| refusal(api, StatusCode::BAD_REQUEST, &e.to_string(), None))
    };
    let by_header = match request.headers().get(FAULT_HEADER) {
        Some(value) => Some(fault(value.to_str().unwrap_or_default())?),
        None => None,
    };
    let bytes = read(api, request).await?;
    providers::read(api, bytes.clone())
        .map_err(|wrong| refusal(api, StatusCode::BAD_REQUEST, &wrong.message, wrong.code))?;
    let ask: Ask = serde_json::from_slice(&bytes)
        .map_err(|e| refusal(api, StatusCode::BAD_REQUEST, &format!("Invalid request: {e}."), None))?;
    let by_model = ask.model.strip_prefix(FAULT_MODEL).map(fault).transpose()?;
    if by_model.is_none() && !shared.models.is_empty() && !shared.models.contains(&ask.model) {
        let message = format!("The model `{}` does not exist.", ask.model);
        return Err(refusal(api, StatusCode::NOT_FOUND, &message, Some("model_not_found")));
    }
    let fault = shared.book.draw(by_header.or(by_model));
    Ok((ask, fault))
}

async fn respond(
    api: Api,
    said: Said,
    pace: Duration,
    fault: Option<&Fault>,
    mut guard: InProgress,
) -> io::Result<Response<Body>> {
    match fault {
        Some(Fault::Hang) => pending().await,
        Some(Fault::Reset) => {
            guard.over();
            Err(body::reset())
        }
        Some(Fault::Status(code, headers)) => {
            guard.over();
            Ok(failed(api, *code, headers))
        }
        Some(Fault::Exact(code, headers, body)) => {
            guard.over();
            Ok(made(*code, headers, body.clone()))
        }
        _ => Ok(send(api, said, pace, fault, guard)),
    }
}

fn send(api: Api, said: Said, pace: Duration, fault: Option<&Fault>, guard: InProgress) -> Response<Body> {
    let (kind, body) = match said {
        Said::Events(events) => ("text/event-stream", body::streamed(api, events, pace, fault, guard)),
        Said::Whole(body) => ("application/json", body::whole(api, body, fault, guard)),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn failed(api: Api, code: u16, headers: &[(HeaderName, HeaderValue)]) -> Response<Body> {
    made(code, headers, answer::error_of(api, code).to_string())
}

fn made(code: u16, headers: &[(HeaderName, HeaderValue)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [&json].into_iter().chain(headers) {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// Shows and changes what goes wrong.
async fn control(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    match *request.method() {
        Method::GET => {}
        Method::DELETE => shared.book.set_plan(Plan::Never),
        Method::PUT => shared.book.set_plan(plan(&read(Api::Chat, request).await?)?),
        _ => return Ok(not_allowed(Api::Chat, "GET, PUT, DELETE")),
    }
    let state = json!({"name": shared.name, "plan": shared.book.plan(), "counts": shared.book.counts()});
    Ok(json_response(StatusCode::OK, &state))
}

fn plan(bytes: &[u8]) -> Result<Plan, Refusal> {
    let asked: Result<PlanRequest, _> = serde_json::from_slice(bytes);
    let plan = asked.map_err(|e| e.to_string()).and_then(Plan::try_from);
    plan.map_err(|problem| refusal(Api::Chat, StatusCode::BAD_REQUEST, &problem, None))
}

async fn read(api: Api, request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect();
    let (status, message) = match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => return Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("The request is larger than {MAX_REQUEST} bytes."))
        }
        Ok(Err(_)) => (StatusCode::BAD_REQUEST, "The request's body broke off.".into()),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "The request's body came too slowly.".into()),
    };
    Err(refusal(api, status, &message, None))
}

fn refusal(api: Api, status: StatusCode, message: &str, code: Option<&str>) -> Refusal {
    let kind = answer::error_type(api, status.as_u16());
    Box::new(json_response(status, &answer::error(api, message, kind, code)))
}

fn not_allowed(api: Api, methods: &'static str) -> Response<Body> {
    let mut response = *refusal(api, StatusCode::METHOD_NOT_ALLOWED, &format!("Use {methods} here."), None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
