//! The list of models, which are the chains, in either vendor's form.
//!
//! Both official SDKs ask at the same address; who asks decides what the answer looks like.

use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use mainstay_actors::chain::Chain;
use serde_json::{Value, json};

use super::{
    Gateway, answer,
    api::unknown_model,
    dialect::{Caller, Dialect},
};

/// All of them, on one page.
pub(super) async fn all(State(gateway): State<Gateway>, caller: Extension<Caller>) -> Response {
    let chains = gateway.0.system.chains();
    let data: Vec<_> = chains.map(|chain| described(&gateway, &chain, caller.dialect)).collect();
    let list = match caller.dialect {
        Dialect::OpenAi => json!({ "object": "list", "data": data }),
        Dialect::Anthropic => {
            let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
            let (first, last) = (id(data.first()), id(data.last()));
            json!({ "data": data, "has_more": false, "first_id": first, "last_id": last })
        }
    };
    answer::json_response(StatusCode::OK, &list)
}

pub(super) async fn one(
    State(gateway): State<Gateway>,
    caller: Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    // What is not even text is no chain's name either.
    let id = id.map_or_else(|_| "?".into(), |Path(id)| id);
    match gateway.0.system.chain(&id) {
        Some(chain) => answer::json_response(StatusCode::OK, &described(&gateway, &chain, caller.dialect)),
        None => unknown_model(&gateway, &id).to(&caller),
    }
}

fn described(gateway: &Gateway, chain: &Chain, dialect: Dialect) -> Value {
    let (id, started) = (chain.name(), gateway.0.started_unix);
    match dialect {
        Dialect::OpenAi => json!({ "id": id, "object": "model", "created": started, "owned_by": "mainstay" }),
        Dialect::Anthropic => json!({
            "type": "model",
            "id": id,
            "display_name": id,
            "created_at": Timestamp::from_second(started as i64).unwrap_or_default(),
            "lifecycle": "active",
        }),
    }
}
