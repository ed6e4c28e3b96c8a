//! One call's way: from target to target until one answers.
//!
//! [`plan`] decides, as a pure rule, whom to ask next; [`attempt`] asks one provider, within its timeouts;
//! [`stream`] hands an answer on while it is being written. All of it runs on the caller's task: dropping the
//! call drops everything that belongs to it. Nothing here is an actor.

mod attempt;
mod plan;
pub mod policy;
pub mod stream;

use std::{sync::Arc, time::Duration};

use metrics::Counter;

use crate::{
    call::{FullReply, Reply, Request, Story},
    commons::Commons,
    error::{AttemptReport, CallError, ErrorKind, FallOver, ProviderError},
    ports::Provider,
    provider::{
        Circuit, ProviderDesk,
        desk::{Ask, Refusal},
        limiter::Demand,
        permit::Permit,
    },
};
use attempt::{Answer, Deadlines, Limits};
pub use plan::Lane;
use plan::{Plan, Step};
use policy::ChainPolicy;
use stream::ReplyStream;

/// A provider to ask, and the model to ask it for.
#[derive(Clone)]
pub struct Target {
    /// The provider.
    pub desk: Arc<ProviderDesk>,
    /// The model's name at this provider.
    pub model: Arc<str>,
    /// When it is asked.
    pub lane: Lane,
    circuit: Arc<Circuit>,
    adapter: Arc<dyn Provider>,
}

impl Target {
    /// A target that is asked whenever those before it failed.
    pub fn new(desk: Arc<ProviderDesk>, model: &str) -> Self {
        let (circuit, adapter) = (desk.model(model), desk.adapter());
        Self { desk, model: model.into(), lane: Lane::Usual, circuit, adapter }
    }

    /// Asks it at another occasion.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Asks it through this adapter, which its desk may not have yet.
    #[must_use]
    pub(crate) fn through(mut self, adapter: Arc<dyn Provider>) -> Self {
        self.adapter = adapter;
        self
    }

    /// Is this the circuit that it goes through?
    pub(crate) fn passes(&self, circuit: &Arc<Circuit>) -> bool {
        Arc::ptr_eq(&self.circuit, circuit)
    }

    /// Asks for the right to make one attempt, or learns why not.
    pub fn admit(&self, ask: Ask) -> Result<Permit, Refusal> {
        self.desk.admit(&self.circuit, ask)
    }
}

/// A named list of targets, tried in order.
pub struct Chain {
    name: Arc<str>,
    targets: Vec<Target>,
    policy: ChainPolicy,
    commons: Commons,
    answered: Counter,
}

impl Chain {
    /// A chain over at least one target.
    pub fn new(name: &str, targets: Vec<Target>, policy: ChainPolicy, commons: &Commons) -> Self {
        let answered = calls_total(name, "ok");
        Self { name: name.into(), targets, policy, commons: commons.clone(), answered }
    }

    /// Its name: what clients ask for as `model`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whom it asks, in order.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Asks until a provider has answered whole.
    pub async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let (answer, story) = self.answer(&Request { stream: false, ..request }).await?;
        match answer {
            Answer::Full(FullReply { body, request_id, lacks, .. }) => {
                Ok(Reply { body, story: Story { upstream_request_id: request_id, lacks, ..story } })
            }
            Answer::Stream(_) => Err(self.lost(story)),
        }
    }

    /// Asks until a provider has sent its first content. Until then the call may move from one to the next
    /// unseen; from then on it stays (RS5, RS6).
    pub async fn stream(&self, request: Request) -> Result<ReplyStream, CallError> {
        let (answer, story) = self.answer(&Request { stream: true, ..request }).await?;
        match answer {
            Answer::Stream(frames) => Ok(ReplyStream::new(*frames, story)),
            Answer::Full(_) => Err(self.lost(story)),
        }
    }

    async fn answer(&self, request: &Request) -> Result<(Answer, Story), CallError> {
        let mut journey = Journey::new(self, request);
        loop {
            let (target, insist) = match journey.next() {
                Step::Try(target) => (target, false),
                Step::Insist(target) => (target, true),
                Step::Wait(delay) if journey.has_time_for(delay) => {
                    tokio::time::sleep(delay).await;
                    continue;
                }
                Step::Wait(_) | Step::GiveUp => return Err(journey.failed()),
            };
            match self.attempt(target, insist, request, &journey).await {
                Ok(answer) => {
                    self.answered.increment(1);
                    return Ok((answer, journey.arrived(&self.targets[target])));
                }
                Err(miss) => journey.missed(target, miss),
            }
        }
    }

    async fn attempt(
        &self,
        target: usize,
        insist: bool,
        request: &Request,
        journey: &Journey<'_>,
    ) -> Result<Answer, Miss> {
        let asked = &self.targets[target];
        let Target { desk, circuit, .. } = asked;
        if journey.deadlines.first.is_some_and(|deadline| deadline <= self.commons.now()) {
            return Err(Miss::before(ErrorKind::DeadlineExceeded));
        }
        let demand = Demand::estimate(request.body.len(), request.max_tokens);
        let ask = Ask { deadline: journey.deadlines.first, demand };
        let again = journey.has_asked(desk);
        if again && !desk.pay() {
            let kind = ErrorKind::RetryBudget;
            return Err(Miss::Refused(Refusal { kind, retry_after: None, soft: false }));
        }
        let admitted = match insist {
            true => desk.admit_insisting(circuit, ask).await,
            false => asked.admit(ask),
        };
        let permit = admitted.map_err(Miss::Refused)?;
        if !again {
            desk.earn();
        }
        let started = permit.started();
        let limits = Limits::new(desk.policy().timeouts, started, journey.deadlines);
        let answer = attempt::run(permit, asked, request, &journey.id, limits, &self.commons).await;
        answer.map_err(|error| Miss::Failed(error, self.commons.now().saturating_duration_since(started)))
    }

    /// An answer of the other shape than was asked for: the attempt already refuses those.
    fn lost(&self, story: Story) -> CallError {
        CallError { kind: ErrorKind::Malformed, attempts: story.failed, retry_after: None, upstream: None }
    }
}

