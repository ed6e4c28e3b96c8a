//! How the system is, for machines that decide by a status code and for people who read.
//!
//! Everything is read from what the actors publish; no actor is asked.

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use mainstay_actors::{chain::Chain, supervision::SlotState};
use serde_json::{Value, json};

use super::{Gateway, answer, dialect::Caller};

/// Does the process still work? If not, it should be restarted.
pub(super) async fn livez(State(gateway): State<Gateway>, RawQuery(query): RawQuery) -> Response {
    checked(vec![("supervision", is_up(&gateway))], query)
}

/// Should it get requests? Not while it drains. Degraded is still ready: it answers.
pub(super) async fn readyz(State(gateway): State<Gateway>, RawQuery(query): RawQuery) -> Response {
    let open = !gateway.0.ending.draining.is_cancelled();
    checked(vec![("supervision", is_up(&gateway)), ("accepting", open)], query)
}

fn is_up(gateway: &Gateway) -> bool {
    matches!(gateway.0.system.tree().state, SlotState::Up | SlotState::Starting)
}

/// The status is for machines; with `?verbose` there is a line per check for people.
fn checked(checks: Vec<(&str, bool)>, query: Option<String>) -> Response {
    let all = checks.iter().all(|(_, ok)| *ok);
    let line = |(name, ok): &(&str, bool)| {
        if *ok { format!("[+]{name} ok\n") } else { format!("[-]{name} failed\n") }
    };
    let wordy = !all || query.is_some_and(|query| query.split('&').any(|part| part == "verbose"));
    let text = if wordy { checks.iter().map(line).collect() } else { "ok\n".to_string() };
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

/// Prometheus' text format.
pub(super) async fn metrics(State(gateway): State<Gateway>, caller: Extension<Caller>) -> Response {
    let Some(handle) = &gateway.0.metrics else {
        let message = "No metrics recorder was given to this gateway by its host.";
        return answer::Refusal::new(StatusCode::NOT_FOUND, "no_recorder", message).to(&caller);
    };
    let mut response = handle.render().into_response();
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

/// Everything at once.
pub(super) async fn status(State(gateway): State<Gateway>) -> Response {
    answer::json_response(StatusCode::OK, &whole_status(&gateway))
}

pub(super) fn whole_status(gateway: &Gateway) -> Value {
    let system = &gateway.0.system;
    let now = system.commons().now();
    let uptime = system.commons().clock.unix_time().as_secs().saturating_sub(gateway.0.started_unix);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "boot": system.events().boot(),
        "uptime_seconds": uptime,
        "draining": gateway.0.ending.draining.is_cancelled(),
        "mode": *system.mode().snapshot(),
        "retries_left": system.commons().retries.left(now),
        "providers": system.providers().map(|desk| desk.status(now)).collect::<Vec<_>>(),
        "chains": system.chains().map(|chain| described(&chain)).collect::<Vec<_>>(),
        "tree": system.tree(),
    })
}

fn described(chain: &Chain) -> Value {
    let targets = chain.targets().iter().map(|target| format!("{}/{}", target.desk.name(), target.model));
    json!({ "name": chain.name(), "targets": targets.collect::<Vec<_>>() })
}
