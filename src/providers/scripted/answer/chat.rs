//! An answer as OpenAI's chat completion: role, words, finish reason, usage if asked for, `[DONE]`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, event};

pub(super) fn whole(answer: &Answer) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text, "refusal": null});
    if let Some(name) = &answer.tool {
        let function = json!({"name": name, "arguments": answer.text});
        message["content"] = Value::Null;
        message["tool_calls"] = json!([{"id": tool_id(answer), "type": "function", "function": function}]);
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason(answer)});
    let mut body = head(answer, "chat.completion", json!([choice]));
    body["usage"] = usage(answer);
    body
}

pub(super) fn events(answer: &Answer) -> Vec<Bytes> {
    let chunk = |delta: Value, finish_reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        event(&head(answer, "chat.completion.chunk", json!([choice])))
    };
    let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    if let Some(name) = &answer.tool {
        let function = json!({"name": name, "arguments": ""});
        let call = json!({"index": 0, "id": tool_id(answer), "type": "function", "function": function});
        events.push(chunk(json!({"tool_calls": [call]}), Value::Null));
    }
    events.extend(answer.pieces().map(|piece| chunk(delta(answer, piece), Value::Null)));
    events.push(chunk(json!({}), json!(reason(answer))));
    if answer.include_usage {
        let mut last = head(answer, "chat.completion.chunk", json!([]));
        last["usage"] = usage(answer);
        events.push(event(&last));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

fn delta(answer: &Answer, piece: &str) -> Value {
    match answer.tool {
        Some(_) => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
        None => json!({"content": piece}),
    }
}

fn reason(answer: &Answer) -> &'static str {
    if answer.tool.is_some() { "tool_calls" } else { "stop" }
}

fn tool_id(answer: &Answer) -> String {
    format!("call_{}", answer.id)
}

fn head(answer: &Answer, object: &str, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", answer.id),
        "object": object,
        "created": answer.created,
        "model": answer.model,
        "choices": choices,
    })
}

fn usage(answer: &Answer) -> Value {
    let (read, written) = (answer.read, answer.written);
    json!({"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written})
}