/// Why an attempt was not the last.
enum Miss {
    Refused(Refusal),
    Failed(ProviderError, Duration),
}

impl Miss {
    fn before(kind: ErrorKind) -> Self {
        Self::Failed(ProviderError::new(kind, kind.class().advice), Duration::ZERO)
    }
}

/// One call under way.
struct Journey<'a> {
    chain: &'a Chain,
    id: Arc<str>,
    deadlines: Deadlines,
    plan: Plan,
    failed: Vec<AttemptReport>,
    last: Option<ProviderError>,
}

impl<'a> Journey<'a> {
    fn new(chain: &'a Chain, request: &Request) -> Self {
        let commons = &chain.commons;
        let id = request.id.clone().unwrap_or_else(|| commons.new_id());
        let deadlines = Deadlines::of(request, commons.now());
        let wants_probe =
            |target: &Target| target.lane == Lane::Usual && target.desk.wants_probe(&target.circuit);
        let first = chain.targets.iter().position(wants_probe);
        let plan = Plan::new(chain.policy, chain.targets.iter().map(|target| target.lane)).first(first);
        Self { chain, id, deadlines, plan, failed: Vec::new(), last: None }
    }

    /// Chance follows from the call's id and how far it got: nothing is drawn for a call that never waits.
    fn next(&mut self) -> Step {
        let (commons, id, failures) = (&self.chain.commons, &self.id, self.failed.len());
        self.plan.next(|| commons.chance(&format!("{id}/{failures}")).f64())
    }

    /// Has this provider been asked before in this call, for whatever model?
    fn has_asked(&self, desk: &ProviderDesk) -> bool {
        self.failed.iter().any(|report| !report.kind.is_refusal() && report.provider == *desk.name())
    }

    fn has_time_for(&self, delay: Duration) -> bool {
        self.deadlines.first.is_none_or(|deadline| self.chain.commons.now() + delay < deadline)
    }

    fn missed(&mut self, target: usize, miss: Miss) {
        let Target { desk, model, circuit, .. } = &self.chain.targets[target];
        let (error, latency) = match miss {
            Miss::Refused(refusal) => {
                self.plan.refused(target, refusal.soft);
                (refused(desk, circuit, refusal), Duration::ZERO)
            }
            Miss::Failed(error, latency) => {
                let class = error.class();
                let pause = class.isolate.take_out(error.retry_after).map(|(_, time)| time);
                self.plan.failed(target, class, error.retry_after.or(pause));
                (error, latency)
            }
        };
        let report = AttemptReport {
            provider: desk.name().clone(),
            model: model.clone(),
            kind: error.kind,
            message: error.message.clone(),
            status: error.status,
            latency_ms: latency.as_millis() as u64,
            retry_after: error.retry_after,
            upstream_request_id: error.request_id.clone(),
        };
        if !error.kind.is_refusal() {
            self.log(&report);
            self.last = Some(error);
        } else if self.failed.iter().any(|old| old.is_same_refusal(&report)) {
            return;
        }
        self.failed.push(report);
    }

    fn arrived(self, target: &Target) -> Story {
        Story {
            id: self.id,
            chain: self.chain.name.clone(),
            provider: target.desk.name().clone(),
            model: target.model.clone(),
            upstream_request_id: None,
            lacks: Vec::new(),
            failed: self.failed,
        }
    }

    fn failed(self) -> CallError {
        // What was really tried tells more than who was not asked.
        let kind = self.last.as_ref().map(|e| e.kind).or(self.failed.last().map(|a| a.kind));
        let kind = kind.unwrap_or(ErrorKind::CircuitOpen);
        calls_total(&self.chain.name, kind.code()).increment(1);
        tracing::warn!(request_id = %self.id, chain = %self.chain.name, %kind, "nobody answered the call");
        // A verdict on the request itself stands, whoever else failed before; waiting does not change it.
        let decided = kind.class().fall_over != FallOver::Yes;
        let asked = self.failed.iter().filter(|a| !a.kind.is_refusal()).count();
        let retry_after = self.failed.iter().filter(|_| !decided).filter_map(|a| a.retry_after).min();
        let upstream = self.last.filter(|_| decided || asked == 1).map(Box::new);
        CallError { kind, attempts: self.failed, retry_after, upstream }
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
        ErrorKind::RetryBudget => format!("provider {} has failed too often to be asked again", desk.name()),
        ErrorKind::NoTime => format!("provider {} usually takes longer than the time left", desk.name()),
        _ => format!("provider {} already serves {} calls", desk.name(), desk.in_flight()),
    };
    ProviderError { retry_after: refusal.retry_after, ..ProviderError::new(refusal.kind, message) }
}

fn calls_total(chain: &str, outcome: &'static str) -> Counter {
    metrics::counter!("mainstay_calls_total", "chain" => chain.to_string(), "outcome" => outcome)
}

#[cfg(test)]
mod chaos_tests;
#[cfg(test)]
mod composite_tests;
#[cfg(test)]
mod lane_tests;
#[cfg(test)]
mod tests;
