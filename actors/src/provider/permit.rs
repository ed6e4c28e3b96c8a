//! The right to make one attempt, and the one way to tell how it went.
//!
//! Whatever happens to an attempt, also being dropped, its permit frees its place and tells the provider's actor.
//! Who gets one is decided by [`admission`](super::admission).

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use metrics::{Counter, Histogram};

use super::{
    actor::{Outcome, ProviderNews, Slow},
    bulkhead::Place,
    circuit::{Circuit, Pass},
    desk::ProviderDesk,
    limiter::Reservation,
};
use crate::{
    call::{Allowances, Usage},
    error::ErrorKind,
};

/// The right to make one attempt. Its place comes home when it is dropped, whatever happened.
pub struct Permit {
    desk: Arc<ProviderDesk>,
    model: Arc<Circuit>,
    passes: Passes,
    started: Instant,
    _place: Place,
    reserved: Option<Reserved>,
    /// What the provider said of this call.
    told: Told,
    /// Was it told to be slow?
    slow: bool,
    /// Is its end still to be told?
    open: bool,
}

/// How a call passed the two circuits that it goes through.
#[derive(Clone, Copy, Debug)]
pub struct Passes {
    pub(crate) account: Pass,
    pub(crate) model: Pass,
}

/// What the call has taken of the rate limits.
pub(super) struct Reserved {
    pub(super) account: Reservation,
    pub(super) model: Reservation,
}

/// What a provider says beside its answer.
#[derive(Default)]
struct Told {
    usage: Option<Usage>,
    allowances: Option<Box<Allowances>>,
}

impl Permit {
    pub(super) fn new(
        desk: Arc<ProviderDesk>,
        model: Arc<Circuit>,
        passes: Passes,
        reserved: Option<Reserved>,
        place: Place,
        started: Instant,
    ) -> Self {
        let told = Told::default();
        Self { desk, model, passes, started, _place: place, reserved, told, slow: false, open: true }
    }

    /// When the attempt began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The provider it is for.
    pub fn desk(&self) -> &Arc<ProviderDesk> {
        &self.desk
    }

    /// When the attempt will be slow, unless it was told already.
    pub(crate) fn slow_at(&self, streams: bool) -> Option<Instant> {
        let slow = self.desk.policy().breaker.and_then(|breaker| breaker.slow)?;
        let limit = if streams { slow.first_token } else { slow.whole };
        (!self.slow).then(|| self.started + limit)
    }

    /// Tells that the attempt is slow, while it goes on (PC8).
    pub(crate) fn tell_slow(&mut self) {
        self.slow = true;
        let slow = Slow { model: self.model.clone(), passes: self.passes };
        self.desk.tell(ProviderNews::Slow(slow));
    }

    /// Notes that the first content has arrived.
    pub(crate) fn first_token(&self) {
        let time = self.desk.now().saturating_duration_since(self.started);
        self.model.pace.learn(time);
        self.desk.metrics.first_token.record(time);
    }

    /// Notes what the provider says about our limits there.
    pub(crate) fn allowed(&mut self, allowances: Option<Box<Allowances>>) {
        self.told.allowances = allowances;
    }

    /// Notes how many tokens were used so far.
    pub(crate) fn used(&mut self, usage: Option<Usage>) {
        self.told.usage = usage.or(self.told.usage);
    }

    /// Reports that the provider answered.
    pub(crate) fn answered(mut self) {
        self.model.answered.fetch_add(1, Ordering::Relaxed);
        self.report(None, None);
    }

    /// Reports how the attempt failed, and how long the provider asks to be left alone.
    pub(crate) fn failed(mut self, kind: ErrorKind, hint: Option<Duration>) {
        self.model.failed.fetch_add(1, Ordering::Relaxed);
        self.report(Some(kind), hint);
    }

    /// Reports that nothing was sent, and why: as far as its provider can tell, there was no attempt.
    pub(crate) fn unused(mut self, kind: ErrorKind) {
        if let Some(Reserved { account, model }) = self.reserved.take() {
            let now = self.desk.now();
            self.desk.account().limiter().cancel(account, now);
            self.model.limiter().cancel(model, now);
        }
        self.desk.metrics.ended(Some(kind));
        self.tell_end(Some(ErrorKind::Cancelled), None);
    }

    /// Puts right what was reserved: by what the provider says, as far as it says anything.
    fn settle(&mut self, failure: Option<ErrorKind>, hint: Option<Duration>) {
        let Some(Reserved { account, model }) = self.reserved.take() else { return };
        let (now, Told { usage, allowances }) = (self.desk.now(), std::mem::take(&mut self.told));
        let (ours, theirs) = (self.desk.account(), &self.model);
        match failure {
            Some(ErrorKind::RateLimited | ErrorKind::SlowDown) => {
                ours.limiter().settle(account, Usage::default(), now);
                theirs.limiter().refused(model, allowances.as_deref(), hint, now);
            }
            Some(ErrorKind::Connect | ErrorKind::ConnectTimeout | ErrorKind::Local) => {
                ours.limiter().cancel(account, now);
                theirs.limiter().cancel(model, now);
            }
            _ => {
                if let Some(told) = allowances {
                    theirs.limiter().learn(&model, &told, now);
                }
                if let Some(usage) = usage {
                    ours.limiter().settle(account, usage, now);
                    theirs.limiter().settle(model, usage, now);
                }
            }
        }
    }

    fn report(&mut self, failure: Option<ErrorKind>, hint: Option<Duration>) {
        self.settle(failure, hint);
        self.desk.metrics.ended(failure);
        self.desk.metrics.attempt.record(self.desk.now().saturating_duration_since(self.started));
        self.tell_end(failure, hint);
    }

    fn tell_end(&mut self, failure: Option<ErrorKind>, hint: Option<Duration>) {
        self.open = false;
        let (model, passes, slow, started) = (self.model.clone(), self.passes, self.slow, self.started);
        let in_flight = self.desk.in_flight();
        let outcome = Outcome { model, passes, slow, failure, hint, started, in_flight };
        self.desk.tell(ProviderNews::Outcome(outcome));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.open {
            self.report(Some(ErrorKind::Cancelled), None);
        }
    }
}

/// Handles made once: a call touches no registry.
pub(super) struct Metrics {
    answered: Counter,
    ended: [Counter; ErrorKind::ALL.len()],
    attempt: Histogram,
    first_token: Histogram,
    pub(super) dropped: Counter,
}

impl Metrics {
    pub(super) fn new(provider: &str) -> Self {
        let attempts = |outcome: &'static str| metrics::counter!("mainstay_attempts_total", "provider" => provider.to_string(), "outcome" => outcome);
        let label = || provider.to_string();
        Self {
            answered: attempts("ok"),
            ended: ErrorKind::ALL.map(|kind| attempts(kind.code())),
            attempt: metrics::histogram!("mainstay_attempt_seconds", "provider" => label()),
            first_token: metrics::histogram!("mainstay_first_token_seconds", "provider" => label()),
            dropped: metrics::counter!("mainstay_outcomes_dropped_total", "provider" => label()),
        }
    }

    pub(super) fn ended(&self, failure: Option<ErrorKind>) {
        match failure {
            Some(kind) => self.ended[kind as usize].increment(1),
            None => self.answered.increment(1),
        }
    }
}
