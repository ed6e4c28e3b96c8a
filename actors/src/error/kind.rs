//! The one table of error kinds: what each means for the policies, and what its caller should do next.
//!
//! Policies ask the table and never look at statuses or texts. How a vendor's answer becomes a kind is not
//! here, nor is what a policy does with a row.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

/// What went wrong, as far as the policies care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The provider's rate limit is used up (429): it will be there again soon.
    RateLimited,
    /// The provider finds that our traffic rises too fast (429 or 503 `slow_down`), whatever the limits say.
    SlowDown,
    /// The account's quota, credit or spend limit is used up: waiting does not help.
    QuotaExhausted,
    /// The provider says that it is overloaded (503, 529).
    Overloaded,
    /// The provider failed inside (500, 502, or an error event of that type).
    ServerError,
    /// The provider did not finish in its own time (504).
    UpstreamTimeout,
    /// The provider refused our key (401).
    Auth,
    /// Our key may not do this, or not from here (403).
    PermissionDenied,
    /// The provider does not know the model or the route (404).
    NotFound,
    /// The request itself is wrong (400, 422): another provider would refuse it too.
    BadRequest,
    /// The request has more bytes than the provider takes (413).
    TooLarge,
    /// The prompt does not fit into the model's context.
    ContextTooLong,
    /// The provider's content policy refused the prompt.
    ContentFiltered,
    /// The provider cannot do it: no such API, more than our limit there, a part that no translation keeps.
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
    /// Refused here: less time is left than the provider usually takes.
    NoTime,
    /// Refused here: the budget for retries is spent, the provider's or that of all, most likely because it is out.
    RetryBudget,
    /// The caller wants nothing but a kept answer, and none is kept.
    NotCached,
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

/// May the next provider of the chain be asked?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallOver {
    /// No: it would answer the same.
    No,
    /// Yes, at once.
    Yes,
    /// Only one whose context is larger.
    LargerContext,
    /// Only where the chain allows it.
    IfAllowed,
}

/// Is the provider taken out at once, whatever the circuit breaker counts?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolate {
    /// No: the circuit breaker alone decides.
    No,
    /// A pause, which is no failure: until the time that the provider names, else for this long, doubling.
    Pause(Scope, Duration),
    /// Somebody has to act first: until the time that the provider names, and for this long at least.
    Long(Scope, Duration),
}

/// How much of a provider an error takes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The model that was asked for.
    Model,
    /// All that is asked with the same key.
    Account,
}

impl Isolate {
    const PAUSE: Self = Self::Pause(Scope::Model, Duration::from_secs(1));
    const ACCOUNT: Self = Self::Long(Scope::Account, LONG);
    const MODEL: Self = Self::Long(Scope::Model, LONG);

    /// What is taken out, and for how long, after the provider asked for a wait of `hint`.
    pub fn take_out(self, hint: Option<Duration>) -> Option<(Scope, Duration)> {
        match self {
            Self::No => None,
            Self::Pause(scope, default) => Some((scope, hint.unwrap_or(default))),
            Self::Long(scope, default) => Some((scope, hint.unwrap_or_default().max(default))),
        }
    }
}

/// Between two looks at whether somebody has acted; whoever has need not wait, but closes the circuit by hand.
const LONG: Duration = Duration::from_secs(15 * 60);

/// The table's row of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// What the circuit breaker learns from it.
    pub verdict: Verdict,
    /// May the same provider be asked again, after a backoff?
    pub retry: bool,
    /// May the next provider of the chain be asked?
    pub fall_over: FallOver,
    /// Is the provider taken out at once?
    pub isolate: Isolate,
    /// HTTP status when this kind ends a call.
    pub status: u16,
    /// Stable code, for programs.
    pub code: &'static str,
    /// What the caller should do next, for people.
    pub advice: &'static str,
}

const fn row(
    verdict: Verdict,
    retry: bool,
    fall_over: FallOver,
    isolate: Isolate,
    status: u16,
    code: &'static str,
    advice: &'static str,
) -> Class {
    Class { verdict, retry, fall_over, isolate, status, code, advice }
}

impl ErrorKind {
    /// Every kind, in table order.
    pub const ALL: [Self; 34] = [
        Self::RateLimited,
        Self::SlowDown,
        Self::QuotaExhausted,
        Self::Overloaded,
        Self::ServerError,
        Self::UpstreamTimeout,
        Self::Auth,
        Self::PermissionDenied,
        Self::NotFound,
        Self::BadRequest,
        Self::TooLarge,
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
        Self::NoTime,
        Self::RetryBudget,
        Self::NotCached,
        Self::Local,
        Self::DeadlineExceeded,
        Self::Cancelled,
    ];

