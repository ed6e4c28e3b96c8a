//! An answer as OpenAI's response: one message with one part, and an event for every step to it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, named};

pub(super) fn whole(answer: &Answer, status: &str) -> Value {
    let done = status == "completed";
    json!({
        "id": format!("resp_{}", answer.id),
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": answer.model,
        "output": if done { json!([item(answer, status)]) } else { json!([]) },
        "parallel_tool_calls": true,
        "tool_choice": "auto",
        "tools": [],
        "usage": if done { usage(answer) } else { Value::Null },
    })
}

pub(super) fn events(answer: &Answer) -> Vec<Bytes> {
    let at = || json!({"item_id": item_id(answer), "output_index": 0, "content_index": 0});
    let piece =
        |text: &str| with(at(), json!({"type": "response.output_text.delta", "delta": text, "logprobs": []}));
    let mut events = vec![
        json!({"type": "response.created", "response": whole(answer, "in_progress")}),
        json!({"type": "response.in_progress", "response": whole(answer, "in_progress")}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item(answer, "in_progress")}),
        with(at(), json!({"type": "response.content_part.added", "part": part("")})),
    ];
    events.extend(answer.pieces().map(piece));
    events.extend([
        with(at(), json!({"type": "response.output_text.done", "text": answer.text, "logprobs": []})),
        with(at(), json!({"type": "response.content_part.done", "part": part(&answer.text)})),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item(answer, "completed")}),
        json!({"type": "response.completed", "response": whole(answer, "completed")}),
    ]);
    let numbered =
        events.into_iter().enumerate().map(|(i, event)| with(event, json!({"sequence_number": i})));
    numbered.map(|event| named(&event)).collect()
}

pub(super) fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn item(answer: &Answer, status: &str) -> Value {
    let content = if status == "completed" { json!([part(&answer.text)]) } else { json!([]) };
    json!({
        "id": item_id(answer),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn item_id(answer: &Answer) -> String {
    format!("msg_{}", answer.id)
}

fn usage(answer: &Answer) -> Value {
    let (read, written) = (answer.read, answer.written);
    json!({
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    })
}
