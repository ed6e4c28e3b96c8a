//! One call under way: whom it asks next, what came of it, and what is told in the end.
//!
//! It follows the [`plan`](super::plan) and keeps the story. How a provider is asked is not known here, nor is who is
//! admitted to it.

use std::{sync::Arc, time::Duration};

use super::{
    Chain, Target,
    attempt::{self, Answer, Deadlines, Limits},
    calls_total,
    plan::{Lane, Plan, Step},
};
use crate::{
    call::{Request, Story},
    error::{AttemptReport, CallError, ErrorKind, FallOver, ProviderError},
    provider::{
        Circuit, ProviderDesk,
        admission::{Ask, Refusal},
        limiter::Demand,
        payment::Payment,
        permit::Permit,
    },
};

/// Why an attempt was not the last.
enum Miss {
    Refused(Refusal),
    Failed(ProviderError, Duration),
    /// It is an answer, but others may give a better one.
    Filtered(Answer, Duration),
}

impl Miss {
    fn before(kind: ErrorKind) -> Self {
        Self::Failed(ProviderError::new(kind, kind.class().advice), Duration::ZERO)
    }
}

/// One call under way.
pub(super) struct Journey<'a> {
    chain: &'a Chain,
    id: Arc<str>,
    deadlines: Deadlines,
    plan: Plan,
    failed: Vec<AttemptReport>,
    last: Option<ProviderError>,
    /// A refusal that stands if nobody else answers; whose it is, and its place among the failed.
    filtered: Option<(Answer, usize, usize)>,
}

impl<'a> Journey<'a> {
    pub(super) fn new(chain: &'a Chain, request: &Request) -> Self {
        let commons = &chain.commons;
        let id = request.id.clone().unwrap_or_else(|| commons.new_id());
        let deadlines = Deadlines::of(request, commons.now());
        let wants_probe =
            |target: &Target| target.lane == Lane::Usual && target.desk.wants_probe(&target.circuit);
        let first = chain.targets.iter().position(wants_probe);
        let plan = Plan::new(chain.policy, chain.targets.iter().map(|target| target.lane)).first(first);
        Self { chain, id, deadlines, plan, failed: Vec::new(), last: None, filtered: None }
    }

    /// Asks one target after another until one has answered or nobody is left.
    pub(super) async fn travel(mut self, request: &Request) -> Result<(Answer, Story), CallError> {
        loop {
            let (target, insist) = match self.next() {
                Step::Try(target) => (target, false),
                Step::Insist(target) => (target, true),
                Step::Wait(delay) if self.has_time_for(delay) => {
                    tokio::time::sleep(delay).await;
                    continue;
                }
                Step::Wait(_) | Step::GiveUp => return self.ended(),
            };
            match self.attempt(target, insist, request).await {
                Ok(answer) => return Ok((answer, self.arrived(target))),
                Err(miss) => self.missed(target, miss),
            }
        }
    }

    async fn attempt(&mut self, target: usize, insist: bool, request: &Request) -> Result<Answer, Miss> {
        let chain = self.chain;
        let (target, commons) = (&chain.targets[target], &chain.commons);
        let permit = self.admitted(target, insist, request).await?;
        let started = permit.started();
        let limits = Limits::new(target.desk.policy().timeouts, started, self.deadlines);
        let answer = attempt::run(permit, target, request, &self.id, limits, commons).await;
        let latency = commons.now().saturating_duration_since(started);
        match answer {
            Ok(answer) if answer.is_refused() && self.plan.leads_to(Lane::Filtered) => {
                Err(Miss::Filtered(answer, latency))
            }
            answer => answer.map_err(|error| Miss::Failed(error, latency)),
        }
    }

    async fn admitted(
        &mut self,
        target: &'a Target,
        insist: bool,
        request: &Request,
    ) -> Result<Permit, Miss> {
        let Target { desk, circuit, .. } = target;
        if self.deadlines.first.is_some_and(|deadline| deadline <= self.chain.commons.now()) {
            return Err(Miss::before(ErrorKind::DeadlineExceeded));
        }
        let demand = Demand::estimate(request.body.len(), request.max_tokens);
        let ask = Ask { deadline: self.deadlines.first, demand };
        let again = self.has_asked(desk);
        let paid = if again { self.pay(desk).map_err(Miss::Refused)? } else { None };
        let admitted = match insist {
            true => desk.admit_insisting(circuit, ask).await,
            false => target.admit(ask),
        };
        let permit = admitted.map_err(Miss::Refused)?;
        paid.into_iter().flatten().for_each(Payment::spend);
        if !again {
            self.earn(desk);
        }
        Ok(permit)
    }

    /// Pays for asking this provider again, from its own budget and from that of all together; where it has none,
    /// nothing is to be paid (PC15).
    fn pay(&self, desk: &'a ProviderDesk) -> Result<Option<[Payment<'a>; 2]>, Refusal> {
        if desk.policy().budget.is_none() {
            return Ok(None);
        }
        let (now, overall) = (self.chain.commons.now(), &self.chain.commons.retries);
        let paid = desk.budget().pay(now).and_then(|own| Some([own, overall.pay(now)?]));
        let kind = ErrorKind::RetryBudget;
        paid.map(Some).ok_or(Refusal { kind, retry_after: None, soft: false })
    }

    /// The first time that a provider is asked earns a share of an extra attempt there, and the first time that
    /// anybody is, one overall: a call that fails over again and again earns no more than another.
    fn earn(&self, desk: &ProviderDesk) {
        let now = self.chain.commons.now();
        desk.budget().earn(now);
        if !self.failed.iter().any(|report| report.asked) {
            self.chain.commons.retries.earn(now);
        }
    }

