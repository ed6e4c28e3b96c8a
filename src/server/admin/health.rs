//! The public listener's checks, also while that one drains and takes no connection any more.

use axum::{Router, routing::get};

use super::Admin;
use crate::server::health;

pub(super) fn routes() -> Router<Admin> {
    Router::new().route("/livez", get(health::livez)).route("/readyz", get(health::readyz))
}
