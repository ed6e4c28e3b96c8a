//! The gateway: the runtime's chains behind an HTTP interface that OpenAI's and Anthropic's clients know.
//!
//! [`accept`] keeps connections within their limits, [`listener`] is the supervised actor around it, [`api`]
//! takes calls and [`models`] lists whom to ask, [`health`] and [`events`] tell how the system is, [`answer`]
//! gives every answer its headers and [`dialect`] every error its words; [`waiting`] reads deadlines,
//! [`caching`] what is asked of the cache, and [`cache_status`] tells what that did. [`admin`] is
//! for operators, on a listener of its own. Who is asked, and how often, is decided by the chains and not here.

pub mod accept;
pub mod admin;
mod answer;
mod api;
mod cache_status;
mod caching;
mod dialect;
mod events;
mod health;
mod listener;
mod models;
mod stall;
mod waiting;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state, routing::get};
use mainstay_actors::{
    call::Api,
    supervision::{BadSpec, ChildSpec, RestartPolicy, Supervisor},
    system::System,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Semaphore};

use admin::{Admin, AdminAccess};
use listener::{Ending, LAST_WORDS, Listener, Post};

/// How many readers may follow `/events` at once; one more is told to come back later.
const EVENT_READERS: usize = 64;

/// What the gateway may take from its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Largest request body in bytes; a larger one is refused with 413. Default 8 MiB.
    pub max_body: usize,
    /// Connections at once; further ones wait in the kernel's queue. Default 1024.
    pub max_connections: usize,
    /// How long running requests may go on after the gateway was asked to stop; then a stream ends with an
    /// error event and the rest is cut. Default 20 s.
    pub drain: Duration,
    /// How long requests are still taken on after the gateway was asked to stop, while `/readyz` says that it is
    /// not ready: so that a load balancer notices before connections are refused. Default 0 s.
    pub drain_delay: Duration,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        let (drain, drain_delay) = (Duration::from_secs(20), Duration::ZERO);
        Self { max_body: 8 << 20, max_connections: 1024, drain, drain_delay }
    }
}

impl GatewayLimits {
    /// How long all listeners together may take to end.
    pub(crate) fn longest_end(&self) -> Duration {
        self.drain_delay + self.drain + 5 * LAST_WORDS
    }
}

/// The listeners of a runtime that was not started.
#[derive(Default)]
pub(crate) struct Listeners {
    public: Option<(TcpListener, GatewayLimits, Option<PrometheusHandle>)>,
    admin: Option<(TcpListener, AdminAccess)>,
}

impl Listeners {
    pub(crate) fn public(
        &mut self,
        socket: TcpListener,
        limits: GatewayLimits,
        metrics: Option<PrometheusHandle>,
    ) {
        self.public = Some((socket, limits, metrics));
    }

    pub(crate) fn admin(&mut self, socket: TcpListener, access: AdminAccess) {
        self.admin = Some((socket, access));
    }

    /// Whoever can reach the admin API from another machine must bring a token (GW10).
    pub(crate) fn check(&self) -> Result<(), String> {
        let Some((socket, access)) = &self.admin else { return Ok(()) };
        let at = socket.local_addr().map_err(|error| format!("the admin socket has no address: {error}"))?;
        crate::config::admin_listen(at, access.token.is_some())
    }

    /// The `server` branch of the tree, if anybody listens. The admin listener is up first and ends last: an
    /// operator sees how the public one drains.
    pub(crate) fn branch(self, system: &System) -> Result<Option<ChildSpec>, BadSpec> {
        let Self { public, admin } = self;
        let (socket, limits, metrics) = match public {
            Some((socket, limits, metrics)) => (Some(socket), limits, metrics),
            None => Default::default(),
        };
        let gateway = Gateway::new(system.clone(), metrics, limits);
        let mut listeners = Vec::new();
        if let Some((socket, access)) = admin {
            listeners.push(Listener::spec(Admin::new(gateway.clone(), access).post(), socket).0);
        }
        listeners.extend(socket.map(|socket| Listener::spec(gateway.post(), socket).0));
        if listeners.is_empty() {
            return Ok(None);
        }
        let (server, _) =
            Supervisor::spec("root/server", RestartPolicy::default(), listeners, system.commons())?;
        Ok(Some(server))
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
    ending: Ending,
}

impl Gateway {
    pub(crate) fn new(system: System, metrics: Option<PrometheusHandle>, limits: GatewayLimits) -> Self {
        let started_unix = system.commons().clock.unix_time().as_secs();
        let readers = Arc::new(Semaphore::new(EVENT_READERS));
        let GatewayLimits { drain, drain_delay, .. } = limits;
        let ending = Ending { delay: drain_delay, drain, ..Ending::default() };
        Self(Arc::new(Inner { system, metrics, limits, started_unix, readers, ending }))
    }

    fn post(&self) -> Post {
        let limits = accept::Limits::new(self.0.limits.max_connections);
        Post { path: "root/server/public", router: self.router(), limits, ending: self.0.ending.clone() }
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
