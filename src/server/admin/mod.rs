//! The admin API: what an operator sees and orders, on a listener of its own.
//!
//! Each subject has a file with its routes, and its line in [`SUBJECTS`]. Who may ask is decided by [`access`]
//! before any of them; errors have the one form of [`problem`] (RFC 9457). What an order does is the actors'
//! business.

mod access;
mod cache;
mod health;
mod order;
mod problem;
mod providers;
mod reload;
mod tree;

pub use access::AdminAccess;
pub use reload::{ReloadReply, ReloadRequests, Reloads, reloads};

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRef, Path, rejection::PathRejection},
    http::{Method, StatusCode, Uri},
    middleware::from_fn_with_state,
};
use serde_json::Value;

use super::{
    Gateway, accept,
    listener::{Ending, Post},
};
use problem::Problem;

/// Where further routes have their place.
const SUBJECTS: [fn() -> Router<Admin>; 5] =
    [cache::routes, health::routes, providers::routes, reload::routes, tree::routes];

/// Operators are few.
const CONNECTIONS: usize = 64;

/// How long an order may take to be carried out: a crashed actor is back long before.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all routes share.
#[derive(Clone)]
pub(super) struct Admin(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    access: AdminAccess,
}

impl FromRef<Admin> for Gateway {
    fn from_ref(admin: &Admin) -> Self {
        admin.0.gateway.clone()
    }
}

/// What a route answers.
type Answer = Result<Json<Value>, Problem>;

/// A name in a path; what is no text is the name of nothing.
type Name = Result<Path<String>, PathRejection>;

impl Admin {
    pub(super) fn new(gateway: Gateway, access: AdminAccess) -> Self {
        Self(Arc::new(Inner { gateway, access }))
    }

    pub(super) fn post(&self) -> Post {
        let limits = accept::Limits::new(CONNECTIONS);
        // It ends after the public listener, which needs no more of it then.
        Post { path: "root/server/admin", router: self.router(), limits, ending: Ending::default() }
    }

    fn router(&self) -> Router {
        let routes = SUBJECTS.iter().fold(Router::new(), |all, routes| all.merge(routes()));
        routes
            .method_not_allowed_fallback(wrong_method)
            .fallback(unknown_route)
            .layer(from_fn_with_state(self.clone(), access::guard))
            .with_state(self.clone())
    }
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible on {}: see the `allow` header.", uri.path());
    let title = "This method is not possible here";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title, detail)
}

async fn unknown_route(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(128).collect();
    let detail = format!("There is nothing at {path}. Begin with GET /admin/providers.");
    Problem::new(StatusCode::NOT_FOUND, "unknown-route", "There is nothing at this address", detail)
}
