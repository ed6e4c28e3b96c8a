//! What one event of a chat stream means.
//!
//! One borrowed pass over each chunk, without allocation for the ordinary ones; the event itself is forwarded
//! as it came. `[DONE]` counts only after a finish reason: without one the answer was cut and is never passed
//! off as complete.

use std::fmt;

use mainstay_actors::{
    call::FrameKind,
    error::{ErrorKind, ProviderError},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::providers::{errors, redact::Redactor, sse};

/// Follows one stream.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    secrets: Redactor,
    finished: bool,
}

impl Chunks {
    pub(super) fn new(secrets: Redactor) -> Self {
        Self { secrets, finished: false }
    }

    /// What the next event means; an event that is an error must not be forwarded.
    pub(super) fn kind_of(&mut self, event: &[u8]) -> Result<FrameKind, ProviderError> {
        let sse::Fields { name, data } = sse::fields(event);
        let data = data.as_deref().unwrap_or_default().trim_ascii();
        match (name, data) {
            (Some(b"error"), _) => Err(errors::inside(data, &self.secrets)),
            (Some(b"ping"), _) | (_, b"") => Ok(FrameKind::Ping),
            (_, b"[DONE]") => self.end(),
            _ => self.chunk(data),
        }
    }

    fn end(&self) -> Result<FrameKind, ProviderError> {
        if self.finished {
            return Ok(FrameKind::End);
        }
        Err(ProviderError::new(ErrorKind::Truncated, "the stream ended without a finish reason"))
    }

    fn chunk(&mut self, data: &[u8]) -> Result<FrameKind, ProviderError> {
        let chunk = read(data)?;
        if chunk.error.is_some() {
            return Err(errors::inside(data, &self.secrets));
        }
        let Choices { content, finished } = chunk.choices.unwrap_or_default();
        self.finished |= finished;
        Ok(if content { FrameKind::Content } else { FrameKind::Note })
    }
}

fn read(data: &[u8]) -> Result<Chunk, ProviderError> {
    let malformed = |problem: &dyn fmt::Display| {
        ProviderError::new(ErrorKind::Malformed, format!("a chunk of the stream is not JSON: {problem}"))
    };
    if data.first() != Some(&b'{') {
        return Err(malformed(&"expected an object"));
    }
    serde_json::from_slice(data).map_err(|e| malformed(&Place(e)))
}

/// Where JSON is wrong, without quoting it: it may hold the answer's text.
struct Place(serde_json::Error);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.0.line(), self.0.column())
    }
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Choices>,
    error: Option<IgnoredAny>,
}

/// What all choices of a chunk say together.
#[derive(Default)]
struct Choices {
    content: bool,
    finished: bool,
}

#[derive(Deserialize)]
struct Choice<'a> {
    delta: Option<Delta>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// Does it hold anything but the role?
#[derive(Default)]
struct Delta {
    content: bool,
}

#[derive(Deserialize, PartialEq)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Role,
    #[serde(other)]
    Content,
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de> Visitor<'de> for Choices {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of choices")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self, A::Error> {
        while let Some(choice) = seq.next_element::<Choice<'de>>()? {
            self.content |= choice.delta.is_some_and(|delta| delta.content);
            self.finished |= choice.finish_reason.is_some_and(is_filled);
        }
        Ok(self)
    }
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

fn is_filled(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "\"\"" | "[]" | "{}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind_of(data: &str) -> Result<FrameKind, ErrorKind> {
        Chunks::default().kind_of(format!("data: {data}\n\n").as_bytes()).map_err(|e| e.kind)
    }

    #[test]
    fn each_chunk_has_its_meaning() {
        use FrameKind::*;
        let delta =
            |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        let table = [
            (delta(r#"{"role":"assistant"}"#), Note),
            (delta(r#"{"role":"assistant","content":"","refusal":null,"tool_calls":[]}"#), Note),
            (delta("{}"), Note),
            (delta("null"), Note),
            (delta(r#"{"content":"\n\u00e4"}"#), Content),
            (delta(r#"{"role":"assistant","content":"hi"}"#), Content),
            (delta(r#"{"tool_calls":[{"index":0}]}"#), Content),
            (delta(r#"{"refusal":"no"}"#), Content),
            (delta(r#"{"reasoning_content":"hm"}"#), Content),
            (delta(r#"{"function_call":{"name":"f"}}"#), Content),
            (delta(r#"{"audio":{"id":"a"}}"#), Content),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.into(), Note),
            (r#"{"choices":[],"usage":{"total_tokens":3},"error":null}"#.into(), Note),
            ("{}".into(), Note),
            ("".into(), Ping),
        ];
        for (data, expected) in table {
            assert_eq!(kind_of(&data), Ok(expected), "{data}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_pings() {
        for event in [": keep-alive\n\n", "\n", "\r\n", "event: ping\ndata: {}\n\n"] {
            assert_eq!(Chunks::default().kind_of(event.as_bytes()).unwrap(), FrameKind::Ping); // PC18
        }
    }

    #[test]
    fn done_is_an_end_only_after_a_finish_reason() {
        let mut chunks = Chunks::default();
        let done = b"data: [DONE]\n\n";
        assert_eq!(chunks.kind_of(done).unwrap_err().kind, ErrorKind::Truncated); // RS6
        chunks.kind_of(b"data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n").unwrap();
        assert_eq!(chunks.kind_of(done).unwrap(), FrameKind::End);
    }

    #[test]
    fn errors_inside_a_stream_are_told_apart() {
        let error = r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#;
        assert_eq!(kind_of(error), Err(ErrorKind::RateLimited)); // PC12
        let named = b"event: error\ndata: {\"message\":\"m\",\"code\":\"server_error\"}\n\n";
        assert_eq!(Chunks::default().kind_of(named).unwrap_err().kind, ErrorKind::ServerError);
    }

    #[test]
    fn what_is_not_a_chunk_is_malformed_and_its_text_is_not_quoted() {
        for data in ["{oops", "[]", "hello", r#"{"choices":7}"#, r#"{"choices":["secret text"]}"#] {
            let error = Chunks::default().kind_of(format!("data: {data}\n\n").as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Malformed, "{data}");
            assert!(!error.message.contains("secret"), "{error}"); // SE4
        }
    }

    proptest! {
        #[test]
        fn hostile_events_never_panic(event in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Chunks::default().kind_of(&event);
        }
    }
}