    /// The one table: what each kind means.
    #[rustfmt::skip]
    pub const fn class(self) -> Class {
        use FallOver::{IfAllowed, LargerContext, No, Yes};
        use Verdict::{Failing, Healthy, Neutral};
        const STAYS: Isolate = Isolate::No;
        const PAUSE: Isolate = Isolate::PAUSE;
        const ACCOUNT: Isolate = Isolate::ACCOUNT;
        const MODEL: Isolate = Isolate::MODEL;
        const LATER: &str = "try again later";
        const FIX: &str = "change the request; sending it again will not help";
        match self {
            Self::RateLimited       => row(Neutral, true,  Yes,           PAUSE,   429, "rate_limited",        "slow down and try again later"),
            Self::SlowDown          => row(Neutral, true,  Yes,           PAUSE,   429, "slow_down",           "send fewer requests at once, then raise their number slowly"),
            Self::QuotaExhausted    => row(Failing, false, Yes,           ACCOUNT, 429, "quota_exhausted",     "raise the provider account's quota or pay its bill"),
            Self::Overloaded        => row(Failing, true,  Yes,           STAYS,   503, "overloaded",          LATER),
            Self::ServerError       => row(Failing, true,  Yes,           STAYS,   502, "server_error",        LATER),
            Self::UpstreamTimeout   => row(Failing, true,  Yes,           STAYS,   504, "upstream_timeout",    "try again later; ask for a stream, or for a shorter answer"),
            Self::Auth              => row(Failing, false, Yes,           ACCOUNT, 401, "auth",                "check the provider's API key"),
            Self::PermissionDenied  => row(Failing, false, Yes,           ACCOUNT, 403, "permission_denied",   "check what the provider's API key may do, and from where"),
            Self::NotFound          => row(Healthy, false, Yes,           MODEL,   404, "not_found",           "check the model's name"),
            Self::BadRequest        => row(Healthy, false, No,            STAYS,   400, "bad_request",         FIX),
            Self::TooLarge          => row(Healthy, false, No,            STAYS,   413, "too_large",           "send a smaller request: fewer or smaller attachments"),
            Self::ContextTooLong    => row(Healthy, false, LargerContext, STAYS,   400, "context_too_long",    "shorten the prompt, or ask a model with a larger context"),
            Self::ContentFiltered   => row(Healthy, false, IfAllowed,     STAYS,   400, "content_filtered",    FIX),
            Self::Unsupported       => row(Healthy, false, Yes,           STAYS,   400, "unsupported",         "ask a chain whose providers can do this"),
            Self::Conflict          => row(Neutral, true,  Yes,           STAYS,   409, "conflict",            "send the request again"),
            Self::Connect           => row(Failing, true,  Yes,           STAYS,   502, "connect",             LATER),
            Self::ConnectTimeout    => row(Failing, true,  Yes,           STAYS,   504, "connect_timeout",     LATER),
            Self::FirstTokenTimeout => row(Failing, true,  Yes,           STAYS,   504, "first_token_timeout", LATER),
            Self::IdleTimeout       => row(Failing, true,  Yes,           STAYS,   504, "idle_timeout",        LATER),
            Self::TotalTimeout      => row(Failing, true,  Yes,           STAYS,   504, "total_timeout",       LATER),
            Self::Reset             => row(Failing, true,  Yes,           STAYS,   502, "reset",               LATER),
            Self::Malformed         => row(Failing, true,  Yes,           STAYS,   502, "malformed",           LATER),
            Self::Truncated         => row(Failing, true,  Yes,           STAYS,   502, "truncated",           LATER),
            Self::Panicked          => row(Failing, true,  Yes,           STAYS,   500, "panicked",            "report this as a bug; try again later"),
            Self::CircuitOpen       => row(Neutral, false, Yes,           STAYS,   503, "circuit_open",        "wait for the time given"),
            Self::Isolated          => row(Neutral, false, Yes,           STAYS,   503, "isolated",            "look at the provider's reason, then close its circuit"),
            Self::Busy              => row(Neutral, false, Yes,           STAYS,   503, "busy",                LATER),
            Self::Throttled         => row(Neutral, false, Yes,           STAYS,   429, "throttled",           "wait for the time given"),
            Self::NoTime            => row(Neutral, false, Yes,           STAYS,   504, "no_time",             "allow more time"),
            Self::RetryBudget       => row(Neutral, false, Yes,           STAYS,   503, "retry_budget",        LATER),
            Self::NotCached         => row(Neutral, false, No,            STAYS,   504, "not_cached",          "allow a provider to be asked: leave `only-if-cached` out"),
            Self::Local             => row(Neutral, true,  Yes,           STAYS,   503, "local_fault",         "look at this machine's limits"),
            Self::DeadlineExceeded  => row(Neutral, false, No,            STAYS,   504, "deadline_exceeded",   "allow more time"),
            Self::Cancelled         => row(Neutral, false, No,            STAYS,   499, "cancelled",           "nothing: the caller left"),
        }
    }

