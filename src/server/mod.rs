//! The gateway: the runtime's chains behind an HTTP interface that OpenAI's and Anthropic's clients know.
//!
//! [`accept`] keeps connections within their limits, [`listener`] is the supervised actor around it, [`api`]
//! takes calls and [`models`] lists whom to ask, [`health`] and [`events`] tell how the system is, [`answer`]
//! gives every answer its headers and [`dialect`] every error its words; [`waiting`] reads deadlines. Who is
//! asked, and how often, is decided by the chains and not here.

pub mod accept;
mod answer;
mod api;
mod dialect;
mod events;
mod health;
pub(crate) mod listener;
mod models;
mod stall;
mod waiting;

pub(crate) use listener::LAST_WORDS;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state, routing::get};
use mainstay_actors::{call::Api, system::System};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How many readers may follow `/events` at once; one more is told to come back later.
const EVENT_READERS: usize = 64;

/// What the gateway may take from its clients.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// Largest request body in bytes; a larger one is refused with 413. Default 8 MiB.
    pub max_body: usize,
    /// Connections at once; further ones wait in the kernel's queue. Default 1024.
    pub max_connections: usize,
    /// How long running requests may go on after the gateway was asked to stop; then a stream ends with an
    /// error event and the rest is cut. Default 20 s.
    pub drain: Duration,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self { max_body: 8 << 20, max_connections: 1024, drain: Duration::from_secs(20) }
    }
}

/// What all handlers share.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    system: System,
    metrics: Option<PrometheusHandle>,
    limits: GatewayLimits,
    started_unix: u64,
    readers: Arc<Semaphore>,
    /// No further work is taken on.
    draining: CancellationToken,
    /// The time to finish is over.
    cut: CancellationToken,
}

impl Gateway {
    pub(crate) fn new(system: System, metrics: Option<PrometheusHandle>, limits: GatewayLimits) -> Self {
        let started_unix = system.commons().clock.unix_time().as_secs();
        let readers = Arc::new(Semaphore::new(EVENT_READERS));
        let (draining, cut) = (CancellationToken::new(), CancellationToken::new());
        Self(Arc::new(Inner { system, metrics, limits, started_unix, readers, draining, cut }))
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/v1/chat/completions", api::route(Api::Chat))
            .route("/v1/messages", api::route(Api::Messages))
            .route("/v1/responses", api::route(Api::Responses))
            .route("/v1/embeddings", api::route(Api::Embeddings))
            .route("/v1/models", get(models::all))
            .route("/v1/models/{id}", get(models::one))
            .route("/livez", get(health::livez))
            .route("/readyz", get(health::readyz))
            .route("/metrics", get(health::metrics))
            .route("/status.json", get(health::status))
            .route("/events", get(events::follow))
            .method_not_allowed_fallback(api::wrong_method)
            .fallback(api::unknown_route)
            .layer(from_fn_with_state(self.clone(), answer::stamp))
            .with_state(self.clone())
    }
}
