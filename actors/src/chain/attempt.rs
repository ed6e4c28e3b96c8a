//! One question to one provider, within its timeouts, with its panics contained.
//!
//! It holds the permit all the while; whatever happens, also being dropped, the permit tells the provider's
//! actor. Whether there is another attempt is not decided here.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::FutureExt;

use super::{Target, stream::AnswerStream};
use crate::{
    call::{Api, Finish, FullReply, ProviderReply, Request},
    commons::Commons,
    error::{ErrorKind, ProviderError},
    ports::ProviderCall,
    provider::{permit::Permit, policy::Timeouts},
    shell::panic_text,
};

/// What an attempt ends with.
pub(super) enum Answer {
    Full(FullReply),
    Stream(Box<AnswerStream>),
}

impl Answer {
    /// Does it say, without anything else, that a content policy refused to answer?
    pub(super) fn is_refused(&self) -> bool {
        match self {
            Self::Full(full) => full.finish == Some(Finish::Refused),
            Self::Stream(frames) => frames.is_refused(),
        }
    }

    pub(super) fn request_id(&self) -> Option<String> {
        match self {
            Self::Full(full) => full.request_id.clone(),
            Self::Stream(frames) => frames.request_id.clone(),
        }
    }
}

/// When an attempt is too late, by phase.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    first: (Instant, ErrorKind),
    pub(super) idle: Duration,
    /// The end of the whole attempt, and what it is when it comes.
    pub(super) end: (Instant, ErrorKind),
}

impl Limits {
    pub(super) fn new(timeouts: Option<Timeouts>, started: Instant, caller: Deadlines) -> Self {
        let timeouts = timeouts.unwrap_or(Timeouts::ENDLESS);
        let total = (started + timeouts.total, ErrorKind::TotalTimeout);
        let first = (started + timeouts.first_token, ErrorKind::FirstTokenTimeout);
        Self { first: sooner(first, caller.first), idle: timeouts.idle, end: sooner(total, caller.end) }
    }

    /// Until when content must have come, and what it is when it has not.
    pub(super) fn first(&self) -> (Instant, ErrorKind) {
        if self.first.0 < self.end.0 { self.first } else { self.end }
    }
}

fn sooner(own: (Instant, ErrorKind), deadline: Option<Instant>) -> (Instant, ErrorKind) {
    match deadline {
        Some(deadline) if deadline < own.0 => (deadline, ErrorKind::DeadlineExceeded),
        _ => own,
    }
}

/// Until when the caller waits.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    /// For an answer to begin.
    pub(super) first: Option<Instant>,
    /// For its end.
    pub(super) end: Option<Instant>,
}

impl Deadlines {
    pub(super) fn of(request: &Request, now: Instant) -> Self {
        let sooner = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
        let first = sooner(request.patience, request.timeout);
        let end = if request.stream { request.timeout } else { first };
        Self { first: first.map(|wait| now + wait), end: end.map(|wait| now + wait) }
    }
}

/// Asks, and waits for a whole answer or for the first content of a stream.
pub(super) async fn run(
    mut permit: Permit,
    target: &Target,
    request: &Request,
    id: &str,
    limits: Limits,
    commons: &Commons,
) -> Result<Answer, ProviderError> {
    let Target { adapter, model, .. } = target;
    let call = ProviderCall { request, model, id, deadline: limits.end.0 };
    let asked = AssertUnwindSafe(async { adapter.call(call).await }).catch_unwind();
    let (until, too_late) = if request.stream { limits.first() } else { limits.end };
    let reply = match in_time(asked, &mut permit, request.stream, until).await {
        Some(Ok(reply)) => reply,
        Some(Err(panic)) => Err(panicked(&*panic)),
        None => Err(late(too_late)),
    };
    match reply {
        Ok(ProviderReply::Full(mut full)) if !request.stream => {
            permit.used(full.usage);
            permit.allowed(full.allowances.take());
            permit.answered();
            Ok(Answer::Full(full))
        }
        Ok(ProviderReply::Stream(reply)) if request.stream => {
            let opened = AnswerStream::open(reply, permit, limits, commons.clone()).await?;
            Ok(Answer::Stream(Box::new(opened)))
        }
        Ok(_) => {
            Err(end(permit, ProviderError::new(ErrorKind::Malformed, "a stream was mistaken for an answer")))
        }
        Err(error) => Err(end(permit, unless_api_is_missing(request.api, error))),
    }
}

/// A server without these routes may well have the model: nobody who chats with it should miss it for that.
fn unless_api_is_missing(api: Api, error: ProviderError) -> ProviderError {
    match (api, error.kind) {
        (Api::Responses | Api::Embeddings, ErrorKind::NotFound) => {
            ProviderError { kind: ErrorKind::Unsupported, ..error }
        }
        _ => error,
    }
}

/// Waits until then, and tells on the way that the provider is slow, if it is.
async fn in_time<T>(
    asked: impl Future<Output = T>,
    permit: &mut Permit,
    streams: bool,
    until: Instant,
) -> Option<T> {
    let mut asked = pin!(asked);
    if let Some(slow_at) = permit.slow_at(streams).filter(|slow_at| *slow_at < until) {
        if let Ok(answer) = tokio::time::timeout_at(slow_at.into(), &mut asked).await {
            return Some(answer);
        }
        permit.tell_slow();
    }
    tokio::time::timeout_at(until.into(), asked).await.ok()
}

pub(super) fn end(mut permit: Permit, mut error: ProviderError) -> ProviderError {
    permit.allowed(error.allowances.take());
    match error.is_unsent() {
        true => permit.unused(error.kind),
        false => permit.failed(error.kind, error.retry_after),
    }
    error
}

pub(super) fn late(kind: ErrorKind) -> ProviderError {
    ProviderError::new(kind, "nothing came in time")
}

pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> ProviderError {
    tracing::error!(panic = %panic_text(panic), "a provider's code panicked");
    // The text of a panic may hold anything; it stays in our log.
    ProviderError::new(ErrorKind::Panicked, "the provider's code panicked")
}
