//! Finds the few members of a request that matter, and forwards the rest as it came.
//!
//! One pass over the JSON on the way in; on the way out at most one splice, which puts the provider's own
//! model in. Whether the other members make sense is the provider's business, not ours.

use std::{fmt, ops::Range};

use bytes::Bytes;
use mainstay_actors::call::{Api, Request};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    anthropic, openai,
    refusal::{BadRequest, Member, Wrong, explain},
};

/// A request, and the model its caller asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The value of `model`: for a gateway, the name of a chain.
    pub model: String,
    /// The request, ready to be sent.
    pub request: Request,
}

/// Reads a request for `api`. Members that are not looked at are untouched, also where they are wrong.
pub fn read(api: Api, body: Bytes) -> Result<Asked, BadRequest> {
    let form = match api {
        Api::Chat => &openai::CHAT,
        Api::Messages => &anthropic::MESSAGES,
        Api::Responses => &openai::RESPONSES,
        Api::Embeddings => &openai::EMBEDDINGS,
    };
    let Found { model, at, stream, max_tokens } = form.find(&body).map_err(form.words)?;
    Ok(Asked { model, request: Request { max_tokens, ..Request::new(body, at, stream).api(api) } })
}

/// A number, where that is what it is: whatever else stands there is for the provider to refuse.
pub(super) fn whole(raw: Option<&RawValue>) -> Option<u64> {
    raw?.get().parse().ok()
}

/// How the requests of one API are read.
pub(super) struct Form {
    /// Reads the members that are looked at; none of them may stand twice, for the provider may take the
    /// other one.
    pub(super) read: for<'a> fn(&'a str) -> serde_json::Result<Head<'a>>,
    /// The same members, to tell what is wrong with them.
    pub(super) members: &'static [Member],
    /// Says so as the vendor would.
    pub(super) words: fn(Wrong) -> BadRequest,
}

/// What matters of every request.
pub(super) struct Head<'a> {
    pub(super) model: &'a RawValue,
    pub(super) stream: bool,
    /// How many tokens the answer may have; what is no whole number says nothing.
    pub(super) max_tokens: Option<u64>,
}

struct Found {
    model: String,
    at: Range<usize>,
    stream: bool,
    max_tokens: Option<u64>,
}

impl Form {
    fn find(&self, body: &[u8]) -> Result<Found, Wrong> {
        let text = std::str::from_utf8(body).map_err(|e| Wrong::Body(format!("not UTF-8: {e}")))?;
        if !text.trim_start().starts_with('{') {
            return Err(Wrong::Body("expected an object at line 1 column 1".into()));
        }
        let explained = |e| explain(text, &e, self.members);
        let Head { model: raw, stream, max_tokens } = (self.read)(text).map_err(explained)?;
        let model: String = serde_json::from_str(raw.get()).map_err(explained)?;
        if model.is_empty() {
            return Err(Wrong::Missing("model"));
        }
        Ok(Found { model, at: range_of(raw, text), stream, max_tokens })
    }
}

/// `body` with `model` in place of what stands at `at`; the same bytes when it stands there already.
///
/// # Panics
/// When `at` lies outside `body`.
pub fn with_model(body: &Bytes, at: Range<usize>, model: &str) -> Bytes {
    splice(body, at, &quoted(model))
}

/// What to send for `request`: with the provider's `model`, and asking for a stream exactly if
/// `request.stream` says so, whatever the body said.
pub(super) fn outgoing(request: &Request, model: &str) -> Result<Bytes, String> {
    if request.body.get(request.model.clone()).is_none() {
        return Err("the model's place lies outside the body".into());
    }
    let body = with_model(&request.body, request.model.clone(), model);
    if request.stream == request.body_streams { Ok(body) } else { with_stream(&body, request.stream) }
}

/// Slow, but only for requests whose body says otherwise than how they are sent.
fn with_stream(body: &Bytes, stream: bool) -> Result<Bytes, String> {
    #[derive(Deserialize)]
    struct Stream<'a> {
        #[serde(borrow, default, deserialize_with = "as_it_stands")]
        stream: Option<&'a RawValue>,
    }
    let text = std::str::from_utf8(body).map_err(|e| format!("the body is not UTF-8: {e}"))?;
    let found: Stream<'_> =
        serde_json::from_str(text).map_err(|e| format!("the body is not a JSON object: {e}"))?;
    let value = stream.to_string();
    match (found.stream, text.find('{')) {
        (Some(raw), _) => Ok(splice(body, range_of(raw, text), &value)),
        (None, Some(brace)) => Ok(splice(body, brace + 1..brace + 1, &format!(r#""stream":{value},"#))),
        (None, None) => Err("the body is not a JSON object".into()),
    }
}

/// Tells a `null` from nothing.
fn as_it_stands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn splice(body: &Bytes, at: Range<usize>, value: &str) -> Bytes {
    if body[at.clone()] == *value.as_bytes() {
        return body.clone();
    }
    let mut spliced = Vec::with_capacity(body.len() - at.len() + value.len());
    spliced.extend_from_slice(&body[..at.start]);
    spliced.extend_from_slice(value.as_bytes());
    spliced.extend_from_slice(&body[at.end..]);
    spliced.into()
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn range_of(raw: &RawValue, text: &str) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + raw.get().len()
}

/// A non-empty array of objects, looked at and left where it is.
pub(super) struct Messages;

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self)
    }
}

impl<'de> Visitor<'de> for Messages {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a non-empty array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        seq.next_element::<Object>()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        while seq.next_element::<Object>()?.is_some() {}
        Ok(self)
    }
}

struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}
