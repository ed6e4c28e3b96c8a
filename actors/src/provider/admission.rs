//! How a caller gets the right to make one attempt, or learns why not.
//!
//! The circuits are looked at first and a probe is taken last: an open circuit costs no place, and a scarce probe is not
//! spent on a full bulkhead (PC6). Whoever waits holds nothing meanwhile: no place while it waits for a limit, and
//! nothing of the limits while it waits for a place.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ProviderDesk,
    bulkhead::Place,
    circuit::Circuit,
    limiter::{Demand, Wait},
    permit::{Passes, Permit, Reserved},
};
use crate::error::ErrorKind;

/// What a caller is about to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// Until when it waits for an answer.
    pub deadline: Option<Instant>,
    /// What it will take of the rate limits, as far as that is known before.
    pub demand: Demand,
}

/// Why a caller was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `CircuitOpen`, `Isolated`, `Busy`, `Throttled`, `NoTime` or `RetryBudget`.
    pub kind: ErrorKind,
    /// How long until it may be worth coming back.
    pub retry_after: Option<Duration>,
    /// Would it be admitted if it insisted, because nobody else can answer it?
    pub soft: bool,
}

impl ProviderDesk {
    /// Admits one attempt at once, or says why not.
    pub fn admit(self: &Arc<Self>, model: &Arc<Circuit>, ask: Ask) -> Result<Permit, Refusal> {
        self.try_admit(model, ask).map_err(|refusal| self.refused(refusal))
    }

    /// The same for a call that nobody else can answer: it passes a circuit that only some may pass, and waits for
    /// a limit and for a place as long as the policy and its deadline let it.
    pub async fn admit_insisting(
        self: &Arc<Self>,
        model: &Arc<Circuit>,
        ask: Ask,
    ) -> Result<Permit, Refusal> {
        self.insist(model, ask).await.map_err(|refusal| self.refused(refusal))
    }

    fn try_admit(self: &Arc<Self>, model: &Arc<Circuit>, ask: Ask) -> Result<Permit, Refusal> {
        let now = self.now();
        self.look(model, ask, now, false)?;
        let held = self.reserve(model, ask, now)?;
        let place = self.bulkhead.enter().ok_or_else(|| self.busy(true))?;
        self.take(model, held, place, now)
    }

    async fn insist(self: &Arc<Self>, model: &Arc<Circuit>, ask: Ask) -> Result<Permit, Refusal> {
        self.look(model, ask, self.now(), true)?;
        let patience = self.now() + self.policy().max_wait;
        let until = ask.deadline.map_or(patience, |end| end.min(patience));
        let (held, place) = self.wait(model, ask, until).await?;
        // What was seen before the wait may be old.
        let now = self.now();
        self.look(model, ask, now, true)?;
        self.take(model, held, place, now)
    }

    async fn wait<'a>(
        &'a self,
        model: &'a Circuit,
        ask: Ask,
        until: Instant,
    ) -> Result<(Held<'a>, Place), Refusal> {
        let mut place = None;
        loop {
            let now = self.now();
            match self.reserve(model, ask, now) {
                Ok(held) => match place.take().or_else(|| self.bulkhead.enter()) {
                    Some(place) => return Ok((held, place)),
                    None => drop(held),
                },
                Err(Refusal { retry_after: Some(wait), .. }) if now + wait <= until => {
                    place = None;
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Err(refusal) => return Err(refusal),
            }
            place = Some(self.bulkhead.wait(until).await.ok_or_else(|| self.busy(false))?);
        }
    }

    fn look(&self, model: &Circuit, ask: Ask, now: Instant, insist: bool) -> Result<(), Refusal> {
        self.account.look(now, insist)?;
        model.look(now, insist)?;
        let expected = now + model.pace.expected();
        if ask.deadline.is_some_and(|deadline| deadline <= expected) {
            model.pace.doubt();
            return Err(Refusal { kind: ErrorKind::NoTime, retry_after: None, soft: false });
        }
        Ok(())
    }

    /// Takes what the call needs of the operator's limits and of the model's, or nothing of either.
    fn reserve<'a>(&'a self, model: &'a Circuit, ask: Ask, now: Instant) -> Result<Held<'a>, Refusal> {
        if self.policy().limits.is_none() {
            return Ok(Held { desk: self, model, reserved: None });
        }
        let account = self.account.limiter().reserve(ask.demand, now);
        let account = account.map_err(|wait| self.throttled(wait))?;
        match model.limiter().reserve(ask.demand, now) {
            Ok(of_model) => {
                Ok(Held { desk: self, model, reserved: Some(Reserved { account, model: of_model }) })
            }
            Err(wait) => {
                self.account.limiter().cancel(account, now);
                Err(self.throttled(wait))
            }
        }
    }

    /// The last step, after which what is held belongs to the permit.
    fn take(
        self: &Arc<Self>,
        model: &Arc<Circuit>,
        held: Held<'_>,
        place: Place,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let passes = self.pass(model)?;
        Ok(Permit::new(self.clone(), model.clone(), passes, held.keep(), place, now))
    }

    fn pass(&self, model: &Circuit) -> Result<Passes, Refusal> {
        let account = self.account.pass()?;
        match model.pass() {
            Ok(model) => Ok(Passes { account, model }),
            Err(refusal) => {
                self.account.give_back(account);
                Err(refusal)
            }
        }
    }

    fn throttled(&self, wait: Wait) -> Refusal {
        let soft = wait.time <= self.policy().max_wait;
        Refusal { kind: ErrorKind::Throttled, retry_after: Some(wait.time), soft }
    }

    fn busy(&self, may_wait: bool) -> Refusal {
        let soft = may_wait && !self.policy().max_wait.is_zero();
        Refusal { kind: ErrorKind::Busy, retry_after: None, soft }
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        self.metrics.ended(Some(refusal.kind));
        refusal
    }
}

/// What was taken of the rate limits. It goes back, unless it is [kept](Self::keep) for an attempt.
struct Held<'a> {
    desk: &'a ProviderDesk,
    model: &'a Circuit,
    reserved: Option<Reserved>,
}

impl Held<'_> {
    fn keep(mut self) -> Option<Reserved> {
        self.reserved.take()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(Reserved { account, model }) = self.reserved.take() {
            let now = self.desk.now();
            self.desk.account.limiter().cancel(account, now);
            self.model.limiter().cancel(model, now);
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
