//! Requests: each member's fate, both ways (GW2).

mod members;
mod refused;
mod whole;

use mainstay_actors::{
    call::Api,
    error::{ErrorKind, ProviderError},
};
use serde_json::{Value, json};

use super::{is_possible, request};

type Sent = Result<(Value, Vec<&'static str>), ProviderError>;

/// How a request is translated, and how a good one with further members is made.
type Direction = (fn(&Value) -> Sent, fn(&Value) -> Value);

fn sent(from: Api, to: Api, body: &Value) -> Sent {
    let translated = request((from, to), body.to_string().as_bytes(), "m", false, 0)?;
    Ok((serde_json::from_slice(&translated.body).unwrap(), translated.lacks))
}

fn to_messages(body: &Value) -> Sent {
    sent(Api::Chat, Api::Messages, body)
}

fn to_chat(body: &Value) -> Sent {
    sent(Api::Messages, Api::Chat, body)
}

/// `base` with the members of `more`.
fn with(mut base: Value, more: &Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

fn chat_with(more: &Value) -> Value {
    with(json!({"model": "chain", "messages": [{"role": "user", "content": "hi"}]}), more)
}

fn messages_with(more: &Value) -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    with(json!({"model": "chain", "max_tokens": 9, "messages": messages}), more)
}

#[test]
fn a_stream_is_asked_for_with_its_tokens() {
    let ask = |from, to, body: Value| {
        let body = request((from, to), body.to_string().as_bytes(), "m", true, 0).unwrap().body;
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let chat = ask(Api::Messages, Api::Chat, messages_with(&json!({"stream": false})));
    assert_eq!((&chat["stream"], &chat["stream_options"]["include_usage"]), (&json!(true), &json!(true)));
    let messages = ask(Api::Chat, Api::Messages, chat_with(&json!({})));
    assert_eq!(messages["stream"], true);
}

#[test]
fn only_chats_and_messages_are_translated() {
    let apis = [Api::Chat, Api::Messages, Api::Responses, Api::Embeddings];
    for (from, to) in apis.into_iter().flat_map(|from| apis.map(|to| (from, to))) {
        let translated =
            request((from, to), chat_with(&json!({"max_tokens": 1})).to_string().as_bytes(), "m", false, 0);
        assert_eq!(translated.is_ok(), is_possible(from, to), "{from:?} to {to:?}");
        if let Err(error) = translated {
            assert_eq!(error.kind, ErrorKind::Unsupported);
        }
    }
}

#[test]
fn no_error_quotes_the_prompt() {
    let secret = "ssssecret";
    for body in [
        json!({"messages": [{"role": secret}]}),
        json!({"messages": [{"role": "user", "content": [{"type": secret}]}]}),
        json!({"messages": [{"role": "user", "content": {secret: secret}}]}),
        json!({"messages": secret}),
        json!({"max_tokens": secret, "messages": []}),
    ] {
        for (from, to) in [(Api::Chat, Api::Messages), (Api::Messages, Api::Chat)] {
            let error = request((from, to), body.to_string().as_bytes(), "m", false, 0).unwrap_err();
            assert!(!error.message.contains(secret), "{error}"); // SE4
        }
    }
}
