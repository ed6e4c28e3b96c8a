//! A kept answer, and how long it is good for what.
//!
//! An entry is made once and never changed: a copy in another tier expires at the same instant (CA1). Its instants
//! are wall time, since it outlives the process and is shared with others; a machine whose clock jumps by an hour
//! keeps entries for an hour more or less.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    control::{CacheControl, CachePolicy},
    key::Scope,
};
use crate::{
    call::{FrameKind, Usage},
    error::CallError,
};

/// Milliseconds since the Unix epoch.
pub type UnixMs = u64;

/// A kept answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose it is.
    pub scope: Scope,
    /// What it depends on.
    pub tags: Vec<Arc<str>>,
    /// When it began to be made: no purge since may have been meant for it.
    pub begun: UnixMs,
    /// Until when it is good for what.
    pub windows: Windows,
    /// Who answered.
    pub provider: Arc<str>,
    /// With which model.
    pub model: Arc<str>,
    /// The provider's own id of the request.
    pub upstream_request_id: Option<Arc<str>>,
    /// What it took, if the provider said so.
    pub usage: Option<Usage>,
    /// How long it took to make, in milliseconds.
    pub took_ms: u64,
    /// The answer.
    pub answer: Kept,
}

/// What is kept.
#[derive(Clone, Debug)]
pub enum Kept {
    /// A whole answer, byte for byte.
    Whole(Bytes),
    /// The events of a streamed one, each with the milliseconds from its beginning.
    Stream(Vec<KeptFrame>),
    /// A verdict on the request itself. It never leaves the memory.
    Refused(Arc<CallError>),
}

/// One event of a kept stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFrame {
    /// The event's bytes.
    pub bytes: Bytes,
    /// What it means.
    pub kind: FrameKind,
    /// When it came, in milliseconds since the call began.
    pub after_ms: u64,
}

/// Three instants, each no earlier than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// When the answer was complete.
    pub made: UnixMs,
    /// Until then it is as good as a new one.
    pub fresh: UnixMs,
    /// Until then it may be given while a new one is fetched.
    pub stale: UnixMs,
    /// Until then it is better than an error.
    pub error: UnixMs,
}

/// What an entry is good for at some instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// It is as good as a new one.
    Fresh,
    /// It may be given while a new one is fetched.
    Stale,
    /// It is better than an error.
    IfError,
    /// Nothing any more.
    Over,
}

impl Windows {
    /// The windows of an answer that is complete at `made`.
    pub fn new(made: UnixMs, policy: &CachePolicy, control: &CacheControl) -> Self {
        let after = |start: UnixMs, time: Duration| start.saturating_add(time.as_millis() as u64);
        let fresh = after(made, control.ttl.unwrap_or(policy.ttl));
        let stale = after(fresh, policy.stale);
        let error = after(fresh, control.stale_if_error.unwrap_or(policy.stale_if_error)).max(stale);
        Self { made, fresh, stale, error }
    }

    /// The windows of a verdict on the request.
    pub fn negative(made: UnixMs, policy: &CachePolicy) -> Self {
        let until = made.saturating_add(policy.negative_ttl.as_millis() as u64);
        Self { made, fresh: until, stale: until, error: until }
    }

    /// How long ago it was made, in milliseconds.
    pub fn age(&self, now: UnixMs) -> u64 {
        now.saturating_sub(self.made)
    }

    /// What the entry is good for by itself.
    pub fn at(&self, now: UnixMs) -> Freshness {
        match now {
            _ if now < self.fresh => Freshness::Fresh,
            _ if now < self.stale => Freshness::Stale,
            _ if now < self.error => Freshness::IfError,
            _ => Freshness::Over,
        }
    }

    /// What it is good for to a caller with wishes of its own: one too old is at best better than an error, and
    /// how stale that may be is the caller's to say too.
    pub fn for_caller(&self, now: UnixMs, control: &CacheControl) -> Freshness {
        let own = self.at(now);
        let too_old = control.max_age.is_some_and(|limit| self.age(now) > limit.as_millis() as u64);
        let asked = if too_old || control.no_cache { own.max(Freshness::IfError) } else { own };
        let stale_for = now.saturating_sub(self.fresh);
        let limit = control.stale_if_error.map(|limit| limit.as_millis() as u64);
        match asked {
            Freshness::IfError if limit.is_some_and(|limit| stale_for > limit || limit == 0) => {
                Freshness::Over
            }
            asked => asked,
        }
    }
}

impl Entry {
    /// May it be kept outside this process?
    pub fn may_travel(&self) -> bool {
        !matches!(self.answer, Kept::Refused(_))
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        let answer = match &self.answer {
            Kept::Whole(body) => body.len(),
            Kept::Stream(frames) => frames.iter().map(|f| f.bytes.len() + size_of::<KeptFrame>()).sum(),
            Kept::Refused(_) => 1024,
        };
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 32).sum();
        answer + tags + size_of::<Self>() + self.scope.tenant.len() + self.scope.namespace.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1000;

    fn windows(control: &CacheControl) -> Windows {
        let seconds = Duration::from_secs;
        let policy = CachePolicy {
            ttl: seconds(10),
            stale: seconds(5),
            stale_if_error: seconds(60),
            negative_ttl: seconds(2),
            ..CachePolicy::default()
        };
        Windows::new(100 * S, &policy, control)
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_better_than_an_error_then_over() {
        let windows = windows(&CacheControl::default());
        let table = [
            (100 * S, Freshness::Fresh),
            (110 * S - 1, Freshness::Fresh),
            (110 * S, Freshness::Stale),
            (115 * S, Freshness::IfError),
            (170 * S - 1, Freshness::IfError),
            (170 * S, Freshness::Over),
        ];
        for (now, expected) in table {
            assert_eq!(windows.at(now), expected, "{now}");
        }
    }

    #[test]
    fn a_caller_may_ask_for_less() {
        let windows = windows(&CacheControl::default());
        let seconds = Duration::from_secs;
        let young = CacheControl { max_age: Some(seconds(3)), ..CacheControl::default() };
        let strict = CacheControl { stale_if_error: Some(Duration::ZERO), ..young.clone() };
        let lenient = CacheControl { stale_if_error: Some(seconds(20)), ..CacheControl::default() };
        let table = [
            (103 * S, &young, Freshness::Fresh),
            (104 * S, &young, Freshness::IfError),
            (104 * S, &strict, Freshness::Over),
            (111 * S, &lenient, Freshness::Stale),
            (130 * S, &lenient, Freshness::IfError),
            (131 * S, &lenient, Freshness::Over),
        ];
        for (now, control, expected) in table {
            assert_eq!(windows.for_caller(now, control), expected, "{now} {control:?}"); // CA13
        }
    }

    #[test]
    fn a_caller_may_set_how_long_its_answer_is_fresh() {
        let control = CacheControl { ttl: Some(Duration::from_secs(1)), ..CacheControl::default() };
        assert_eq!(windows(&control).fresh, 101 * S); // CA13
    }

    #[test]
    fn no_window_ends_before_the_one_inside_it() {
        let control = CacheControl { stale_if_error: Some(Duration::ZERO), ..CacheControl::default() };
        let Windows { made, fresh, stale, error } = windows(&control);
        assert!(made <= fresh && fresh <= stale && stale <= error);
    }

    #[test]
    fn the_longest_windows_overflow_nothing() {
        let control = CacheControl { ttl: Some(Duration::MAX), ..CacheControl::default() };
        assert_eq!(windows(&control).at(u64::MAX - 1), Freshness::Fresh);
    }
}
