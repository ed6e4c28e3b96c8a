//! A whole chat answer: read as a provider gave it, written as its caller expects it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::request_out::{ToolCall, tool_call};
use crate::providers::translate::{
    json::{Fault, First, Text},
    out::bytes,
    words::{Call, End, Input, Part, Said, Tokens},
};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    choices: First<Choice<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Called<'a>>>,
}

#[derive(Deserialize)]
struct Called<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

/// What an answer took, in this dialect's words.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: Option<Details>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let details = usage.prompt_tokens_details.unwrap_or_default();
        let (cached, cache_written) =
            (details.cached_tokens.unwrap_or(0), details.cache_write_tokens.unwrap_or(0));
        let input = usage.prompt_tokens.saturating_sub(cached).saturating_sub(cache_written);
        Self { input, cached, cache_written, output: usage.completion_tokens }
    }
}

impl From<Tokens> for Usage {
    fn from(Tokens { input, cached, cache_written, output }: Tokens) -> Self {
        let read = input.saturating_add(cached).saturating_add(cache_written);
        Self {
            prompt_tokens: read,
            completion_tokens: output,
            total_tokens: read.saturating_add(output),
            prompt_tokens_details: Some(Details {
                cached_tokens: Some(cached),
                cache_write_tokens: Some(cache_written).filter(|tokens| *tokens > 0),
            }),
        }
    }
}

pub(crate) fn read(body: &[u8]) -> Result<Said<'_>, Fault> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|_| Fault::shape("not an answer of the dialect"))?;
    let choice = answer.choices.0.ok_or_else(|| Fault::shape("no choice"))?;
    let Message { content, refusal, tool_calls } = choice.message;
    let reason = choice.finish_reason.ok_or_else(|| Fault::shape("no finish reason"))?;
    let calls = tool_calls.unwrap_or_default();
    let end = end(&reason.0, !calls.is_empty())?;
    let mut parts: Vec<_> = content.into_iter().map(|text| Part::Text(text.0)).collect();
    for call in calls {
        parts.push(self::call(call, end)?);
    }
    Ok(Said {
        id: answer.id.map_or("".into(), |id| id.0),
        model: answer.model.map_or("".into(), |model| model.0),
        parts,
        refusal: refusal.map(|text| text.0).filter(|text| !text.is_empty()),
        end,
        tokens: answer.usage.map(Tokens::from).unwrap_or_default(),
    })
}

/// A caller who forces a call hears `stop` at its end.
pub(super) fn end(reason: &str, called: bool) -> Result<End, Fault> {
    match reason {
        "stop" if called => Ok(End::Calls),
        "stop" => Ok(End::Done),
        "length" => Ok(End::Length),
        "tool_calls" => Ok(End::Calls),
        "content_filter" => Ok(End::Refused),
        _ => Err(Fault::shape("an unknown finish reason")),
    }
}

fn call<'a>(call: Called<'a>, end: End) -> Result<Part<'a>, Fault> {
    let arguments = call.function.arguments.map_or("".into(), |arguments| arguments.0);
    let input = match Input::parse(arguments) {
        // The limit cut the arguments; the end says so.
        None if end == End::Length => Input::parse("".into()),
        input => input,
    };
    let input = input.ok_or_else(|| Fault::shape("arguments of a tool call that are no JSON object"))?;
    Ok(Part::Call(Call { id: call.id.0, name: call.function.name.0, input }))
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Written<'a>; 1],
    usage: Usage,
}

#[derive(Serialize)]
struct Written<'a> {
    index: u8,
    message: Spoken<'a>,
    logprobs: &'static RawValue,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: Option<Cow<'a, str>>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

pub(crate) fn write(said: &Said<'_>, created: u64) -> Bytes {
    let message = Spoken {
        role: "assistant",
        content: text_of(&said.parts),
        refusal: said.refusal.as_deref(),
        tool_calls: said.parts.iter().filter_map(tool_call).collect(),
    };
    let finish_reason = finish_reason(said.end);
    bytes(&Completion {
        id: &said.id,
        object: "chat.completion",
        created,
        model: &said.model,
        choices: [Written { index: 0, message, logprobs: RawValue::NULL, finish_reason }],
        usage: said.tokens.into(),
    })
}

fn text_of<'a>(parts: &'a [Part<'a>]) -> Option<Cow<'a, str>> {
    let mut texts =
        parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
    let first = Cow::Borrowed(&**texts.next()?);
    Some(texts.fold(first, |all, text| all + &**text))
}

pub(super) fn finish_reason(end: End) -> &'static str {
    match end {
        End::Done => "stop",
        End::Length => "length",
        End::Calls => "tool_calls",
        End::Refused => "content_filter",
    }
}
