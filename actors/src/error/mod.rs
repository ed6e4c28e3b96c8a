//! Every way a call can fail, and what each way means for the policies.
//!
//! One table ([`ErrorKind::class`]) decides whether a failure counts against the circuit breaker, takes the
//! provider out at once, may be retried there, or may move on to the next one. Around it: what an adapter
//! reports of one attempt, and what a caller hears of a whole call. How a vendor's answer becomes a kind is not
//! here: that is the adapter's knowledge.

mod kind;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use crate::{cache::CacheStory, call::Allowances};
pub use kind::{Class, ErrorKind, FallOver, Isolate, Scope, Verdict};

/// A failed attempt, as the provider's adapter reports it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct ProviderError {
    /// What the policies go by.
    pub kind: ErrorKind,
    /// One line for people, free of keys and prompts.
    pub message: String,
    /// The upstream's HTTP status, if it answered.
    pub status: Option<u16>,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
    /// What the provider itself says about retrying: it knows better than the table.
    pub should_retry: Option<bool>,
    /// The provider's own id of the request, for its support.
    pub request_id: Option<String>,
    /// The error's body in the caller's words, to be forwarded as it is.
    pub body: Option<Bytes>,
    /// Our limits there, if the provider says so.
    pub allowances: Option<Box<Allowances>>,
}

impl ProviderError {
    /// An error without an HTTP answer.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            retry_after: None,
            should_retry: None,
            request_id: None,
            body: None,
            allowances: None,
        }
    }

    /// Was nothing sent, because its adapter knows that this cannot be asked there?
    pub(crate) fn is_unsent(&self) -> bool {
        self.kind == ErrorKind::Unsupported && self.status.is_none()
    }

    /// What it means for the policies: the table's row, but for what the provider says about retrying.
    pub fn class(&self) -> Class {
        let class = self.kind.class();
        Class { retry: self.should_retry.unwrap_or(class.retry), ..class }
    }
}

/// One line of a call's story: which provider was tried, or refused, and how it ended.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptReport {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The model asked for.
    pub model: Arc<str>,
    /// How it ended.
    pub kind: ErrorKind,
    /// One line for people.
    pub message: String,
    /// The upstream's HTTP status, if it answered.
    pub status: Option<u16>,
    /// Milliseconds from the start of the attempt to its end; 0 for a refusal.
    pub latency_ms: u64,
    /// How long until this provider may be worth asking again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// The provider's own id of the request.
    pub upstream_request_id: Option<String>,
    /// Was the provider really asked? Not who refused, and not who cannot do it.
    #[serde(skip)]
    pub asked: bool,
}

impl AttemptReport {
    /// Has the same target refused in the same way before?
    pub(crate) fn is_same_refusal(&self, other: &Self) -> bool {
        let target = |report: &Self| (report.provider.clone(), report.model.clone(), report.kind);
        self.kind.is_refusal() && target(self) == target(other)
    }
}

impl fmt::Display for AttemptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}: {} ({}", self.provider, self.model, self.kind, self.message)?;
        if let Some(status) = self.status {
            write!(f, ", HTTP {status}")?;
        }
        if !self.kind.is_refusal() {
            write!(f, ", {} ms", self.latency_ms)?;
        }
        match &self.upstream_request_id {
            Some(id) => write!(f, ", upstream request {id})"),
            None => f.write_str(")"),
        }
    }
}

/// A call that nobody answered; every attempt and refusal in order (PC2).
#[derive(Clone, Debug)]
pub struct CallError {
    /// The kind that ended the call.
    pub kind: ErrorKind,
    /// What was tried, in order.
    pub attempts: Vec<AttemptReport>,
    /// How long until a new call has a chance, where that is known.
    pub retry_after: Option<Duration>,
    /// The provider's own answer, when exactly one was asked and it answered with an error, or when its answer
    /// is a verdict on the request.
    pub upstream: Option<Box<ProviderError>>,
    /// What the cache had to do with it, if it is a verdict that was kept.
    pub cache: Option<Box<CacheStory>>,
}

impl CallError {
    /// A call that ended before anybody was asked.
    pub(crate) fn unasked(kind: ErrorKind) -> Self {
        Self { kind, attempts: Vec::new(), retry_after: None, upstream: None, cache: None }
    }

    /// How many times a provider was really asked; for a verdict that was kept, nobody was.
    pub fn attempts_made(&self) -> usize {
        if self.cache.as_ref().is_some_and(|story| story.is_kept()) {
            return 0;
        }
        self.attempts.iter().filter(|a| a.asked).count()
    }

    /// The status this call ends with: the common one when every asked provider gave the same, otherwise
    /// what the deciding kind stands for.
    pub fn status(&self) -> u16 {
        if let Some(status) = self.upstream.as_ref().and_then(|upstream| upstream.status) {
            return status;
        }
        let mut asked = self.attempts.iter().filter(|a| a.asked).map(|a| a.status);
        match asked.next() {
            Some(Some(first)) if asked.all(|status| status == Some(first)) => first,
            _ => self.kind.class().status,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return write!(f, "{}: {}", self.kind, self.kind.class().advice);
        }
        f.write_str("no provider answered: ")?;
        for (i, attempt) in self.attempts.iter().enumerate() {
            write!(f, "{}{}. {attempt}", if i == 0 { "" } else { "; " }, i + 1)?;
        }
        write!(f, ". Next: {}", self.kind.class().advice)
    }
}

impl std::error::Error for CallError {}

/// A stream that broke after content had reached the caller (RS6).
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer of `{provider}` broke off after {delivered} content frames: {error}")]
pub struct Interrupted {
    /// Who was answering.
    pub provider: Arc<str>,
    /// How many content frames the caller had received.
    pub delivered: u64,
    /// Why it ended.
    pub error: ProviderError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_provider_says_about_retrying_goes_before_the_table() {
        let error = |kind, should_retry| ProviderError { should_retry, ..ProviderError::new(kind, "m") };
        for kind in ErrorKind::ALL {
            assert_eq!(error(kind, None).class(), kind.class());
            for said in [true, false] {
                let class = error(kind, Some(said)).class();
                assert_eq!(class, Class { retry: said, ..kind.class() }, "{kind}"); // PC13
            }
        }
    }
}
