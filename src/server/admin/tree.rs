//! The supervision tree: who there is, how they are, and why they last ended.

use axum::{Json, Router, extract::State, routing::get};
use mainstay_actors::supervision::tree::TreeSnapshot;

use super::Admin;

pub(super) fn routes() -> Router<Admin> {
    Router::new().route("/admin/tree", get(tree))
}

async fn tree(State(admin): State<Admin>) -> Json<TreeSnapshot> {
    Json(admin.0.gateway.0.system.tree())
}
