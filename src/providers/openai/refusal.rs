//! Tells the caller what is wrong with a request, in the vendor's words.
//!
//! Only wrong requests come here, so this may read them again.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

/// A body that is no chat request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// What is wrong and where, for people.
    pub message: String,
    /// The member at fault.
    pub param: Option<&'static str>,
    /// The vendor's stable code.
    pub code: Option<&'static str>,
}

/// Says what is wrong as the vendor would.
pub(super) fn explain(text: &str, error: &serde_json::Error) -> BadRequest {
    if !error.is_data() {
        return malformed(error.to_string());
    }
    let Ok(members) = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(text) else {
        return malformed(format!("{error}; expected an object"));
    };
    let wrong = [("model", "a string"), ("messages", "an array of objects"), ("stream", "a boolean")]
        .into_iter()
        .find_map(|(name, expected)| fault(name, expected, members.get(name).copied()));
    wrong.unwrap_or_else(|| malformed(error.to_string()))
}

fn fault(name: &'static str, expected: &str, value: Option<&RawValue>) -> Option<BadRequest> {
    let Some(value) = value else {
        return (name != "stream").then(|| missing(name));
    };
    let found = kind_of(value.get());
    match (name, found) {
        ("model", "a string") | ("stream", "a boolean" | "null") => None,
        ("messages", "an array") => bad_messages(value.get()),
        _ => Some(BadRequest {
            message: format!("Invalid type for '{name}': expected {expected}, but got {found} instead."),
            param: Some(name),
            code: Some("invalid_type"),
        }),
    }
}

fn bad_messages(array: &str) -> Option<BadRequest> {
    let items: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    let wrong =
        items.iter().map(|item| kind_of(item.get())).enumerate().find(|(_, kind)| *kind != "an object");
    let (message, code) = match wrong {
        Some((i, found)) => (
            format!("Invalid type for 'messages[{i}]': expected an object, but got {found} instead."),
            "invalid_type",
        ),
        None if items.is_empty() => {
            ("Invalid 'messages': empty array. Expected at least one message.".into(), "empty_array")
        }
        None => return None,
    };
    Some(BadRequest { message, param: Some("messages"), code: Some(code) })
}

fn kind_of(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

pub(super) fn missing(name: &'static str) -> BadRequest {
    BadRequest {
        message: format!("Missing required parameter: '{name}'."),
        param: Some(name),
        code: Some("missing_required_parameter"),
    }
}

pub(super) fn malformed(problem: String) -> BadRequest {
    let message = format!("We could not parse the JSON body of your request: {problem}.");
    BadRequest { message, param: None, code: None }
}
