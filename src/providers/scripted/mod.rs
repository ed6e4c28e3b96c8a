//! A provider that does what it is told, failing included: for tests and demonstrations.
//!
//! A real HTTP server of both dialects in this process. Its answers are made from the requests, and what
//! goes wrong is asked for: by the request itself, by a plan, or over `/control`. No model is behind it.

mod answer;
mod body;
mod fault;
mod listener;
mod plan;
mod routes;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mainstay_actors::commons::Tasks;
use tokio::net::TcpListener;

pub use fault::{Fault, UnknownFault};
pub use plan::{Counts, Plan};

use plan::Book;
use routes::Shared;

/// How a scripted provider behaves from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it calls itself in its answers.
    pub name: String,
    /// The models it knows; empty: it answers to every name.
    pub models: Vec<String>,
    /// The pause before each event of a stream.
    pub word_delay: Duration,
    /// How many requests fail: of every [`of_every`](Self::of_every), or of all when that is 0.
    pub fail_first: u32,
    /// The length of one round of failing and answering; 0: only one round.
    pub of_every: u32,
    /// With what they fail: a status 503 where nothing is said. Without `fail_first`, every request does.
    pub fault: Option<Fault>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            name: "scripted".into(),
            models: Vec::new(),
            word_delay: Duration::ZERO,
            fail_first: 0,
            of_every: 0,
            fault: None,
        }
    }
}

impl Script {
    fn plan(&self) -> Plan {
        let fault = || self.fault.clone().unwrap_or(Fault::status(503));
        match (self.fail_first, self.of_every) {
            (0, _) => self.fault.clone().map_or(Plan::Never, Plan::Always),
            (left, 0) => Plan::Next { fault: fault(), left },
            (first, every) => Plan::OfEvery { fault: fault(), first, every, seen: 0 },
        }
    }
}

/// A scripted provider that runs; dropped, it stops.
pub struct Scripted {
    addr: SocketAddr,
    book: Arc<Book>,
    tasks: Tasks,
}

impl Scripted {
    /// Starts a server at `listen`; port 0 takes any free one.
    pub async fn start(listen: SocketAddr, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let book = Arc::new(Book::new(script.plan()));
        let Script { name, models, word_delay, .. } = script;
        let shared = Arc::new(Shared { name, models, word_delay, book: book.clone() });
        let tasks = Tasks::default();
        tasks.spawn(listener::run(listener, shared, tasks.clone()));
        Ok(Self { addr, book, tasks })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client needs to know: the address with its `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.book.counts().requests
    }

    /// All counts.
    pub fn counts(&self) -> Counts {
        self.book.counts()
    }

    /// From now on every request fails with `fault`, or none does.
    pub fn set_default_fault(&self, fault: Option<Fault>) {
        self.set_plan(fault.map_or(Plan::Never, Plan::Always));
    }

    /// Changes which of the coming requests fail.
    pub fn set_plan(&self, plan: Plan) {
        self.book.set_plan(plan);
    }

    /// Ends all connections and frees the port.
    pub async fn stop(self) {
        self.close().await;
    }

    /// The same for one that is shared.
    pub(crate) async fn close(&self) {
        self.tasks.close().await;
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}
