//! What the policies must know of an answer, asked of each API in the same way.
//!
//! One borrowed pass over each answer or event; the bytes themselves are forwarded as they came.

use std::fmt;

use mainstay_actors::{
    call::{Api, Finish, FrameKind, Usage},
    error::{ErrorKind, ProviderError},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::redact::Redactor;

/// Looks at the answers of one API. A value of it follows one stream.
pub(super) trait Dialect: Default + Send + 'static {
    /// What a whole answer says; or the error that it is in an answer's clothes.
    fn whole(body: &[u8], secrets: &Redactor) -> Result<Whole, ProviderError>;

    /// What the next event of the stream means. One that is an error must not be forwarded.
    fn event(&mut self, event: &[u8], secrets: &Redactor) -> Result<Meaning, ProviderError>;
}

/// What a whole answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    /// The tokens it took, if it tells them.
    pub(super) usage: Option<Usage>,
    /// Why it ends where it does.
    pub(super) finish: Option<Finish>,
}

/// What one event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) kind: FrameKind,
    /// The tokens used so far, where it tells them.
    pub(super) usage: Option<Usage>,
    /// Why the answer ends, where it tells it.
    pub(super) finish: Option<Finish>,
}

impl From<FrameKind> for Meaning {
    fn from(kind: FrameKind) -> Self {
        Self { kind, usage: None, finish: None }
    }
}

/// Reads a whole answer, of which nothing is known yet.
pub(super) fn answer<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    is_object(body).then(|| serde_json::from_slice(body).ok()).flatten()
}

/// Reads the data of an event.
pub(super) fn data<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, ProviderError> {
    let wrong =
        |problem: &dyn fmt::Display| malformed(format!("an event of the stream is not JSON: {problem}"));
    if !is_object(data) {
        return Err(wrong(&"expected an object"));
    }
    serde_json::from_slice(data).map_err(|e| wrong(&Place(e)))
}

fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Reads what a vendor says about usage; what is said otherwise is not said.
pub(super) fn usage<T: DeserializeOwned + Into<Usage>>(raw: Option<&RawValue>) -> Option<Usage> {
    serde_json::from_str::<T>(raw?.get()).ok().map(Into::into)
}

/// Is it this word, as every vendor writes it?
pub(super) fn is_word(value: &RawValue, word: &str) -> bool {
    value.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(word)
}

/// What a vendor's reason for the end means, by its words; one that is not among them is no good end.
pub(super) fn finish(reason: &RawValue, words: &[(&str, Finish)]) -> Finish {
    words.iter().find(|(word, _)| is_word(reason, word)).map_or(Finish::CutShort, |(_, finish)| *finish)
}

/// Does it hold anything?
pub(super) fn is_filled(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "\"\"" | "[]" | "{}")
}

/// A provider was asked for what it does not offer.
pub(super) fn unsupported(api: Api, stream: bool) -> ProviderError {
    let asked = match (api, stream) {
        (Api::Chat, _) => "chat completions",
        (Api::Messages, _) => "messages",
        (Api::Responses, _) => "responses",
        (Api::Embeddings, false) => "embeddings",
        (Api::Embeddings, true) => "embeddings as a stream",
    };
    ProviderError::new(ErrorKind::Unsupported, format!("this provider offers no {asked}"))
}

pub(super) fn malformed(problem: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorKind::Malformed, problem)
}

/// The end of a stream that did not say why it ends.
pub(super) fn truncated() -> ProviderError {
    ProviderError::new(ErrorKind::Truncated, "the stream ended without a finish reason")
}

/// Where JSON is wrong, without quoting it: it may hold the answer's text.
struct Place(serde_json::Error);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.0.line(), self.0.column())
    }
}

/// A delta: does it hold anything but what it is?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) content: bool,
}

#[derive(Deserialize, PartialEq)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Role,
    Type,
    #[serde(other)]
    Content,
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Delta {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a delta object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((member, value)) = map.next_entry::<Member, &'de RawValue>()? {
            self.content |= member == Member::Content && is_filled(value);
        }
        Ok(self)
    }
}
