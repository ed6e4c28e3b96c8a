//! How the cache is, what it saves, and orders to forget something of it.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use mainstay_actors::cache::{
    Cache,
    control::CachePolicy,
    key::{BadKey, Scope},
    marks::Purge,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Admin, Answer, Problem,
    order::{bad, read},
};
use crate::server::caching::{is_namespace, is_tag};

pub(super) fn routes() -> Router<Admin> {
    Router::new().route("/admin/cache", get(status)).route("/admin/cache/purge", post(purge))
}

/// What is to be forgotten: exactly one of the first four.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    all: Option<bool>,
    namespace: Option<Arc<str>>,
    tag: Option<Arc<str>>,
    key: Option<String>,
    /// Whose namespace or tag; nothing: that of callers who are not told apart.
    tenant: Option<Arc<str>>,
}

async fn status(State(admin): State<Admin>) -> Answer {
    let cache = cache(&admin)?;
    // Derived from plain data: it cannot fail.
    let mut status = serde_json::to_value(cache.status()).unwrap_or_default();
    status["policy"] = shown(&cache.policy());
    Ok(Json(status))
}

/// The answer tells who has it for good; in this process it holds at once.
async fn purge(State(admin): State<Admin>, body: Body) -> Answer {
    let cache = cache(&admin)?;
    let what = read::<Order>(body).await?.what()?;
    tracing::info!(%what, "an operator purges the cache");
    Ok(Json(serde_json::to_value(cache.purge(what).await).unwrap_or_default()))
}

fn cache(admin: &Admin) -> Result<&Cache, Problem> {
    admin.0.gateway.0.system.cache().ok_or_else(|| {
        let detail = "This gateway keeps no answers: `cache` is false in its configuration.";
        Problem::new(StatusCode::NOT_FOUND, "no-cache", "There is no cache", detail)
    })
}

impl Order {
    fn what(self) -> Result<Purge, Problem> {
        let Self { all, namespace, tag, key, tenant } = self;
        let whose = tenant.clone().unwrap_or_default();
        let what = match (all, namespace, tag, key) {
            (Some(true), None, None, None) => Purge::All,
            (None, Some(namespace), None, None) if is_namespace(&namespace) => {
                Purge::Namespace(Scope { tenant: whose, namespace })
            }
            (None, None, Some(tag), None) if is_tag(&tag) => Purge::Tag { tenant: whose, tag },
            (None, None, None, Some(key)) => {
                Purge::Key(key.parse().map_err(|error: BadKey| bad(format!("`key`: {error}.")))?)
            }
            (None, Some(_), None, None) => return Err(bad("No namespace has such a name.".into())),
            (None, None, Some(_), None) => return Err(bad("No answer has such a tag.".into())),
            _ => return Err(bad("Give exactly one of `all` (true), `namespace`, `tag` and `key`.".into())),
        };
        match what {
            Purge::All | Purge::Key(_) if tenant.is_some() => {
                Err(bad("`tenant` belongs to `namespace` or `tag`: leave it out.".into()))
            }
            what => Ok(what),
        }
    }
}

fn shown(policy: &CachePolicy) -> Value {
    let CachePolicy { ttl, stale, stale_if_error, negative_ttl, max_entry, sampled, tool_calls, paced } =
        policy;
    json!({
        "ttl_seconds": ttl.as_secs_f64(),
        "stale_seconds": stale.as_secs_f64(),
        "stale_if_error_seconds": stale_if_error.as_secs_f64(),
        "negative_ttl_seconds": negative_ttl.as_secs_f64(),
        "max_entry_bytes": max_entry,
        "sampled": sampled,
        "tool_calls": tool_calls,
        "paced": paced,
    })
}
