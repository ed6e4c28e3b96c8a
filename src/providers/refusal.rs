//! Finds out what is wrong with a request, for each vendor to put into its own words.
//!
//! Only wrong requests come here, so this may read them again.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

/// A body that is no request.
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

/// A member that is looked at.
pub(super) struct Member {
    pub(super) name: &'static str,
    /// What [`kind_of`] must say about it, or one of the constants below.
    pub(super) expected: &'static str,
    pub(super) required: bool,
}

pub(super) const OBJECTS: &str = "an array of objects";
pub(super) const ANYTHING: &str = "anything";

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is no JSON object, or one that cannot be understood.
    Body(String),
    Missing(&'static str),
    Kind {
        member: &'static str,
        /// Which of its items.
        at: Option<usize>,
        expected: &'static str,
        found: &'static str,
    },
    Empty(&'static str),
}

/// What is wrong with `text`, of which reading these members failed with `error`.
pub(super) fn explain(text: &str, error: &serde_json::Error, members: &[Member]) -> Wrong {
    if !error.is_data() {
        return Wrong::Body(error.to_string());
    }
    let Ok(found) = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(text) else {
        return Wrong::Body(format!("{error}; expected an object"));
    };
    let wrong = members.iter().find_map(|member| member.fault(found.get(member.name).copied()));
    wrong.unwrap_or_else(|| Wrong::Body(error.to_string()))
}

impl Member {
    fn fault(&self, value: Option<&RawValue>) -> Option<Wrong> {
        let &Self { name, expected, required } = self;
        let Some(value) = value else {
            return required.then_some(Wrong::Missing(name));
        };
        match (expected, kind_of(value.get())) {
            (OBJECTS, "an array") => bad_items(name, value.get()),
            (_, "null") if !required => None,
            (expected, found) if expected == found || expected == ANYTHING => None,
            (_, found) => Some(Wrong::Kind { member: name, at: None, expected, found }),
        }
    }
}

fn bad_items(member: &'static str, array: &str) -> Option<Wrong> {
    let items: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    let kinds = items.iter().map(|item| kind_of(item.get()));
    let wrong = kinds.enumerate().find(|(_, kind)| *kind != "an object");
    match wrong {
        Some((i, found)) => Some(Wrong::Kind { member, at: Some(i), expected: "an object", found }),
        None => items.is_empty().then_some(Wrong::Empty(member)),
    }
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
