//! How an order is written: a short JSON object, every member of which is known.

use axum::{body::Body, http::StatusCode};
use serde::de::DeserializeOwned;

use super::Problem;
use crate::server::api;

/// An order is short.
const MAX_BODY: usize = 16 << 10;

/// No body is an order without further words.
pub(super) async fn read<T: Default + DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let body = api::read(body, MAX_BODY).await?;
    match body.is_empty() {
        true => Ok(T::default()),
        false => serde_json::from_slice(&body).map_err(|error| bad(format!("The body: {error}."))),
    }
}

pub(super) fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-order", "The order cannot be understood", detail)
}
