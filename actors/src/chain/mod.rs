//! One call's way: from target to target until one answers.
//!
//! [`plan`] decides, as a pure rule, whom to ask next; [`journey`] follows it and remembers what came of it;
//! [`attempt`] asks one provider, within its timeouts; [`stream`] hands an answer on while it is being written. All of
//! it runs on the caller's task: dropping the call drops everything that belongs to it. Nothing here is an actor.

mod attempt;
mod cached;
mod journey;
mod plan;
pub mod policy;
mod recorder;
pub mod stream;

use std::sync::Arc;

use metrics::Counter;

use crate::{
    call::{FullReply, Reply, Request, Story},
    commons::Commons,
    error::{CallError, ErrorKind},
    ports::Provider,
    provider::{
        Circuit, ProviderDesk,
        admission::{Ask, Refusal},
        permit::Permit,
    },
};
use attempt::Answer;
use journey::Journey;
pub use plan::Lane;
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
#[derive(Clone)]
pub struct Chain {
    name: Arc<str>,
    targets: Arc<[Target]>,
    /// All targets in one text: what the cache tells this chain from others by.
    identity: Arc<str>,
    policy: ChainPolicy,
    commons: Commons,
    answered: Counter,
}

impl Chain {
    /// A chain over at least one target.
    pub fn new(name: &str, targets: Vec<Target>, policy: ChainPolicy, commons: &Commons) -> Self {
        let answered = calls_total(name, "ok");
        let names = targets.iter().map(|target| format!("{}/{}\n", target.desk.name(), target.model));
        let identity = names.collect::<String>().into();
        let (name, targets) = (name.into(), targets.into());
        Self { name, targets, identity, policy, commons: commons.clone(), answered }
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    /// Its name: what clients ask for as `model`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whom it asks, in order.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Gives the whole answer that is kept, or asks until a provider has answered.
    pub async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let request = Request { stream: false, ..request };
        match self.commons.cache.get() {
            Some(cache) => cached::whole(self, cache, &request).await,
            None => self.ask_whole(&request).await.map(|(full, story)| cached::reply(full, story)),
        }
    }

    /// Gives the stream that is kept, or asks until a provider has sent its first content. Until then the call may
    /// move from one to the next unseen; from then on it stays (RS5, RS6).
    pub async fn stream(&self, request: Request) -> Result<ReplyStream, CallError> {
        let request = Request { stream: true, ..request };
        match self.commons.cache.get() {
            Some(cache) => cached::stream(self, cache, &request).await,
            None => self.ask_stream(&request).await,
        }
    }

    async fn ask_whole(&self, request: &Request) -> Result<(FullReply, Story), CallError> {
        let (answer, story) = self.answer(request).await?;
        match answer {
            Answer::Full(full) => Ok((full, story)),
            Answer::Stream(_) => Err(self.lost(story)),
        }
    }

    async fn ask_stream(&self, request: &Request) -> Result<ReplyStream, CallError> {
        let (answer, story) = self.answer(request).await?;
        match answer {
            Answer::Stream(frames) => Ok(ReplyStream::new(*frames, story)),
            Answer::Full(_) => Err(self.lost(story)),
        }
    }

    async fn answer(&self, request: &Request) -> Result<(Answer, Story), CallError> {
        Journey::new(self, request).travel(request).await
    }

    /// An answer of the other shape than was asked for: the attempt already refuses those.
    fn lost(&self, story: Story) -> CallError {
        CallError {
            kind: ErrorKind::Malformed,
            attempts: story.failed,
            retry_after: None,
            upstream: None,
            cache: None,
        }
    }
}

fn calls_total(chain: &str, outcome: &'static str) -> Counter {
    metrics::counter!("mainstay_calls_total", "chain" => chain.to_string(), "outcome" => outcome)
}

#[cfg(test)]
mod budget_tests;
#[cfg(test)]
mod cached_late_tests;
#[cfg(test)]
mod cached_tests;
#[cfg(test)]
mod chaos_tests;
#[cfg(test)]
mod composite_tests;
#[cfg(test)]
mod lane_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;
