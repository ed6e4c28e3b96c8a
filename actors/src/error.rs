//! Every way a call can fail, and what each way means for the policies.
//!
//! One table ([`ErrorKind::class`]) decides whether a failure counts against the circuit breaker, may be
//! retried on the same provider, or may move on to the next one. Policies ask the table and never look at
//! statuses or texts. How a vendor's answer becomes a kind is not here: that is the adapter's knowledge.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::call::Allowances;

/// What went wrong, as far as the policies care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The provider asks for a slower pace (429).
    RateLimited,
    /// The account's quota, credit or spend limit is used up: waiting does not help.
    QuotaExhausted,
    /// The provider says that it is overloaded (503, 529).
    Overloaded,
    /// The provider failed inside (500, 502, 504, or an error event of that type).
    ServerError,
    /// The provider refused our key (401).
    Auth,
    /// Our key may not do this, or not from here (402, 403).
    PermissionDenied,
    /// The provider does not know the model or the route (404).
    NotFound,
    /// The request itself is wrong (400, 413, 422): another provider would refuse it too.
    BadRequest,
    /// The prompt does not fit into the model's context.
    ContextTooLong,
    /// The provider's content policy refused the prompt.
    ContentFiltered,
    /// The provider cannot do what was asked for (no such API, no translation of a part that must not be lost).
    Unsupported,
    /// The provider asks to try again at once (408, 409).
    Conflict,
    /// No connection: refused, unreachable, TLS failed.
    Connect,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// Connected, but no content within the first-token timeout (streams).
    FirstTokenTimeout,
    /// The stream fell silent for longer than the idle timeout; keep-alives do not count as progress.
    IdleTimeout,
    /// The attempt took longer than its total timeout.
    TotalTimeout,
    /// The connection broke while the answer was on its way.
    Reset,
    /// The answer is not what the dialect promises (bad JSON, wrong shape, too large).
    Malformed,
    /// The stream ended without saying that it was complete.
    Truncated,
    /// The provider's code panicked.
    Panicked,
    /// Refused here: the provider's circuit is open.
    CircuitOpen,
    /// Refused here: the provider is taken out, by an operator or because only an operator can help.
    Isolated,
    /// Refused here: the provider already serves as many calls as it may.
    Busy,
    /// Refused here: one more would go beyond the provider's rate limit.
    Throttled,
    /// A fault of this machine (no file descriptors, no memory), never the provider's.
    Local,
    /// The caller's own deadline passed.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
}

/// What an ended attempt says about its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider is alive, even if it refused this request.
    Healthy,
    /// Counts against the circuit breaker.
    Failing,
    /// Says nothing about the provider.
    Neutral,
}

/// The table's row of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// What the circuit breaker learns from it.
    pub verdict: Verdict,
    /// May the same provider be asked again, after a backoff?
    pub retry: bool,
    /// May the next provider of the chain be asked?
    pub fall_over: bool,
    /// HTTP status when this kind ends a call.
    pub status: u16,
    /// Stable code, for programs.
    pub code: &'static str,
    /// What the caller should do next, for people.
    pub advice: &'static str,
}

impl ErrorKind {
    /// Every kind, in table order.
    pub const ALL: [Self; 28] = [
        Self::RateLimited,
        Self::QuotaExhausted,
        Self::Overloaded,
        Self::ServerError,
        Self::Auth,
        Self::PermissionDenied,
        Self::NotFound,
        Self::BadRequest,
        Self::ContextTooLong,
        Self::ContentFiltered,
        Self::Unsupported,
        Self::Conflict,
        Self::Connect,
        Self::ConnectTimeout,
        Self::FirstTokenTimeout,
        Self::IdleTimeout,
        Self::TotalTimeout,
        Self::Reset,
        Self::Malformed,
        Self::Truncated,
        Self::Panicked,
        Self::CircuitOpen,
        Self::Isolated,
        Self::Busy,
        Self::Throttled,
        Self::Local,
        Self::DeadlineExceeded,
        Self::Cancelled,
    ];

