//! Which failures of a service are worth another try, how often and after how long: named, as plain data.
//!
//! A pure rule: it draws no chance, reads no clock and waits for nothing. A chain's way through several
//! providers is not decided here.

use std::{ops::BitOr, time::Duration};

use crate::{
    backoff::{Backoff, Jitter},
    error::ErrorKind,
};

/// A set of error kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u64);

impl Kinds {
    /// No connection, or it broke.
    pub const CONNECTION: Self = Self::of(&[ErrorKind::Connect, ErrorKind::Reset]);

    /// Nothing came in time.
    pub const TIMEOUT: Self = Self::of(&[
        ErrorKind::UpstreamTimeout,
        ErrorKind::ConnectTimeout,
        ErrorKind::FirstTokenTimeout,
        ErrorKind::IdleTimeout,
        ErrorKind::TotalTimeout,
    ]);

    /// The service is not there, or not for us, or not just now.
    pub const UNAVAILABLE: Self = Self::of(&[
        ErrorKind::RateLimited,
        ErrorKind::SlowDown,
        ErrorKind::Overloaded,
        ErrorKind::ServerError,
        ErrorKind::Connect,
        ErrorKind::Reset,
    ]);

    /// These kinds.
    pub const fn of(mut kinds: &[ErrorKind]) -> Self {
        let mut bits = 0;
        while let [kind, rest @ ..] = kinds {
            bits |= 1 << *kind as u64;
            kinds = rest;
        }
        Self(bits)
    }

    /// The kinds of one name: `connection`, `timeout`, `unavailable`, or the code of a single kind.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "connection" => Some(Self::CONNECTION),
            "timeout" => Some(Self::TIMEOUT),
            "unavailable" => Some(Self::UNAVAILABLE),
            code => ErrorKind::ALL.iter().find(|kind| kind.code() == code).map(|kind| Self::of(&[*kind])),
        }
    }

    /// The kinds of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Is this kind one of them?
    pub const fn contains(self, kind: ErrorKind) -> bool {
        self.0 & (1 << kind as u64) != 0
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}

/// What a failed try tells about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What went wrong.
    pub kind: ErrorKind,
    /// How long the service asks us to wait.
    pub hint: Option<Duration>,
}

impl From<ErrorKind> for Failed {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, hint: None }
    }
}

/// How the failed calls of one service are tried again (PC22).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryStrategy {
    /// How many times a call is tried again after its first try; 0 means never.
    pub retries: u32,
    /// How long to wait before; a service that asks for a wait gets it on top.
    pub backoff: Backoff,
    /// What is worth another try; all else is given to the caller at once.
    pub on: Kinds,
}

impl RetryStrategy {
    /// For databases: 5 retries, from 0.1 s doubling to 2 s, full jitter; connection and timeout errors.
    pub const DB: Self = Self {
        retries: 5,
        backoff: doubling(Duration::from_millis(100), Duration::from_secs(2)),
        on: Kinds::CONNECTION.and(Kinds::TIMEOUT),
    };

    /// For models: 2 retries, from 0.5 s doubling to 5 s, full jitter; unavailable and timeout errors.
    pub const LLM: Self = Self {
        retries: 2,
        backoff: doubling(Duration::from_millis(500), Duration::from_secs(5)),
        on: Kinds::UNAVAILABLE.and(Kinds::TIMEOUT),
    };

    /// The ready-made strategy of this name: `db` or `llm`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "db" => Some(Self::DB),
            "llm" => Some(Self::LLM),
            _ => None,
        }
    }

    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        self.backoff.check()
    }

    /// How long to wait before the next try, after `tries` of them; `None`: there is none. It must begin before
    /// the time that `remains`; where that is not known, nobody waits because of a hint that is longer than the
    /// strategy's own longest wait. `chance` is uniform in `[0, 1)`.
    pub fn next(
        &self,
        tries: u32,
        failed: Failed,
        remains: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        if tries > self.retries || !self.on.contains(failed.kind) {
            return None;
        }
        let hint = failed.hint.unwrap_or_default();
        let wait = hint.saturating_add(self.backoff.delay(tries.saturating_sub(1), chance));
        let worth_it = remains.map_or(hint <= self.backoff.max, |remains| wait < remains);
        worth_it.then_some(wait)
    }
}

