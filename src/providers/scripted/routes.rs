//! Who is asked for what: chat, the list of models, and the control of the faults.
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
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    answer::{self, Answer, Ask},
    body::{self, Body, InProgress},
    fault::Fault,
    plan::{Book, Plan, PlanRequest},
};
use crate::providers::openai;

/// The largest request that is read, in bytes.
const MAX_REQUEST: usize = 16 << 20;

/// How long a request's body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request's own fault, in a header.
const FAULT_HEADER: &str = "x-mock-fault";

/// A request's own fault, in place of a model.
const FAULT_MODEL: &str = "fault:";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
    let method = request.method().clone();
    match (&method, request.uri().path()) {
        (&Method::POST, "/v1/chat/completions") => chat(&shared, request).await,
        (&Method::GET, "/v1/models") => Ok(json_response(StatusCode::OK, &answer::models(shared.listed()))),
        (_, "/control") => Ok(control(&shared, request).await.unwrap_or_else(|refused| *refused)),
        (_, "/v1/chat/completions") => Ok(not_allowed("POST")),
        (_, "/v1/models") => Ok(not_allowed("GET")),
        _ => Ok(*refusal(StatusCode::NOT_FOUND, "Unknown route: try POST /v1/chat/completions.", None)),
    }
}

async fn chat(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let number = shared.book.begin();
    let mut guard = InProgress::new(shared.book.clone());
    let id = request.headers().get(REQUEST_ID).cloned().unwrap_or_else(|| HeaderValue::from(number));
    let mut response = match understood(shared, request).await {
        Ok((ask, fault)) => respond(shared, number, &ask, fault.as_ref(), guard).await?,
        Err(refused) => {
            guard.over();
            *refused
        }
    };
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// What is asked, and what is to go wrong: the header's fault before the model's before the plan's.
async fn understood(shared: &Shared, request: Request<Incoming>) -> Result<(Ask, Option<Fault>), Refusal> {
    let by_header = match request.headers().get(FAULT_HEADER) {
        Some(value) => Some(fault(value.to_str().unwrap_or_default())?),
        None => None,
    };
    let bytes = read(request).await?;
    openai::read(bytes.clone())
        .map_err(|wrong| refusal(StatusCode::BAD_REQUEST, &wrong.message, wrong.code))?;
    let ask: Ask = serde_json::from_slice(&bytes)
        .map_err(|e| refusal(StatusCode::BAD_REQUEST, &format!("Invalid request: {e}."), None))?;
    let by_model = ask.model.strip_prefix(FAULT_MODEL).map(fault).transpose()?;
    if by_model.is_none() && !shared.models.is_empty() && !shared.models.contains(&ask.model) {
        let message = format!("The model `{}` does not exist.", ask.model);
        return Err(refusal(StatusCode::NOT_FOUND, &message, Some("model_not_found")));
    }
    let fault = shared.book.draw(by_header.or(by_model));
    Ok((ask, fault))
}

async fn respond(
    shared: &Shared,
    number: u64,
    ask: &Ask,
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
            Ok(failed(*code, headers))
        }
        Some(Fault::Exact(code, headers, body)) => {
            guard.over();
            Ok(made(*code, headers, body::full(body.clone())))
        }
        _ => Ok(said(shared, number, ask, fault, guard)),
    }
}

fn said(shared: &Shared, number: u64, ask: &Ask, fault: Option<&Fault>, guard: InProgress) -> Response<Body> {
    let answer = Answer::new(&shared.name, number, ask);
    let (kind, body) = if ask.stream == Some(true) {
        ("text/event-stream", body::streamed(answer.events(), shared.word_delay, fault, guard))
    } else {
        ("application/json", body::whole(answer.body(), fault, guard))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn failed(code: u16, headers: &[(HeaderName, HeaderValue)]) -> Response<Body> {
    made(code, headers, body::full(answer::error_of(code).to_string()))
}

fn made(code: u16, headers: &[(HeaderName, HeaderValue)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
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
        Method::PUT => shared.book.set_plan(plan(&read(request).await?)?),
        _ => return Ok(not_allowed("GET, PUT, DELETE")),
    }
    let state = json!({"name": shared.name, "plan": shared.book.plan(), "counts": shared.book.counts()});
    Ok(json_response(StatusCode::OK, &state))
}

fn plan(bytes: &[u8]) -> Result<Plan, Refusal> {
    let asked: Result<PlanRequest, _> = serde_json::from_slice(bytes);
    let plan = asked.map_err(|e| e.to_string()).and_then(Plan::try_from);
    plan.map_err(|problem| refusal(StatusCode::BAD_REQUEST, &problem, None))
}

fn fault(text: &str) -> Result<Fault, Refusal> {
    text.parse::<Fault>().map_err(|e| refusal(StatusCode::BAD_REQUEST, &e.to_string(), None))
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect();
    match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("The request is larger than {MAX_REQUEST} bytes.");
            Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, &message, None))
        }
        Ok(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, "The request's body broke off.", None)),
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "The request's body came too slowly.", None)),
    }
}

fn refusal(status: StatusCode, message: &str, code: Option<&str>) -> Refusal {
    Box::new(json_response(status, &answer::error(message, "invalid_request_error", code)))
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = *refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("Use {methods} here."), None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
