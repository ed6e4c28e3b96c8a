//! A whole answer of the messages dialect: read as a provider gave it, written as its caller expects it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::request_out::{Block, block};
use crate::providers::translate::{
    json::{Element, Fault, Text, each},
    out::bytes,
    words::{Call, End, Input, Part, Said, Tokens},
};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_details: Option<StopDetails<'a>>,
    #[serde(default)]
    usage: Usage,
}

/// A block of any type.
#[derive(Deserialize)]
pub(super) struct Piece<'a> {
    #[serde(borrow)]
    pub(super) r#type: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
}

impl<'a> Element<'a> for Piece<'a> {
    const EXPECTED: &'static str = "expected a block";
}

#[derive(Deserialize)]
pub(super) struct StopDetails<'a> {
    #[serde(borrow)]
    pub(super) explanation: Option<Text<'a>>,
}

/// What an answer took, in this dialect's words; in a stream, what has changed of it.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Usage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Usage {
    /// What is known after this, where `before` was known.
    pub(super) fn after(self, before: Tokens) -> Tokens {
        Tokens {
            input: self.input_tokens.unwrap_or(before.input),
            cached: self.cache_read_input_tokens.unwrap_or(before.cached),
            cache_written: self.cache_creation_input_tokens.unwrap_or(before.cache_written),
            output: self.output_tokens.unwrap_or(before.output),
        }
    }
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: Some(tokens.input),
            cache_creation_input_tokens: Some(tokens.cache_written),
            cache_read_input_tokens: Some(tokens.cached),
            output_tokens: Some(tokens.output),
        }
    }
}

pub(crate) fn read(body: &[u8]) -> Result<Said<'_>, Fault> {
    let message: Message<'_> =
        serde_json::from_slice(body).map_err(|_| Fault::shape("not an answer of the dialect"))?;
    let reason = message.stop_reason.ok_or_else(|| Fault::shape("no stop reason"))?;
    let mut parts = Vec::new();
    each(message.content, |piece| part(piece).map(|part| parts.extend(part)))?;
    let explanation = message.stop_details.and_then(|details| details.explanation);
    Ok(Said {
        id: message.id.map_or("".into(), |id| id.0),
        model: message.model.map_or("".into(), |model| model.0),
        parts,
        refusal: explanation.map(|text| text.0),
        end: end(&reason.0)?,
        tokens: message.usage.after(Tokens::default()),
    })
}

fn part(piece: Piece<'_>) -> Result<Option<Part<'_>>, Fault> {
    let missing = || Fault::shape("a block that is not whole");
    Ok(match &*piece.r#type.0 {
        "text" => Some(Part::Text(piece.text.ok_or_else(missing)?.0)),
        "tool_use" => Some(Part::Call(Call {
            id: piece.id.ok_or_else(missing)?.0,
            name: piece.name.ok_or_else(missing)?.0,
            input: piece.input.and_then(Input::new).ok_or_else(missing)?,
        })),
        "thinking" | "redacted_thinking" => None,
        _ => return Err(unknown()),
    })
}

/// Nothing that leads to one was asked for.
pub(super) fn unknown() -> Fault {
    Fault::unsupported("a block of the answer of an unknown type")
}

/// A pause is the end of an answer that is not whole: nobody can ask it to go on in the other dialect.
pub(super) fn end(reason: &str) -> Result<End, Fault> {
    match reason {
        "end_turn" | "stop_sequence" => Ok(End::Done),
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => Ok(End::Length),
        "tool_use" => Ok(End::Calls),
        "refusal" => Ok(End::Refused),
        _ => Err(Fault::shape("an unknown stop reason")),
    }
}

pub(super) fn stop_reason(end: End) -> &'static str {
    match end {
        End::Done => "end_turn",
        End::Length => "max_tokens",
        End::Calls => "tool_use",
        End::Refused => "refusal",
    }
}

/// A message, whole or at the beginning of its stream.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    pub(super) id: &'a str,
    pub(super) r#type: &'static str,
    pub(super) role: &'static str,
    pub(super) model: &'a str,
    pub(super) content: Vec<Block<'a>>,
    pub(super) stop_reason: Option<&'static str>,
    pub(super) stop_sequence: Option<&'static str>,
    pub(super) usage: Usage,
}

impl<'a> Written<'a> {
    /// A message of which nothing is written yet.
    pub(super) fn begun(id: &'a str, model: &'a str, tokens: Tokens) -> Self {
        Self {
            id,
            r#type: "message",
            role: "assistant",
            model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: tokens.into(),
        }
    }
}

pub(crate) fn write(said: &Said<'_>) -> Bytes {
    let content = said.parts.iter().filter(|part| !part.is_empty()).map(block);
    let refusal = said.refusal.iter().map(|text| Block::Text { text });
    let end = if said.refusal.is_some() { End::Refused } else { said.end };
    bytes(&Written {
        content: content.chain(refusal).collect(),
        stop_reason: Some(stop_reason(end)),
        ..Written::begun(&said.id, &said.model, said.tokens)
    })
}
