//! A messages request, as a provider is to get it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::providers::translate::{
    json::Fault,
    loss::Notes,
    out::{bytes, is_false},
    words::{Ask, Call, Choice, Image, Outcome, Part, Pdf, Role, Tool, Turn},
};

/// How many tokens an answer may have whose caller sets no limit: the dialect always wants one.
pub(crate) const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The highest temperature of the dialect; OpenAI's goes to 2.
const MAX_TEMPERATURE: f64 = 1.0;

/// Goes before a conversation that the assistant opens: here the user always does.
const OPENING: &str = "(The assistant opens the conversation.)";

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Described<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    stream: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

/// A block of content, also of an answer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: &'a str,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: &'a RawValue,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "is_false")]
        is_error: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Url { url: &'a str },
    Base64 { media_type: &'a str, data: &'a str },
}

#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: InputSchema<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum InputSchema<'a> {
    Given(&'a RawValue),
    /// The dialect wants one also of a tool without input.
    Anything {
        r#type: &'static str,
    },
}

#[derive(Serialize)]
struct ToolChoice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonSchema { schema: &'a RawValue },
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

pub(crate) fn write(ask: &Ask<'_>, model: &str, stream: bool, notes: &mut Notes) -> Result<Bytes, Fault> {
    if ask.stop.iter().any(|stop| is_blank(stop)) {
        return Err(Fault::unsupported("a stop sequence of nothing but white space").at("stop"));
    }
    let (temperature, top_p) = sampling(ask, notes);
    Ok(bytes(&Request {
        model,
        max_tokens: ask.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
        system: system(ask, notes),
        messages: messages(ask, notes)?,
        tools: ask.tools.iter().map(described).collect(),
        tool_choice: tool_choice(ask),
        output_config: ask.schema.map(|schema| OutputConfig { format: Format::JsonSchema { schema } }),
        stop_sequences: &ask.stop,
        temperature,
        top_p,
        metadata: ask.user.as_deref().map(|user_id| Metadata { user_id }),
        stream,
    }))
}

/// Newer models take one of the two only.
fn sampling(ask: &Ask<'_>, notes: &mut Notes) -> (Option<f64>, Option<f64>) {
    let Some(temperature) = ask.temperature else { return (None, ask.top_p) };
    if temperature > MAX_TEMPERATURE {
        notes.lacks("temperature");
    }
    if ask.top_p.is_some_and(|top_p| top_p != 1.0) {
        notes.lacks("top_p");
    }
    (Some(temperature.min(MAX_TEMPERATURE)), None)
}

/// All that the system says stands before the conversation, wherever the caller put it.
fn system<'a>(ask: &'a Ask<'a>, notes: &mut Notes) -> Vec<Block<'a>> {
    if ask.turns.iter().skip_while(|turn| turn.role == Role::System).any(|turn| turn.role == Role::System) {
        notes.lacks("system_position");
    }
    let turns = ask.turns.iter().filter(|turn| turn.role == Role::System);
    turns.flat_map(|turn| turn.parts.iter().filter_map(telling)).collect()
}

/// Users and assistants take turns here: what one of them says in a row becomes one message.
fn messages<'a>(ask: &'a Ask<'a>, notes: &mut Notes) -> Result<Vec<Message<'a>>, Fault> {
    let mut messages: Vec<Message<'a>> = Vec::new();
    for Turn { role, parts } in ask.turns.iter().filter(|turn| turn.role != Role::System) {
        let role = if *role == Role::User { "user" } else { "assistant" };
        let blocks: Vec<_> = parts.iter().filter_map(telling).collect();
        match messages.last_mut() {
            _ if blocks.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(blocks),
            _ => messages.push(Message { role, content: blocks }),
        }
    }
    if messages.last().is_none_or(|last| last.role == "assistant") {
        return Err(Fault::unsupported("a conversation that does not end with the user").at("messages"));
    }
    if messages[0].role == "assistant" {
        notes.lacks("opening");
        messages.insert(0, Message { role: "user", content: vec![Block::Text { text: OPENING }] });
    }
    messages.iter_mut().for_each(|message| message.content.sort_by_key(|block| !is_result(block)));
    Ok(messages)
}

/// The results of tools come first in a message, or they are refused.
fn is_result(block: &Block<'_>) -> bool {
    matches!(block, Block::ToolResult { .. })
}

/// Blank texts are refused in a request, and say nothing.
fn telling<'a>(part: &'a Part<'a>) -> Option<Block<'a>> {
    let blank = matches!(part, Part::Text(text) if is_blank(text));
    (!blank).then(|| block(part))
}

pub(super) fn block<'a>(part: &'a Part<'a>) -> Block<'a> {
    match part {
        Part::Text(text) => Block::Text { text },
        Part::Image(Image::Url(url)) => Block::Image { source: Source::Url { url } },
        Part::Image(Image::Base64 { media_type, data }) => {
            Block::Image { source: Source::Base64 { media_type, data } }
        }
        Part::Pdf(Pdf { name, data }) => Block::Document {
            source: Source::Base64 { media_type: "application/pdf", data },
            title: name.as_deref(),
        },
        Part::Call(Call { id, name, input }) => Block::ToolUse { id: sane(id), name, input: input.json() },
        Part::Outcome(Outcome { id, parts, is_error }) => Block::ToolResult {
            tool_use_id: sane(id),
            content: parts.iter().filter_map(telling).collect(),
            is_error: *is_error,
        },
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Ids have only letters, digits, `_` and `-` here; other characters become their numbers.
fn sane(id: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.chars().all(plain) {
        return id.into();
    }
    let spelt = |c: char| if plain(c) { c.to_string() } else { format!("_{:x}_", u32::from(c)) };
    id.chars().map(spelt).collect::<String>().into()
}

fn described<'a>(tool: &'a Tool<'a>) -> Described<'a> {
    let input_schema = tool.schema.map_or(InputSchema::Anything { r#type: "object" }, InputSchema::Given);
    Described { name: &tool.name, description: tool.description.as_deref(), input_schema }
}

fn tool_choice<'a>(ask: &'a Ask<'a>) -> Option<ToolChoice<'a>> {
    let one_at_a_time = ask.parallel == Some(false);
    let (r#type, name) = match &ask.choice {
        _ if ask.tools.is_empty() => return None,
        None if !one_at_a_time => return None,
        None | Some(Choice::Auto) => ("auto", None),
        Some(Choice::Never) => {
            return Some(ToolChoice { r#type: "none", name: None, disable_parallel_tool_use: None });
        }
        Some(Choice::Any) => ("any", None),
        Some(Choice::One(name)) => ("tool", Some(&**name)),
    };
    Some(ToolChoice { r#type, name, disable_parallel_tool_use: one_at_a_time.then_some(true) })
}