const fn doubling(min: Duration, max: Duration) -> Backoff {
    Backoff { min, max, jitter: Jitter::Full }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ErrorKind::{Auth, BadRequest, Connect, IdleTimeout, Overloaded, RateLimited, TotalTimeout};

    const SECOND: Duration = Duration::from_secs(1);

    /// The longest waits that a strategy gives a call that fails again and again.
    fn waits(strategy: RetryStrategy, kind: ErrorKind) -> Vec<u128> {
        let next = |tries| strategy.next(tries, kind.into(), None, 1.0);
        (1..100).map_while(next).map(|wait| wait.as_millis()).collect()
    }

    #[test]
    fn the_ready_made_strategies_are_those_of_the_mission() {
        let (db, llm) = (RetryStrategy::named("db").unwrap(), RetryStrategy::named("llm").unwrap());
        for kind in [Connect, TotalTimeout] {
            assert_eq!(waits(db, kind), [100, 200, 400, 800, 1600], "{kind}"); // PC22
        }
        for kind in [Overloaded, Connect, RateLimited, IdleTimeout] {
            assert_eq!(waits(llm, kind), [500, 1000], "{kind}"); // PC22
        }
        assert!([db, llm].iter().all(|strategy| strategy.check().is_ok()));
        assert_eq!(RetryStrategy::named("dB"), None);
    }

    #[test]
    fn a_strategy_of_one_s_own_retries_what_it_names() {
        let on = Kinds::named("conflict").unwrap() | Kinds::CONNECTION;
        let own = RetryStrategy { retries: 9, on, ..RetryStrategy::DB };
        assert_eq!(waits(own, ErrorKind::Conflict).len(), 9); // PC22
        assert_eq!(waits(own, ErrorKind::TotalTimeout).len(), 0); // PC22
        assert_eq!(waits(own, Connect).last(), Some(&2000));
    }

    #[test]
    fn what_is_not_worth_another_try_is_not_tried_again() {
        for strategy in [RetryStrategy::DB, RetryStrategy::LLM] {
            for kind in ErrorKind::ALL.into_iter().filter(|kind| !kind.class().retry) {
                assert!(waits(strategy, kind).is_empty(), "{kind}"); // PC4
            }
        }
    }

    #[test]
    fn each_kind_is_in_its_own_set_alone() {
        for kind in ErrorKind::ALL {
            let set = Kinds::named(kind.code()).unwrap();
            assert!(ErrorKind::ALL.iter().all(|other| set.contains(*other) == (*other == kind)), "{kind}");
        }
        assert_eq!(Kinds::named("nothing"), None);
    }

    #[test]
    fn a_hint_is_waited_for_if_the_deadline_leaves_the_time_or_the_strategy_the_patience() {
        let failed = |hint| Failed { kind: Overloaded, hint: Some(hint) };
        let next = |hint, remains| RetryStrategy::LLM.next(1, failed(hint), remains, 0.5);
        let half = Duration::from_millis(250);
        assert_eq!(next(5 * SECOND, None), Some(5 * SECOND + half)); // PC13
        assert_eq!(next(6 * SECOND, None), None);
        assert_eq!(next(60 * SECOND, Some(61 * SECOND)), Some(60 * SECOND + half)); // PC13
        assert_eq!(next(60 * SECOND, Some(60 * SECOND)), None); // PC16
    }

    proptest! {
        #[test]
        fn no_try_begins_after_the_deadline_or_before_the_hint(
            tries in 1u32..10,
            kind in prop::sample::select(vec![Overloaded, Auth, BadRequest, IdleTimeout]),
            hint in prop::option::of(0u64..100_000),
            remains in prop::option::of(0u64..100_000),
            chance in 0.0..1.0f64,
        ) {
            let millis = |ms: Option<u64>| ms.map(Duration::from_millis);
            let failed = Failed { kind, hint: millis(hint) };
            if let Some(wait) = RetryStrategy::LLM.next(tries, failed, millis(remains), chance) {
                prop_assert!(tries <= 2 && kind.class().retry);
                prop_assert!(wait >= millis(hint).unwrap_or_default()); // PC13
                prop_assert!(remains.is_none_or(|ms| wait < Duration::from_millis(ms))); // PC16
            }
        }
    }
}