    /// Stable code, for programs and metric labels.
    pub const fn code(self) -> &'static str {
        self.class().code
    }

    /// How much of a provider this failure speaks of: who cannot be reached cannot be asked for any model.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Connect | Self::ConnectTimeout => Scope::Account,
            _ => Scope::Model,
        }
    }

    /// Did we refuse without asking the provider?
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::CircuitOpen
                | Self::Isolated
                | Self::Busy
                | Self::Throttled
                | Self::NoTime
                | Self::RetryBudget
        )
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn every_kind_has_its_own_code_some_advice_and_its_place_in_the_list() {
        let codes: std::collections::BTreeSet<_> = ErrorKind::ALL.iter().map(|k| k.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert!(ErrorKind::ALL.iter().all(|k| !k.class().advice.is_empty()));
        assert!(ErrorKind::ALL.iter().enumerate().all(|(i, kind)| *kind as usize == i));
    }

    #[test]
    fn local_refusals_and_cancellation_say_nothing_about_the_provider() {
        for kind in ErrorKind::ALL {
            if kind.is_refusal() || matches!(kind, ErrorKind::Local | ErrorKind::Cancelled) {
                let class = kind.class();
                assert_eq!((class.verdict, class.isolate), (Verdict::Neutral, Isolate::No), "{kind}"); // PC5
            }
        }
    }

    #[test]
    fn a_wrong_request_ends_the_call_but_for_the_declared_classes_and_never_blames_the_provider() {
        use ErrorKind::{BadRequest, ContentFiltered, ContextTooLong, TooLarge};
        use FallOver::{IfAllowed, LargerContext, No};
        let table =
            [(BadRequest, No), (TooLarge, No), (ContextTooLong, LargerContext), (ContentFiltered, IfAllowed)];
        for (kind, fall_over) in table {
            let class = kind.class();
            assert_eq!((class.retry, class.verdict), (false, Verdict::Healthy), "{kind}"); // PC4
            assert_eq!((class.fall_over, class.isolate), (fall_over, Isolate::No), "{kind}"); // PC4
        }
    }

    #[test]
    fn a_used_up_speed_limit_is_a_pause_and_no_failure() {
        for kind in [ErrorKind::RateLimited, ErrorKind::SlowDown] {
            let class = kind.class();
            assert_eq!(class.verdict, Verdict::Neutral); // PC12
            assert_eq!(class.isolate.take_out(Some(HOUR)), Some((Scope::Model, HOUR)));
            assert!(class.isolate.take_out(None).is_some_and(|(_, wait)| wait < Duration::from_secs(60)));
        }
    }

    #[test]
    fn an_empty_account_and_a_wrong_key_take_out_the_account_for_long_whatever_the_hint() {
        for kind in [ErrorKind::QuotaExhausted, ErrorKind::Auth, ErrorKind::PermissionDenied] {
            let isolate = kind.class().isolate;
            for hint in [None, Some(Duration::from_secs(1))] {
                assert_eq!(isolate.take_out(hint), Some((Scope::Account, LONG)), "{kind}"); // PC12
            }
            assert_eq!(isolate.take_out(Some(HOUR)), Some((Scope::Account, HOUR)), "{kind}");
            assert!(!kind.class().retry, "{kind}");
        }
    }

    #[test]
    fn an_unknown_model_takes_out_that_model_alone() {
        assert_eq!(ErrorKind::NotFound.class().isolate.take_out(None), Some((Scope::Model, LONG))); // PC12
    }
}
