//! A client of either dialect, which holds every stream to the dialect's grammar.

use mainstay_actors::call::{Api, Frame};
use serde_json::{Value, json};

use super::frames::shown;

/// What a client of either dialect makes of a stream; checks the grammar on the way.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) calls: Vec<(String, String, String)>,
    pub(super) end: Option<String>,
    pub(super) tokens: (u64, u64, u64),
    pub(super) whole: bool,
}

pub(super) fn heard(to: Api, frames: &[Frame]) -> Heard {
    let mut heard = Heard::default();
    let mut open = None;
    let mut blocks = 0;
    for (number, (name, data)) in shown(frames).into_iter().filter(|(_, data)| !data.is_empty()).enumerate() {
        assert!(!heard.whole, "{name} {data} after the end");
        if data == "[DONE]" {
            assert!(heard.end.is_some());
            heard.whole = true;
            continue;
        }
        let data: Value = serde_json::from_str(&data).unwrap();
        match to {
            Api::Chat => hear_chunk(&mut heard, number, &data),
            _ => hear_event(&mut heard, number, &name, &data, &mut open, &mut blocks),
        }
    }
    heard
}

fn hear_chunk(heard: &mut Heard, number: usize, chunk: &Value) {
    assert_eq!((&chunk["object"], &chunk["created"]), (&json!("chat.completion.chunk"), &json!(17)));
    assert!(chunk["id"].is_string() && chunk["model"].is_string());
    if let Some(usage) = chunk["usage"].as_object() {
        assert_eq!(chunk["choices"], json!([]));
        let cached = &usage["prompt_tokens_details"]["cached_tokens"];
        let count = |value: &Value| value.as_u64().unwrap();
        heard.tokens = (count(&usage["prompt_tokens"]), count(cached), count(&usage["completion_tokens"]));
        return;
    }
    let choice = &chunk["choices"][0];
    assert_eq!(choice["delta"]["role"] == "assistant", number == 0, "{chunk}");
    assert!(heard.end.is_none(), "{chunk} after the finish reason");
    heard.text += choice["delta"]["content"].as_str().unwrap_or_default();
    heard.text += choice["delta"]["refusal"].as_str().unwrap_or_default();
    if let Some(call) = choice["delta"]["tool_calls"].get(0) {
        let text = |value: &Value| value.as_str().unwrap().to_string();
        if call["id"].is_string() {
            assert_eq!(call["index"], heard.calls.len());
            assert_eq!(call["type"], "function");
            heard.calls.push((text(&call["id"]), text(&call["function"]["name"]), String::new()));
        }
        let index = call["index"].as_u64().unwrap() as usize;
        heard.calls[index].2 += call["function"]["arguments"].as_str().unwrap();
    }
    heard.end = choice["finish_reason"].as_str().map(Into::into);
}

fn hear_event(
    heard: &mut Heard,
    number: usize,
    name: &str,
    event: &Value,
    open: &mut Option<u64>,
    blocks: &mut u64,
) {
    assert_eq!(event["type"], name);
    assert_eq!(name == "message_start", number == 0, "{event}");
    match name {
        "message_start" => assert_eq!(event["message"]["content"], json!([])),
        "ping" => {}
        "content_block_start" => {
            assert_eq!((*open, &event["index"]), (None, &json!(*blocks)));
            *open = Some(*blocks);
            *blocks += 1;
            let block = &event["content_block"];
            if block["type"] == "tool_use" {
                let text = |value: &Value| value.as_str().unwrap().to_string();
                heard.calls.push((text(&block["id"]), text(&block["name"]), String::new()));
            }
        }
        "content_block_delta" => {
            assert_eq!(event["index"], open.unwrap());
            heard.text += event["delta"]["text"].as_str().unwrap_or_default();
            if let Some(json) = event["delta"]["partial_json"].as_str() {
                heard.calls.last_mut().unwrap().2 += json;
            }
        }
        "content_block_stop" => assert_eq!(event["index"], open.take().unwrap()),
        "message_delta" => {
            assert!(open.is_none() && heard.end.is_none());
            heard.end = event["delta"]["stop_reason"].as_str().map(Into::into);
            let count = |name: &str| event["usage"][name].as_u64().unwrap();
            let cached = count("cache_read_input_tokens");
            let read = count("input_tokens") + cached + count("cache_creation_input_tokens");
            heard.tokens = (read, cached, count("output_tokens"));
        }
        "message_stop" => {
            assert!(heard.end.is_some());
            heard.whole = true;
        }
        _ => panic!("unknown: {event}"),
    }
}
