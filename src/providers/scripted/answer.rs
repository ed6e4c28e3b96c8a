//! What the scripted provider says: the dialect's answers, made from the request.
//!
//! The text is derived from what was asked, so that a test can tell one answer from another. How an answer is
//! sent, late or broken, is not known here.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// A chat request, as far as the scripted provider cares.
#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    pub(super) model: String,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    messages: Vec<Message>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Value,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// One answer.
pub(super) struct Answer {
    id: String,
    created: u64,
    model: String,
    text: String,
    prompt_words: usize,
    include_usage: bool,
}

impl Answer {
    /// The `number`-th answer of the provider called `name`.
    pub(super) fn new(name: &str, number: u64, ask: &Ask) -> Self {
        let prompt = last_words(&ask.messages);
        Self {
            id: format!("chatcmpl-{name}-{number}"),
            created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            model: ask.model.clone(),
            text: format!("Echo from {name}: {prompt}"),
            prompt_words: prompt.split_whitespace().count(),
            include_usage: ask.stream_options.as_ref().is_some_and(|options| options.include_usage),
        }
    }

    /// As a whole.
    pub(super) fn body(&self) -> Bytes {
        let message = json!({"role": "assistant", "content": self.text, "refusal": null});
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
        let mut body = self.head("chat.completion", json!([choice]));
        body["usage"] = self.usage();
        body.to_string().into()
    }

    /// As events: role, words, finish reason, usage if asked for, `[DONE]`.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let mut events = vec![self.chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
        events.extend(
            self.text.split_inclusive(' ').map(|word| self.chunk(json!({"content": word}), Value::Null)),
        );
        events.push(self.chunk(json!({}), json!("stop")));
        if self.include_usage {
            let mut last = self.head("chat.completion.chunk", json!([]));
            last["usage"] = self.usage();
            events.push(event(&last));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }

    fn chunk(&self, delta: Value, finish_reason: Value) -> Bytes {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        event(&self.head("chat.completion.chunk", json!([choice])))
    }

    fn head(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn usage(&self) -> Value {
        let written = self.text.split_whitespace().count();
        json!({
            "prompt_tokens": self.prompt_words,
            "completion_tokens": written,
            "total_tokens": self.prompt_words + written,
        })
    }
}

/// The vendor's error body for a status.
pub(super) fn error_of(status: u16) -> Value {
    let (kind, code) = match status {
        400 | 413 | 422 => ("invalid_request_error", None),
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("invalid_request_error", Some("unsupported_country_region_territory")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Some("server_is_overloaded")),
        529 => ("overloaded_error", None),
        _ => ("server_error", None),
    };
    error(&format!("The scripted provider was asked to fail with status {status}."), kind, code)
}

/// An error body.
pub(super) fn error(message: &str, kind: &str, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

/// One event.
pub(super) fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// The list of models.
pub(super) fn models(names: &[String]) -> Value {
    let model = |name: &String| json!({"id": name, "object": "model", "created": 0, "owned_by": "mainstay"});
    json!({"object": "list", "data": names.iter().map(model).collect::<Vec<_>>()})
}

fn last_words(messages: &[Message]) -> String {
    let asked = messages.iter().rev().find(|message| message.role == "user").map(|message| &message.content);
    match asked {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}
