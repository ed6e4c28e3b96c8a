//! Streams as providers of either dialect send them, event by event, and what becomes of them.

use mainstay_actors::{
    call::{Api, Frame, FrameKind, Usage},
    error::ProviderError,
};
use serde_json::{Value, json};

use crate::providers::translate::{Back, StreamTranslator};

pub(super) fn translator(to: Api) -> StreamTranslator {
    Back { to, created: 17, tell_usage: true }.stream()
}

pub(super) fn chunk(data: &Value) -> Frame {
    Frame::new(format!("data: {data}\n\n"), FrameKind::Note)
}

pub(super) fn delta(delta: &Value) -> Frame {
    chunk(&json!({"id": "chatcmpl-1", "model": "gpt", "choices": [{"index": 0, "delta": delta}]}))
}

pub(super) fn finish(reason: &str) -> Frame {
    chunk(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

pub(super) fn done() -> Frame {
    Frame::new("data: [DONE]\n\n", FrameKind::End)
}

pub(super) fn piece(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Frame {
    let call = json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}});
    delta(&json!({"tool_calls": [call]}))
}

pub(super) fn event(data: &Value) -> Frame {
    let name = data["type"].as_str().unwrap();
    Frame::new(format!("event: {name}\ndata: {data}\n\n"), FrameKind::Note)
}

pub(super) fn start() -> Frame {
    let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1});
    event(&json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": usage}}))
}

pub(super) fn block(index: u64, content_block: &Value) -> Frame {
    event(&json!({"type": "content_block_start", "index": index, "content_block": content_block}))
}

pub(super) fn grown(index: u64, delta: &Value) -> Frame {
    event(&json!({"type": "content_block_delta", "index": index, "delta": delta}))
}

pub(super) fn block_stop(index: u64) -> Frame {
    event(&json!({"type": "content_block_stop", "index": index}))
}

pub(super) fn ending(reason: &str) -> Frame {
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    event(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}))
}

pub(super) fn stop() -> Frame {
    event(&json!({"type": "message_stop"}))
}

/// A whole chat stream with everything that is translated.
pub(super) fn chat_stream() -> Vec<Frame> {
    let usage =
        json!({"prompt_tokens": 8, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}});
    vec![
        chunk(&json!({"choices": [], "prompt_filter_results": []})),
        delta(&json!({"role": "assistant", "content": ""})),
        delta(&json!({"reasoning": "hm", "reasoning_content": "hm", "tool_calls": null, "refusal": null})),
        delta(&json!({"content": "Hel"})),
        delta(&json!({"content": "lo"})),
        piece(0, Some("c1"), Some("f"), ""),
        piece(0, None, None, "{\"a\""),
        piece(0, None, None, ":1}"),
        piece(1, Some("c2"), Some("g"), "{}"),
        finish("tool_calls"),
        Frame {
            usage: Some(Usage { input_tokens: 8, output_tokens: 9 }),
            ..chunk(&json!({"choices": [], "usage": usage}))
        },
        done(),
    ]
}

/// The same of the other dialect.
pub(super) fn messages_stream() -> Vec<Frame> {
    vec![
        start(),
        block(0, &json!({"type": "thinking", "thinking": "", "signature": ""})),
        grown(0, &json!({"type": "thinking_delta", "thinking": "hm"})),
        grown(0, &json!({"type": "signature_delta", "signature": "s"})),
        block_stop(0),
        block(1, &json!({"type": "text", "text": ""})),
        Frame::new("event: ping\ndata: {\"type\":\"ping\"}\n\n", FrameKind::Ping),
        grown(1, &json!({"type": "text_delta", "text": "Hel"})),
        grown(1, &json!({"type": "text_delta", "text": "lo"})),
        block_stop(1),
        block(2, &json!({"type": "tool_use", "id": "c1", "name": "f", "input": {}})),
        grown(2, &json!({"type": "input_json_delta", "partial_json": ""})),
        grown(2, &json!({"type": "input_json_delta", "partial_json": "{\"a\""})),
        grown(2, &json!({"type": "input_json_delta", "partial_json": ":1}"})),
        block_stop(2),
        block(3, &json!({"type": "tool_use", "id": "c2", "name": "g", "input": {}})),
        block_stop(3),
        event(&json!({"type": "brand_new"})),
        Frame { usage: Some(Usage { input_tokens: 8, output_tokens: 9 }), ..ending("tool_use") },
        stop(),
    ]
}

pub(super) fn translated(to: Api, frames: &[Frame]) -> Result<Vec<Frame>, ProviderError> {
    let mut translator = translator(to);
    let told = frames.iter().map(|frame| translator.frame(frame)).collect::<Result<Vec<_>, _>>()?;
    Ok(told.into_iter().flatten().collect())
}

/// The name, if any, and the data of each frame.
pub(super) fn shown(frames: &[Frame]) -> Vec<(String, String)> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let fields = frames.iter().map(|frame| crate::providers::sse::fields(&frame.bytes));
    fields.map(|fields| (text(fields.name), text(fields.data.as_deref()))).collect()
}