    /// Chance follows from the call's id and how far it got: nothing is drawn for a call that never waits.
    fn next(&mut self) -> Step {
        let (commons, id, failures) = (&self.chain.commons, &self.id, self.failed.len());
        self.plan.next(|| commons.chance(&format!("{id}/{failures}")).f64())
    }

    /// Has this provider been asked before in this call, for whatever model?
    fn has_asked(&self, desk: &ProviderDesk) -> bool {
        self.failed.iter().any(|report| report.asked && report.provider == *desk.name())
    }

    fn has_time_for(&self, delay: Duration) -> bool {
        self.deadlines.first.is_none_or(|deadline| self.chain.commons.now() + delay < deadline)
    }

    fn missed(&mut self, target: usize, miss: Miss) {
        let Target { desk, circuit, .. } = &self.chain.targets[target];
        match miss {
            Miss::Refused(refusal) => {
                self.plan.refused(target, refusal.soft);
                self.note(target, refused(desk, circuit, refusal), Duration::ZERO);
            }
            Miss::Failed(error, latency) => self.failed(target, error, latency),
            Miss::Filtered(answer, latency) => {
                let error = filtered(&answer);
                self.filtered = Some((answer, target, self.failed.len()));
                self.failed(target, error, latency);
            }
        }
    }

    fn failed(&mut self, target: usize, error: ProviderError, latency: Duration) {
        if error.is_unsent() {
            self.plan.unable(target);
            return self.note(target, error, latency);
        }
        let class = error.class();
        let pause = class.isolate.take_out(error.retry_after).map(|(_, time)| time);
        self.plan.failed(target, class, error.retry_after.or(pause));
        self.note(target, error, latency);
    }

    fn note(&mut self, target: usize, error: ProviderError, latency: Duration) {
        let Target { desk, model, .. } = &self.chain.targets[target];
        let report = AttemptReport {
            provider: desk.name().clone(),
            model: model.clone(),
            kind: error.kind,
            message: error.message.clone(),
            status: error.status,
            latency_ms: latency.as_millis() as u64,
            retry_after: error.retry_after,
            upstream_request_id: error.request_id.clone(),
            asked: !error.kind.is_refusal() && !error.is_unsent(),
        };
        if error.kind.is_refusal() {
            if self.failed.iter().any(|old| old.is_same_refusal(&report)) {
                return;
            }
        } else {
            self.log(&report);
            // What was really asked tells more than who cannot do it.
            if report.asked || self.last.is_none() {
                self.last = Some(error);
            }
        }
        self.failed.push(report);
    }

    fn arrived(self, target: usize) -> Story {
        let Target { desk, model, .. } = &self.chain.targets[target];
        self.chain.answered.increment(1);
        Story {
            id: self.id,
            chain: self.chain.name.clone(),
            provider: desk.name().clone(),
            model: model.clone(),
            upstream_request_id: None,
            lacks: Vec::new(),
            failed: self.failed,
            cache: None,
        }
    }

    /// Nobody else is left to ask.
    fn ended(mut self) -> Result<(Answer, Story), CallError> {
        let Some((answer, target, report)) = self.filtered.take() else { return Err(self.error()) };
        self.failed.remove(report);
        Ok((answer, self.arrived(target)))
    }

    fn error(self) -> CallError {
        // What was really tried tells more than who was not asked.
        let kind = self.last.as_ref().map(|e| e.kind).or(self.failed.last().map(|a| a.kind));
        let kind = kind.unwrap_or(ErrorKind::CircuitOpen);
        calls_total(&self.chain.name, kind.code()).increment(1);
        tracing::warn!(request_id = %self.id, chain = %self.chain.name, %kind, "nobody answered the call");
        // A verdict on the request itself stands, whoever else failed before; waiting does not change it.
        let decided = kind.class().fall_over != FallOver::Yes;
        let asked = self.failed.iter().filter(|a| a.asked).count();
        let retry_after = self.failed.iter().filter(|_| !decided).filter_map(|a| a.retry_after).min();
        let upstream = self.last.filter(|_| decided || asked == 1).map(Box::new);
        CallError { kind, attempts: self.failed, retry_after, upstream, cache: None }
    }

    /// A provider's message may quote the prompt: it is for the caller, and for those who ask for it.
    fn log(&self, failed: &AttemptReport) {
        let AttemptReport { provider, model, kind, status, latency_ms, message, .. } = failed;
        let upstream_request_id = failed.upstream_request_id.as_deref();
        tracing::warn!(
            request_id = %self.id, chain = %self.chain.name, %provider, %model, %kind, status, latency_ms,
            upstream_request_id, "attempt failed"
        );
        tracing::debug!(request_id = %self.id, message, "its message");
    }
}

fn refused(desk: &ProviderDesk, circuit: &Circuit, refusal: Refusal) -> ProviderError {
    let message = match refusal.kind {
        ErrorKind::CircuitOpen | ErrorKind::Isolated => desk.reason(circuit).to_string(),
        ErrorKind::Throttled => format!("provider {} would be asked faster than it may be", desk.name()),
        ErrorKind::RetryBudget => {
            format!("too much has failed for provider {} to be asked again", desk.name())
        }
        ErrorKind::NoTime => format!("provider {} usually takes longer than the time left", desk.name()),
        _ => format!("provider {} already serves {} calls", desk.name(), desk.in_flight()),
    };
    ProviderError { retry_after: refusal.retry_after, ..ProviderError::new(refusal.kind, message) }
}

fn filtered(answer: &Answer) -> ProviderError {
    let error = ProviderError::new(ErrorKind::ContentFiltered, "its content policy refused to answer");
    ProviderError { request_id: answer.request_id(), ..error }
}
