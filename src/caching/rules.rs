//! What of a request counts, and which requests are not kept: tables, because vendors add members every month.
//!
//! A member that stands in no table counts, and does no harm. `docs/caching.md` gives the reasons row by row.

use mainstay_actors::{call::Api, ports::NotKept};

use super::canonical::Value;

/// Whether nothing happens at the provider because of this value.
type Quiet = fn(Value<'_>) -> bool;

/// The rules of one API.
pub(super) struct Dialect {
    /// Its name in the digest, with the version that is spoken here.
    pub(super) dialect: &'static str,
    /// Members that change nothing in the answer.
    idle: &'static [&'static str],
    /// What each of these members must be, for nothing to happen at the provider; `null` stands for none.
    quiet: &'static [(&'static str, Quiet)],
    /// Has chance a part in its answers?
    chance: bool,
}

const CHAT: Dialect = Dialect {
    dialect: "openai chat v1",
    idle: &["stream", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"],
    quiet: &[
        ("store", not_true),
        ("tools", run_by_the_caller),
        ("modalities", only_text),
        ("web_search_options", absent),
        ("search_parameters", absent),
        ("data_sources", absent),
        ("plugins", absent),
    ],
    chance: true,
};

const MESSAGES: Dialect = Dialect {
    dialect: "anthropic messages v1",
    idle: &["stream"],
    quiet: &[("tools", custom), ("mcp_servers", none), ("container", absent)],
    chance: true,
};

const RESPONSES: Dialect = Dialect {
    dialect: "openai responses v1",
    // The answer repeats all others.
    idle: &["stream"],
    quiet: &[
        // It is kept unless told otherwise.
        ("store", |store| store == Value::FALSE),
        ("background", not_true),
        ("previous_response_id", absent),
        ("conversation", absent),
        ("prompt", absent),
        ("tools", run_by_the_caller),
    ],
    chance: true,
};

const EMBEDDINGS: Dialect =
    Dialect { dialect: "openai embeddings v1", idle: &["user"], quiet: &[], chance: false };

pub(super) fn of(api: Api) -> &'static Dialect {
    match api {
        Api::Chat => &CHAT,
        Api::Messages => &MESSAGES,
        Api::Responses => &RESPONSES,
        Api::Embeddings => &EMBEDDINGS,
    }
}

impl Dialect {
    /// Is the answer another one when this member is?
    pub(super) fn counts(&self, name: Value<'_>) -> bool {
        !self.idle.iter().any(|idle| name.is_text(idle))
    }

    /// May the answer be kept? `sampled` says that chance is no reason against it.
    pub(super) fn judge(&self, body: Value<'_>, sampled: bool) -> Result<(), NotKept> {
        if !self.quiet.iter().all(|(name, is_quiet)| is_quiet(body.get(name))) {
            return Err(NotKept::SideEffects);
        }
        if self.chance && !sampled && body.get("temperature") != Value::ZERO {
            return Err(NotKept::Sampled);
        }
        Ok(())
    }
}

fn absent(value: Value<'_>) -> bool {
    value == Value::NULL
}

fn not_true(value: Value<'_>) -> bool {
    absent(value) || value == Value::FALSE
}

fn none(value: Value<'_>) -> bool {
    all(value, |_| false)
}

fn only_text(modalities: Value<'_>) -> bool {
    all(modalities, |modality| modality.is_text("text"))
}

fn run_by_the_caller(tools: Value<'_>) -> bool {
    let is_known = |kind: Value<'_>| kind.is_text("function") || kind.is_text("custom");
    all(tools, |tool| is_known(tool.get("type")))
}

fn custom(tools: Value<'_>) -> bool {
    let is_custom = |kind: Value<'_>| absent(kind) || kind.is_text("custom");
    all(tools, |tool| tool.is_object() && is_custom(tool.get("type")))
}

/// Of a list that need not be there.
fn all(list: Value<'_>, holds: impl FnMut(Value<'_>) -> bool) -> bool {
    absent(list) || list.items().is_some_and(|mut items| items.all(holds))
}
