//! An answer as Anthropic's message: its start, one block with a ping in front of its words, its end.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, named};

pub(super) fn whole(answer: &Answer) -> Value {
    let block = match &answer.tool {
        Some(name) => {
            let input: Value = serde_json::from_str(&answer.text).unwrap_or_default();
            json!({"type": "tool_use", "id": tool_id(answer), "name": name, "input": input})
        }
        None => json!({"type": "text", "text": answer.text}),
    };
    message(answer, json!([block]), json!(reason(answer)), answer.written)
}

pub(super) fn events(answer: &Answer) -> Vec<Bytes> {
    let block = match &answer.tool {
        Some(name) => json!({"type": "tool_use", "id": tool_id(answer), "name": name, "input": {}}),
        None => json!({"type": "text", "text": ""}),
    };
    let start = message(answer, json!([]), Value::Null, 1);
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "ping"}),
    ];
    let piece = |piece| json!({"type": "content_block_delta", "index": 0, "delta": delta(answer, piece)});
    events.extend(answer.pieces().map(piece));
    let end = json!({"stop_reason": reason(answer), "stop_sequence": null});
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": end, "usage": {"output_tokens": answer.written}}),
        json!({"type": "message_stop"}),
    ]);
    events.iter().map(named).collect()
}

fn delta(answer: &Answer, piece: &str) -> Value {
    match answer.tool {
        Some(_) => json!({"type": "input_json_delta", "partial_json": piece}),
        None => json!({"type": "text_delta", "text": piece}),
    }
}

fn message(answer: &Answer, content: Value, stop_reason: Value, written: usize) -> Value {
    json!({
        "id": format!("msg_{}", answer.id),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {"input_tokens": answer.read, "output_tokens": written},
    })
}

fn reason(answer: &Answer) -> &'static str {
    if answer.tool.is_some() { "tool_use" } else { "end_turn" }
}

fn tool_id(answer: &Answer) -> String {
    format!("toolu_{}", answer.id)
}
