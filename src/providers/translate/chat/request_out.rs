//! A chat request, as a provider is to get it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::providers::translate::{
    json::Fault,
    out::{bytes, is_false},
    words::{Ask, Call, Choice, Image, Outcome, Part, Pdf, Role, Tool, Turn},
};

/// The most stop sequences that the dialect takes.
const MAX_STOP: usize = 4;

/// The longest name that a function may have.
const MAX_NAME: usize = 64;

/// Goes before the result of a tool that failed: the dialect has no member that says so.
const FAILED: &str = "Error: ";

/// The name of a PDF without one: the dialect wants one beside the data.
const UNNAMED: &str = "document.pdf";

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Function<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

/// The tokens are always asked for: the caller's dialect tells them.
#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Url<'a> },
    File { file: File<'a> },
}

#[derive(Serialize)]
struct Url<'a> {
    url: Cow<'a, str>,
}

#[derive(Serialize)]
struct File<'a> {
    filename: &'a str,
    file_data: String,
}

/// A call in a message of the assistant, also in its answers.
#[derive(Serialize)]
#[serde(tag = "type", rename = "function")]
pub(super) struct ToolCall<'a> {
    id: &'a str,
    function: Called<'a>,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Function<'a> {
    Function { function: Described<'a> },
}

#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolChoice<'a> {
    Word(&'static str),
    Named { r#type: &'static str, function: Name<'a> },
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonSchema { json_schema: Schema<'a> },
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'static str,
    schema: &'a RawValue,
    strict: bool,
}

pub(crate) fn write(ask: &Ask<'_>, model: &str, stream: bool) -> Result<Bytes, Fault> {
    if ask.stop.len() > MAX_STOP {
        return Err(Fault::unsupported(format!("more than {MAX_STOP} stop sequences")));
    }
    if ask.max_tokens == Some(0) {
        return Err(Fault::unsupported("a request for no answer, only to fill a cache").at("max_tokens"));
    }
    if ask.turns.last().is_none_or(|turn| turn.role == Role::Assistant) {
        return Err(Fault::unsupported("an answer that the caller has begun").at("messages"));
    }
    let mut messages = Vec::new();
    ask.turns.iter().try_for_each(|turn| say(&mut messages, turn))?;
    let with_tools = !ask.tools.is_empty();
    Ok(bytes(&Request {
        model,
        messages,
        tools: ask.tools.iter().map(function).collect::<Result<_, _>>()?,
        tool_choice: ask.choice.as_ref().filter(|_| with_tools).map(tool_choice),
        parallel_tool_calls: ask.parallel.filter(|_| with_tools),
        response_format: ask.schema.map(format),
        stop: &ask.stop,
        max_completion_tokens: ask.max_tokens,
        temperature: ask.temperature,
        top_p: ask.top_p,
        user: ask.user.as_deref(),
        stream,
        stream_options: stream.then_some(StreamOptions { include_usage: true }),
    }))
}

/// One turn may be several messages: each outcome of a tool is one, and comes before what the user adds.
fn say<'a>(messages: &mut Vec<Message<'a>>, turn: &'a Turn<'a>) -> Result<(), Fault> {
    for part in &turn.parts {
        if let Part::Outcome(outcome) = part {
            messages.push(told(outcome)?);
        }
    }
    let content = content(&turn.parts);
    let tool_calls: Vec<_> = turn.parts.iter().filter_map(tool_call).collect();
    if content.is_some() || !tool_calls.is_empty() {
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        messages.push(Message { role, content, tool_calls, tool_call_id: None });
    }
    Ok(())
}

fn told<'a>(outcome: &'a Outcome<'a>) -> Result<Message<'a>, Fault> {
    if let Some(what) = outcome.parts.iter().find_map(Part::attachment) {
        return Err(Fault::unsupported(format!("{what} in the result of a tool")));
    }
    let content = content(&outcome.parts).unwrap_or(Content::Text("".into()));
    let content = if outcome.is_error { failed(content) } else { content };
    Ok(Message {
        role: "tool",
        content: Some(content),
        tool_calls: Vec::new(),
        tool_call_id: Some(&outcome.id),
    })
}

fn failed(content: Content<'_>) -> Content<'_> {
    match content {
        Content::Text(text) => Content::Text(format!("{FAILED}{text}").into()),
        Content::Parts(mut parts) => {
            parts.insert(0, ContentPart::Text { text: FAILED });
            Content::Parts(parts)
        }
    }
}

/// One text is a string, which every server of the dialect understands.
fn content<'a>(parts: &'a [Part<'a>]) -> Option<Content<'a>> {
    let mut shown: Vec<_> = parts.iter().filter_map(content_part).collect();
    match (shown.pop(), shown.is_empty()) {
        (None, _) => None,
        (Some(ContentPart::Text { text }), true) => Some(Content::Text(text.into())),
        (Some(last), _) => {
            shown.push(last);
            Some(Content::Parts(shown))
        }
    }
}

fn content_part<'a>(part: &'a Part<'a>) -> Option<ContentPart<'a>> {
    match part {
        Part::Text(text) => Some(ContentPart::Text { text }),
        Part::Image(image) => Some(ContentPart::ImageUrl { image_url: Url { url: url(image) } }),
        Part::Pdf(pdf) => Some(ContentPart::File { file: file(pdf) }),
        Part::Call(_) | Part::Outcome(_) => None,
    }
}

fn file<'a>(Pdf { name, data }: &'a Pdf<'a>) -> File<'a> {
    let filename = name.as_deref().unwrap_or(UNNAMED);
    File { filename, file_data: format!("data:application/pdf;base64,{data}") }
}

fn url<'a>(image: &'a Image<'a>) -> Cow<'a, str> {
    match image {
        Image::Url(url) => Cow::Borrowed(url),
        Image::Base64 { media_type, data } => format!("data:{media_type};base64,{data}").into(),
    }
}

pub(super) fn tool_call<'a>(part: &'a Part<'a>) -> Option<ToolCall<'a>> {
    let Part::Call(Call { id, name, input }) = part else { return None };
    Some(ToolCall { id, function: Called { name, arguments: input.json().get() } })
}

fn function<'a>(tool: &'a Tool<'a>) -> Result<Function<'a>, Fault> {
    if tool.name.len() > MAX_NAME {
        return Err(Fault::unsupported(format!("the name of a tool of more than {MAX_NAME} characters")));
    }
    let Tool { name, description, schema } = tool;
    let function = Described { name, description: description.as_deref(), parameters: *schema };
    Ok(Function::Function { function })
}

fn tool_choice<'a>(choice: &'a Choice<'a>) -> ToolChoice<'a> {
    match choice {
        Choice::Auto => ToolChoice::Word("auto"),
        Choice::Never => ToolChoice::Word("none"),
        Choice::Any => ToolChoice::Word("required"),
        Choice::One(name) => ToolChoice::Named { r#type: "function", function: Name { name } },
    }
}

fn format(schema: &RawValue) -> Format<'_> {
    Format::JsonSchema { json_schema: Schema { name: "answer", schema, strict: true } }
}
