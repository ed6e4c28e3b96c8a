//! What the scripted provider says: the text is made from the request, so that a test can tell one answer
//! from another, and put into the words of the API that was asked.
//!
//! How an answer is sent, late or broken, is not known here.

mod chat;
mod embeddings;
mod errors;
mod messages;
mod responses;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mainstay_actors::call::Api;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use errors::{error, error_event, error_of, error_type};

/// A request, as far as the scripted provider cares.
#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    pub(super) model: String,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    messages: Vec<Value>,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    tools: Vec<Value>,
    #[serde(default)]
    tool_choice: Value,
    #[serde(default)]
    stream_options: Value,
}

impl Ask {
    /// The last words of the user.
    fn prompt(&self) -> String {
        let said = |messages: &[Value]| {
            let last = messages.iter().rev().find(|message| message["role"] == "user");
            last.map(|message| text_of(&message["content"])).unwrap_or_default()
        };
        match &self.input {
            Value::String(text) => text.clone(),
            Value::Array(items) => said(items),
            _ => said(&self.messages),
        }
    }

    /// The tool that must be called, if one must.
    fn tool(&self) -> Option<&str> {
        fn name(of: &Value) -> Option<&str> {
            of["name"].as_str().or(of["function"]["name"].as_str())
        }
        let any = self.tool_choice == "required" || self.tool_choice["type"] == "any";
        name(&self.tool_choice).or_else(|| self.tools.first().filter(|_| any).and_then(name))
    }
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// One answer, in no API's words yet.
pub(super) struct Answer {
    api: Api,
    /// Who answers, and which answer it is.
    id: String,
    created: u64,
    model: String,
    /// The text; or a tool's arguments.
    text: String,
    tool: Option<String>,
    /// How many words were read and written: what a token is here.
    read: usize,
    written: usize,
    include_usage: bool,
    /// What is to be embedded.
    inputs: Vec<Value>,
}

impl Answer {
    /// The `number`-th answer of the provider called `name`.
    pub(super) fn new(api: Api, name: &str, number: u64, ask: &Ask) -> Self {
        let (prompt, tool) = (ask.prompt(), ask.tool().map(String::from));
        let text = match tool {
            Some(_) => json!({ "text": prompt }).to_string(),
            None => format!("Echo from {name}: {prompt}"),
        };
        Self {
            api,
            id: format!("{name}-{number}"),
            created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            model: ask.model.clone(),
            read: prompt.split_whitespace().count(),
            written: text.split_whitespace().count(),
            text,
            tool,
            include_usage: ask.stream_options["include_usage"] == true,
            inputs: embeddings::inputs(&ask.input),
        }
    }

    /// As it is sent: as events if a stream is asked for, and the API has streams.
    pub(super) fn said(&self, stream: bool) -> Said {
        match (self.api, stream) {
            (Api::Chat, true) => Said::Events(chat::events(self)),
            (Api::Messages, true) => Said::Events(messages::events(self)),
            (Api::Responses, true) => Said::Events(responses::events(self)),
            (Api::Chat, false) => Said::whole(&chat::whole(self)),
            (Api::Messages, false) => Said::whole(&messages::whole(self)),
            (Api::Responses, false) => Said::whole(&responses::whole(self, "completed")),
            (Api::Embeddings, _) => Said::whole(&embeddings::whole(self)),
        }
    }

    /// The text, piece by piece.
    fn pieces(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }
}

/// What is to be sent, if nothing goes wrong.
pub(super) enum Said {
    Whole(Bytes),
    Events(Vec<Bytes>),
}

impl Said {
    fn whole(body: &Value) -> Self {
        Self::Whole(body.to_string().into())
    }
}

/// An event that says nothing.
pub(super) fn ping(api: Api) -> Bytes {
    match api {
        Api::Messages => named(&json!({"type": "ping"})),
        _ => Bytes::from_static(b": ping\n\n"),
    }
}

/// What should be JSON and is not.
pub(super) fn nonsense(api: Api) -> Bytes {
    match api {
        Api::Messages => {
            Bytes::from_static(b"event: content_block_delta\ndata: {\"type\":\"content_block\n\n")
        }
        Api::Responses => {
            Bytes::from_static(b"event: response.output_text.delta\ndata: {\"type\":\"resp\n\n")
        }
        _ => Bytes::from_static(b"data: {\"choices\":[{\n\n"),
    }
}

/// One event without a name.
fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// One event under the name of its type.
fn named(data: &Value) -> Bytes {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default()).into()
}

/// The list of models.
pub(super) fn models(names: &[String]) -> Value {
    let model = |name: &String| json!({"id": name, "object": "model", "created": 0, "owned_by": "mainstay"});
    json!({"object": "list", "data": names.iter().map(model).collect::<Vec<_>>()})
}
