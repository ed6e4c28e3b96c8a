//! How the providers are, and orders to take one out or to let it back in.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use mainstay_actors::provider::{Circuit, ProviderDesk, actor::Order};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Admin, Answer, Name, PATIENCE, Problem,
    order::{bad, read},
};

/// The longest isolation that ends by itself.
const LONGEST: u64 = 30 * 24 * 3600;

/// A reason stands in a header.
const LONGEST_REASON: usize = 200;

pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/admin/providers", get(all))
        .route("/admin/providers/{name}", get(one))
        .route("/admin/providers/{name}/isolate", post(isolate))
        .route("/admin/providers/{name}/close", post(close))
}

/// What is to be taken out, for how long, and why.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Isolation {
    seconds: Option<u64>,
    reason: Option<String>,
    model: Option<String>,
}

/// Letting calls pass again takes no more words.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closing {}

async fn all(State(admin): State<Admin>) -> Json<Value> {
    let system = &admin.0.gateway.0.system;
    let providers: Vec<_> = system.providers().map(|desk| admin.shown(&desk)).collect();
    Json(json!({ "mode": system.mode().now(), "providers": providers }))
}

async fn one(State(admin): State<Admin>, name: Name) -> Answer {
    Ok(Json(admin.shown(&*admin.desk(name)?)))
}

async fn isolate(State(admin): State<Admin>, name: Name, body: Body) -> Answer {
    let desk = admin.desk(name)?;
    let Isolation { seconds, reason, model } = read(body).await?;
    let time = seconds.map(checked_time).transpose()?;
    let until = time.map(|time| admin.0.gateway.0.system.commons().now() + time);
    let reason = checked_reason(reason.as_deref().unwrap_or("an operator's order"))?;
    let model = model.map(|model| circuit(&desk, &model)).transpose()?;
    admin.carry_out(&desk, Order::Isolate { model, until, reason }).await
}

async fn close(State(admin): State<Admin>, name: Name, body: Body) -> Answer {
    let desk = admin.desk(name)?;
    let Closing {} = read(body).await?;
    admin.carry_out(&desk, Order::Close).await
}

impl Admin {
    fn shown(&self, desk: &ProviderDesk) -> Value {
        // Derived from plain data: it cannot fail.
        serde_json::to_value(desk.status(self.0.gateway.0.system.commons().now())).unwrap_or_default()
    }

    fn desk(&self, name: Name) -> Result<Arc<ProviderDesk>, Problem> {
        let name = name.map_or_else(|_| "?".into(), |path| path.0);
        let system = &self.0.gateway.0.system;
        system.provider(&name).ok_or_else(|| {
            let known = system.providers().map(|desk| desk.name().clone());
            unknown("provider", &name, &known.collect::<Vec<_>>())
        })
    }

    /// The answer is how the provider is when the order has been carried out.
    async fn carry_out(&self, desk: &ProviderDesk, order: Order) -> Answer {
        match desk.carry_out(order, PATIENCE).await {
            Ok(()) => Ok(Json(self.shown(desk))),
            Err(error) => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-carried-out",
                "The provider's actor did not answer",
                format!(
                    "{error}. See GET /admin/providers/{} what holds, and give the order again.",
                    desk.name()
                ),
            )),
        }
    }
}

fn circuit(desk: &ProviderDesk, model: &str) -> Result<Arc<Circuit>, Problem> {
    let models = desk.models();
    let is_it = |circuit: &&Arc<Circuit>| circuit.model().is_some_and(|name| **name == *model);
    models.iter().find(is_it).cloned().ok_or_else(|| {
        let known = models.iter().filter_map(|circuit| circuit.model().cloned());
        unknown("model", model, &known.collect::<Vec<_>>())
    })
}

fn unknown(what: &str, asked: &str, known: &[Arc<str>]) -> Problem {
    let (slug, shown) = (format!("unknown-{what}"), asked.chars().take(64).collect::<String>());
    let detail = format!("There is no {what} `{shown}`. Name one of: {}.", known.join(", "));
    Problem::new(StatusCode::NOT_FOUND, &slug, "There is nothing of this name", detail)
        .with(json!({ "known": known }))
}

fn checked_time(seconds: u64) -> Result<Duration, Problem> {
    match (1..=LONGEST).contains(&seconds) {
        true => Ok(Duration::from_secs(seconds)),
        false => {
            Err(bad(format!("`seconds` must be 1 to {LONGEST}; leave it out to take out without an end.")))
        }
    }
}

fn checked_reason(reason: &str) -> Result<Arc<str>, Problem> {
    let fits = (1..=LONGEST_REASON).contains(&reason.chars().count()) && !reason.contains(char::is_control);
    match fits {
        true => Ok(reason.into()),
        false => Err(bad(format!("`reason` must be one line of 1 to {LONGEST_REASON} characters."))),
    }
}
