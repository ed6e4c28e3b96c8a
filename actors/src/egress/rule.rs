//! When to doubt the way out: a pure rule over who fell silent and who answered.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::error::ErrorKind;

/// Silences that lie further apart have causes of their own.
const WINDOW: Duration = Duration::from_secs(30);
/// One provider that falls silent is most likely out; so many at once are suspicious.
const SEVERAL: usize = 2;

/// What the end of an attempt says of the way to its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The provider said something, be it an error.
    Answered,
    /// Nothing came from it: no connection, no answer in time, or no end of one.
    Silent,
    /// It ended for a reason of our own.
    Nothing,
}

impl Sign {
    /// The sign of an attempt that ended with `failure`, or well.
    pub fn of(failure: Option<ErrorKind>) -> Self {
        use ErrorKind::*;
        match failure {
            Some(Connect | ConnectTimeout | FirstTokenTimeout | IdleTimeout | TotalTimeout | Reset) => {
                Self::Silent
            }
            Some(Local | DeadlineExceeded | Cancelled | Panicked) => Self::Nothing,
            Some(kind) if kind.is_refusal() => Self::Nothing,
            _ => Self::Answered,
        }
    }
}

/// Who is silent since anybody answered: when each of them failed first and last.
#[derive(Debug, Default)]
pub struct Silence(BTreeMap<Arc<str>, (Instant, Instant)>);

impl Silence {
    /// Takes in a sign of a provider; true if the way out should be looked at.
    pub fn heard(&mut self, provider: &Arc<str>, sign: Sign, now: Instant) -> bool {
        match sign {
            Sign::Nothing => false,
            Sign::Answered => {
                self.0.clear();
                false
            }
            Sign::Silent => {
                self.forget(now);
                self.0.entry(provider.clone()).or_insert((now, now)).1 = now;
                self.suspected_since(now).is_some()
            }
        }
    }

    /// Since when several of them have been silent, if they have.
    pub fn suspected_since(&mut self, now: Instant) -> Option<Instant> {
        self.forget(now);
        let since = self.0.values().map(|(first, _)| *first).min();
        since.filter(|_| self.0.len() >= SEVERAL)
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, (_, last)| now.saturating_duration_since(*last) <= WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::{Sign::*, *};
    use crate::{clock::SystemClock, ports::Clock};

    const SECOND: Duration = Duration::from_secs(1);

    /// Signs by second; whether the last one raises the question.
    fn raised(signs: &[(u32, &str, Sign)]) -> bool {
        let (start, mut silence) = (SystemClock.now(), Silence::default());
        let heard =
            signs.iter().map(|(at, who, sign)| silence.heard(&(*who).into(), *sign, start + SECOND * *at));
        heard.last().unwrap()
    }

    #[test]
    fn only_several_providers_that_fall_silent_together_raise_the_question() {
        assert!(!raised(&[(0, "a", Silent), (1, "a", Silent), (2, "a", Silent)]));
        assert!(raised(&[(0, "a", Silent), (1, "b", Silent)])); // PC21
        assert!(raised(&[(0, "a", Silent), (1, "b", Nothing), (30, "b", Silent)]));
        assert!(!raised(&[(0, "a", Silent), (31, "b", Silent)]));
    }

    #[test]
    fn whoever_answers_in_between_clears_the_way_out() {
        assert!(!raised(&[(0, "a", Silent), (1, "c", Answered), (2, "b", Silent)])); // PC21
        assert!(!raised(&[(0, "a", Silent), (1, "b", Silent), (2, "c", Answered)]));
        assert!(raised(&[(0, "c", Answered), (1, "a", Silent), (2, "b", Silent)]));
    }

    #[test]
    fn the_silence_begins_with_its_first_failure() {
        let (start, mut silence) = (SystemClock.now(), Silence::default());
        for (at, who) in [(0, "a"), (20, "a"), (40, "a"), (45, "b")] {
            silence.heard(&who.into(), Silent, start + SECOND * at);
        }
        assert_eq!(silence.suspected_since(start + SECOND * 45), Some(start));
        assert_eq!(silence.suspected_since(start + SECOND * 80), None);
    }

    #[test]
    fn an_error_that_a_provider_tells_is_an_answer_and_a_refusal_of_ours_is_no_sign() {
        for kind in ErrorKind::ALL {
            let sign = Sign::of(Some(kind));
            assert!(!kind.is_refusal() || sign == Nothing, "{kind}");
            assert!(sign != Silent || kind.class().status >= 502, "{kind}");
        }
        assert_eq!(Sign::of(Some(ErrorKind::ServerError)), Answered);
        assert_eq!(Sign::of(Some(ErrorKind::Connect)), Silent);
        assert_eq!(Sign::of(None), Answered);
    }
}
