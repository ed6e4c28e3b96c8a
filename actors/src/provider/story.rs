//! Why a circuit is as it is, in one sentence for people.
//!
//! Nothing is decided by it.

use std::sync::Arc;

use super::breaker::{Breaker, State, Trial};
use crate::error::ErrorKind;

/// What led to a circuit's present state.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    last_failure: Option<ErrorKind>,
    /// Why it was taken out.
    taken_out: Option<Arc<str>>,
}

impl Story {
    pub(super) fn failed(&mut self, kind: Option<ErrorKind>) {
        self.last_failure = kind.or(self.last_failure);
    }

    pub(super) fn taken_out(&mut self, kind: ErrorKind) -> bool {
        self.taken_out = Some(format!("{kind}; {}", kind.class().advice).into());
        true
    }

    pub(super) fn ordered(&mut self, reason: Arc<str>) -> bool {
        self.taken_out = Some(reason);
        true
    }

    pub(super) fn tell(&self, provider: &str, model: Option<&Arc<str>>, breaker: &Breaker) -> Arc<str> {
        let who = match model {
            Some(model) if !model.is_empty() => format!("provider {provider}, model {model},"),
            _ => format!("provider {provider}"),
        };
        let why = self.why(breaker);
        match breaker.state() {
            State::Closed => "".into(),
            State::Isolated { .. } => {
                format!("{who} is taken out: {}", self.taken_out.as_deref().unwrap_or("no reason given"))
            }
            State::Open { .. } | State::HalfOpen(Trial::One) => {
                format!("{who} is out: {why}; one call at a time tries it again")
            }
            State::HalfOpen(Trial::Share(share)) => {
                format!("{who} is coming back: {share} % of its calls pass")
            }
        }
        .into()
    }

    fn why(&self, breaker: &Breaker) -> String {
        if breaker.slow() > breaker.failures() {
            return format!("{} slow calls in a row", breaker.slow());
        }
        let last = self.last_failure.map_or("unknown", ErrorKind::code);
        match breaker.failures() {
            0 => format!("too many calls failed or were slow, the last failure {last}"),
            1 => format!("1 failure in a row, the last one {last}"),
            failures => format!("{failures} failures in a row, the last one {last}"),
        }
    }
}
