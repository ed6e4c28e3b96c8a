//! Reading the configuration again, as SIGHUP does (GW8).
//!
//! Who owns the runtime does it; this only asks, and tells what came of it.

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{Admin, Answer, Problem};
use crate::{Error, Reloaded};

/// Where what came of it goes.
pub type ReloadReply = oneshot::Sender<Result<Reloaded, Error>>;

/// Asks the runtime's owner to read the configuration again.
#[derive(Clone, Debug)]
pub struct Reloads(mpsc::Sender<ReloadReply>);

/// What the runtime's owner hears.
#[derive(Debug)]
pub struct ReloadRequests(mpsc::Receiver<ReloadReply>);

/// Both ends; one request waits at a time.
pub fn reloads() -> (Reloads, ReloadRequests) {
    let (asks, hears) = mpsc::channel(1);
    (Reloads(asks), ReloadRequests(hears))
}

impl ReloadRequests {
    /// The next request; never, when nobody can ask any more.
    pub async fn next(&mut self) -> ReloadReply {
        match self.0.recv().await {
            Some(reply) => reply,
            None => std::future::pending().await,
        }
    }
}

pub(super) fn routes() -> Router<Admin> {
    Router::new().route("/admin/reload", post(reload))
}

async fn reload(State(admin): State<Admin>) -> Answer {
    let reloads = admin.0.access.reloads.as_ref().ok_or_else(impossible)?;
    let (reply, told) = oneshot::channel();
    reloads.0.try_send(reply).map_err(|_| busy())?;
    match told.await.map_err(|_| busy())? {
        Ok(reloaded) => {
            let summary = reloaded.to_string();
            let Reloaded { providers, chains, retry_budget, cache, after_restart } = reloaded;
            Ok(Json(json!({
                "summary": summary, "providers": providers, "chains": chains, "retry_budget": retry_budget,
                "cache": cache,
                "after_restart": after_restart
            })))
        }
        Err(error) => Err(rejected(&error)),
    }
}

fn rejected(error: &Error) -> Problem {
    let problems: Vec<_> = match error {
        Error::Config(wrong) => wrong.problems.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    };
    let detail = format!("{error}\nThe configuration before still holds; correct it and ask again.");
    let title = "The configuration was not taken";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration-rejected", title, detail)
        .with(json!({ "problems": problems }))
}

fn impossible() -> Problem {
    let detail = "This gateway is part of another program, which reloads it in its own way.";
    Problem::new(StatusCode::NOT_FOUND, "no-reload", "It cannot be reloaded from here", detail)
}

fn busy() -> Problem {
    let detail = "Another reload is under way, or the gateway is stopping: ask again in a moment.";
    Problem::new(StatusCode::CONFLICT, "reload-busy", "It cannot be reloaded just now", detail)
}