    /// The one table: what each kind means.
    pub const fn class(self) -> Class {
        use Verdict::{Failing, Healthy, Neutral};
        const fn row(
            verdict: Verdict,
            retry: bool,
            fall_over: bool,
            status: u16,
            code: &'static str,
            advice: &'static str,
        ) -> Class {
            Class { verdict, retry, fall_over, status, code, advice }
        }
        const LATER: &str = "try again later";
        const FIX: &str = "change the request; sending it again will not help";
        match self {
            Self::RateLimited => {
                row(Neutral, true, true, 429, "rate_limited", "slow down and try again later")
            }
            Self::QuotaExhausted => {
                row(Failing, false, true, 429, "quota_exhausted", "raise the provider account's quota")
            }
            Self::Overloaded => row(Failing, true, true, 503, "overloaded", LATER),
            Self::ServerError => row(Failing, true, true, 502, "server_error", LATER),
            Self::Auth => row(Failing, false, true, 401, "auth", "check the provider's API key"),
            Self::PermissionDenied => row(
                Failing,
                false,
                true,
                403,
                "permission_denied",
                "check what the provider's API key may do",
            ),
            Self::NotFound => row(Healthy, false, true, 404, "not_found", "check the model's name"),
            Self::BadRequest => row(Healthy, false, false, 400, "bad_request", FIX),
            Self::ContextTooLong => row(Healthy, false, false, 400, "context_too_long", "shorten the prompt"),
            Self::ContentFiltered => row(Healthy, false, false, 400, "content_filtered", FIX),
            Self::Unsupported => {
                row(Healthy, false, true, 400, "unsupported", "ask a chain whose providers can do this")
            }
            Self::Conflict => row(Neutral, true, true, 409, "conflict", "send the request again"),
            Self::Connect => row(Failing, true, true, 502, "connect", LATER),
            Self::ConnectTimeout => row(Failing, true, true, 504, "connect_timeout", LATER),
            Self::FirstTokenTimeout => row(Failing, true, true, 504, "first_token_timeout", LATER),
            Self::IdleTimeout => row(Failing, true, true, 504, "idle_timeout", LATER),
            Self::TotalTimeout => row(Failing, true, true, 504, "total_timeout", LATER),
            Self::Reset => row(Failing, true, true, 502, "reset", LATER),
            Self::Malformed => row(Failing, true, true, 502, "malformed", LATER),
            Self::Truncated => row(Failing, true, true, 502, "truncated", LATER),
            Self::Panicked => {
                row(Failing, true, true, 500, "panicked", "report this as a bug; try again later")
            }
            Self::CircuitOpen => row(Neutral, false, true, 503, "circuit_open", "wait for the time given"),
            Self::Isolated => row(
                Neutral,
                false,
                true,
                503,
                "isolated",
                "look at the provider's reason, then close its circuit",
            ),
            Self::Busy => row(Neutral, false, true, 503, "busy", LATER),
            Self::Throttled => row(Neutral, false, true, 429, "throttled", "wait for the time given"),
            Self::Local => row(Neutral, true, true, 503, "local_fault", "look at this machine's limits"),
            Self::DeadlineExceeded => row(Neutral, false, false, 504, "deadline_exceeded", "allow more time"),
            Self::Cancelled => row(Neutral, false, false, 499, "cancelled", "nothing: the caller left"),
        }
    }

    /// Stable code, for programs and metric labels.
    pub const fn code(self) -> &'static str {
        self.class().code
    }

    /// Did we refuse without asking the provider?
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::CircuitOpen | Self::Isolated | Self::Busy | Self::Throttled)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

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
            request_id: None,
            body: None,
            allowances: None,
        }
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
}

impl CallError {
    /// How many times a provider was really asked.
    pub fn attempts_made(&self) -> usize {
        self.attempts.iter().filter(|a| !a.kind.is_refusal()).count()
    }

    /// The status this call ends with: the common one when every asked provider gave the same, otherwise
    /// what the deciding kind stands for.
    pub fn status(&self) -> u16 {
        if let Some(status) = self.upstream.as_ref().and_then(|upstream| upstream.status) {
            return status;
        }
        let mut asked = self.attempts.iter().filter(|a| !a.kind.is_refusal()).map(|a| a.status);
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
    fn every_kind_has_its_own_code_and_some_advice() {
        let codes: std::collections::BTreeSet<_> = ErrorKind::ALL.iter().map(|k| k.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert!(ErrorKind::ALL.iter().all(|k| !k.class().advice.is_empty()));
    }

    #[test]
    fn local_refusals_and_cancellation_say_nothing_about_the_provider() {
        for kind in ErrorKind::ALL {
            if kind.is_refusal() || matches!(kind, ErrorKind::Local | ErrorKind::Cancelled) {
                assert_eq!(kind.class().verdict, Verdict::Neutral, "{kind}");
            }
        }
    }

    #[test]
    fn a_wrong_request_ends_the_call_and_never_blames_the_provider() {
        for kind in [ErrorKind::BadRequest, ErrorKind::ContextTooLong, ErrorKind::ContentFiltered] {
            let class = kind.class();
            assert!(!class.retry && !class.fall_over && class.verdict == Verdict::Healthy, "{kind}"); // PC4
        }
    }
}
