//! Streams: the grammar of events, both ways, and an end that is said only when it was heard (RS5, RS6).

use bytes::Bytes;
use mainstay_actors::{
    call::{Api, Frame, FrameKind, Usage},
    error::{ErrorKind, ProviderError},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Back, StreamTranslator};

fn translator(to: Api) -> StreamTranslator {
    Back { to, created: 17, tell_usage: true }.stream()
}

fn chunk(data: &Value) -> Frame {
    Frame::new(format!("data: {data}\n\n"), FrameKind::Note)
}

fn delta(delta: &Value) -> Frame {
    chunk(&json!({"id": "chatcmpl-1", "model": "gpt", "choices": [{"index": 0, "delta": delta}]}))
}

fn finish(reason: &str) -> Frame {
    chunk(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

fn done() -> Frame {
    Frame::new("data: [DONE]\n\n", FrameKind::End)
}

fn piece(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Frame {
    let call = json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}});
    delta(&json!({"tool_calls": [call]}))
}

fn event(data: &Value) -> Frame {
    let name = data["type"].as_str().unwrap();
    Frame::new(format!("event: {name}\ndata: {data}\n\n"), FrameKind::Note)
}

fn start() -> Frame {
    let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1});
    event(&json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": usage}}))
}

fn block(index: u64, content_block: &Value) -> Frame {
    event(&json!({"type": "content_block_start", "index": index, "content_block": content_block}))
}

fn grown(index: u64, delta: &Value) -> Frame {
    event(&json!({"type": "content_block_delta", "index": index, "delta": delta}))
}

fn block_stop(index: u64) -> Frame {
    event(&json!({"type": "content_block_stop", "index": index}))
}

fn ending(reason: &str) -> Frame {
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    event(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}))
}

fn stop() -> Frame {
    event(&json!({"type": "message_stop"}))
}

/// A whole chat stream with everything that is translated.
fn chat_stream() -> Vec<Frame> {
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
fn messages_stream() -> Vec<Frame> {
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

fn translated(to: Api, frames: &[Frame]) -> Result<Vec<Frame>, ProviderError> {
    let mut translator = translator(to);
    let told = frames.iter().map(|frame| translator.frame(frame)).collect::<Result<Vec<_>, _>>()?;
    Ok(told.into_iter().flatten().collect())
}

/// The name, if any, and the data of each frame.
fn shown(frames: &[Frame]) -> Vec<(String, String)> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let fields = frames.iter().map(|frame| crate::providers::sse::fields(&frame.bytes));
    fields.map(|fields| (text(fields.name), text(fields.data.as_deref()))).collect()
}

/// What a client of either dialect makes of a stream; checks the grammar on the way.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    text: String,
    calls: Vec<(String, String, String)>,
    end: Option<String>,
    tokens: (u64, u64, u64),
    whole: bool,
}

fn heard(to: Api, frames: &[Frame]) -> Heard {
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
            assert_eq!(call["type"], "function");
            heard.calls.push((text(&call["id"]), text(&call["function"]["name"]), String::new()));
        }
        assert_eq!(call["index"], heard.calls.len() - 1);
        heard.calls.last_mut().unwrap().2 += call["function"]["arguments"].as_str().unwrap();
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

#[test]
fn a_chat_stream_becomes_a_messages_stream_event_by_event() {
    let frames = translated(Api::Messages, &chat_stream()).unwrap();
    let names: Vec<_> = shown(&frames).into_iter().map(|(name, _)| name).collect();
    let expected = "message_start ping content_block_start content_block_delta content_block_delta \
        content_block_stop content_block_start content_block_delta content_block_delta content_block_stop \
        content_block_start content_block_delta content_block_stop message_delta message_stop";
    assert_eq!(names.join(" "), expected);
    let call = |id: &str, name: &str, arguments: &str| (id.into(), name.into(), arguments.into());
    let expected = Heard {
        text: "Hello".into(),
        calls: vec![call("c1", "f", "{\"a\":1}"), call("c2", "g", "{}")],
        end: Some("tool_use".into()),
        tokens: (8, 3, 9),
        whole: true,
    };
    assert_eq!(heard(Api::Messages, &frames), expected); // GW2
}

#[test]
fn a_messages_stream_becomes_a_chat_stream_chunk_by_chunk() {
    let frames = translated(Api::Chat, &messages_stream()).unwrap();
    let call = |id: &str, name: &str, arguments: &str| (id.into(), name.into(), arguments.into());
    let expected = Heard {
        text: "Hello".into(),
        calls: vec![call("c1", "f", "{\"a\":1}"), call("c2", "g", "{}")],
        end: Some("tool_calls".into()),
        tokens: (8, 3, 9),
        whole: true,
    };
    assert_eq!(heard(Api::Chat, &frames), expected); // GW2
}

#[test]
fn tokens_are_told_to_a_chat_s_caller_only_if_asked_for() {
    for tell_usage in [true, false] {
        let mut translator = Back { to: Api::Chat, created: 17, tell_usage }.stream();
        let frames: Vec<_> =
            messages_stream().iter().flat_map(|frame| translator.frame(frame).unwrap()).collect();
        let told = shown(&frames).iter().any(|(_, data)| data.contains("\"usage\""));
        assert_eq!(told, tell_usage);
    }
}

#[test]
fn content_is_content_and_what_surrounds_it_is_not() {
    let kinds = |to, frames: &[Frame]| {
        let frames = translated(to, frames).unwrap().into_iter();
        frames.map(|frame| frame.kind).fold(String::new(), |all, kind| all + &format!("{kind:?} "))
    };
    let chat =
        [delta(&json!({"role": "assistant"})), delta(&json!({"content": "a"})), finish("stop"), done()];
    assert_eq!(kinds(Api::Messages, &chat), "Note Note Content Note Note End ");
    let call = [piece(0, Some("c"), Some("f"), "{}"), finish("stop"), done()];
    assert_eq!(kinds(Api::Messages, &call), "Note Content Content Note Note End ");
    let ping = Frame::new(": keep-alive\n\n", FrameKind::Ping);
    assert_eq!(kinds(Api::Messages, std::slice::from_ref(&ping)), "Ping "); // PC18
    assert_eq!(kinds(Api::Chat, &[ping]), "Ping ");
    let text = block(0, &json!({"type": "text", "text": ""}));
    let messages =
        [start(), text, grown(0, &json!({"type": "text_delta", "text": "a"})), ending("end_turn"), stop()];
    assert_eq!(kinds(Api::Chat, &messages), "Note Content Note Note End ");
}

#[test]
fn a_refusal_is_one_in_either_dialect_and_its_reason_is_no_content() {
    let refusals = |to, frames: Vec<Frame>, at: usize| {
        let mut frames = frames;
        frames[at].kind = FrameKind::Refusal;
        let told = translated(to, &frames).unwrap();
        told.iter().map(|frame| frame.kind).filter(|kind| *kind != FrameKind::Note).collect::<Vec<_>>()
    };
    let chat = vec![delta(&json!({"role": "assistant"})), finish("content_filter"), done()];
    assert_eq!(refusals(Api::Messages, chat, 1), [FrameKind::Refusal, FrameKind::End]); // PC4
    let explained =
        r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"explanation":"no"}}}"#;
    let ending = Frame::new(format!("event: message_delta\ndata: {explained}\n\n"), FrameKind::Note);
    let messages = vec![start(), ending, stop()];
    let kinds = refusals(Api::Chat, messages, 1);
    assert_eq!(kinds, [FrameKind::Refusal, FrameKind::Refusal, FrameKind::End]); // PC4
}

#[test]
fn what_the_provider_counted_goes_along_with_a_frame() {
    for (to, frames) in [(Api::Messages, chat_stream()), (Api::Chat, messages_stream())] {
        let told = translated(to, &frames).unwrap();
        let counted: Vec<_> = told.iter().filter_map(|frame| frame.usage).collect();
        assert_eq!(counted, [Usage { input_tokens: 8, output_tokens: 9 }]); // PC19
    }
}

#[test]
fn a_thinking_model_is_heard_to_be_at_work_and_its_thoughts_are_not() {
    for (to, frames) in [(Api::Messages, chat_stream()), (Api::Chat, messages_stream())] {
        let told = translated(to, &frames[..3]).unwrap();
        let last = told.last().unwrap();
        assert_eq!(last.kind, FrameKind::Content);
        assert!(!last.bytes.windows(2).any(|part| part == b"hm"), "{last:?}");
    }
}

#[test]
fn a_stream_cut_at_any_event_has_no_end() {
    for (to, frames) in [(Api::Messages, chat_stream()), (Api::Chat, messages_stream())] {
        for cut in 0..frames.len() {
            let told = translated(to, &frames[..cut]).unwrap();
            assert!(told.iter().all(|frame| frame.kind != FrameKind::End), "cut at {cut}"); // RS6
            let heard = heard(to, &told);
            assert!(!heard.whole && heard.end.is_none(), "cut at {cut}: {heard:?}");
        }
    }
}

#[test]
fn an_end_without_a_reason_is_a_truncation() {
    let chat = [delta(&json!({"content": "a"})), done()];
    assert_eq!(translated(Api::Messages, &chat).unwrap_err().kind, ErrorKind::Truncated); // RS6
    assert_eq!(translated(Api::Chat, &[start(), stop()]).unwrap_err().kind, ErrorKind::Truncated);
}

#[test]
fn a_refusal_is_told_as_one() {
    let chat = [delta(&json!({"refusal": "no"})), finish("stop"), done()];
    let told = heard(Api::Messages, &translated(Api::Messages, &chat).unwrap());
    assert_eq!((told.text.as_str(), told.end.as_deref()), ("no", Some("refusal")));
    let details = json!({"type": "refusal", "explanation": "no"});
    let delta = json!({"stop_reason": "refusal", "stop_details": details});
    let messages = [start(), event(&json!({"type": "message_delta", "delta": delta})), stop()];
    let told = heard(Api::Chat, &translated(Api::Chat, &messages).unwrap());
    assert_eq!((told.text.as_str(), told.end.as_deref()), ("no", Some("content_filter")));
}

#[test]
fn calls_are_told_apart_whatever_vendors_leave_out() {
    let without_index = |id: &str, arguments: &str| {
        delta(&json!({"tool_calls": [{"id": id, "function": {"name": "f", "arguments": arguments}}]}))
    };
    for frames in [
        [without_index("c1", "{"), without_index("c1", "}"), without_index("c2", "{}")],
        [
            piece(0, Some("c1"), Some("f"), "{"),
            piece(0, Some("c1"), None, "}"),
            piece(0, Some("c2"), Some("f"), "{}"),
        ],
        [
            piece(7, Some("c1"), Some("f"), "{"),
            piece(7, None, None, "}"),
            piece(9, Some("c2"), Some("f"), "{}"),
        ],
    ] {
        let told = translated(Api::Messages, &frames).unwrap();
        let calls: Vec<_> =
            heard(Api::Messages, &told).calls.into_iter().map(|(id, _, all)| id + &all).collect();
        assert_eq!(calls, ["c1{}", "c2{}"]);
    }
}

#[test]
fn text_after_a_call_and_a_call_after_text_are_blocks_of_their_own() {
    let text = || delta(&json!({"content": "t"}));
    let chat = [text(), piece(0, Some("c"), Some("f"), "{}"), text(), finish("stop"), done()];
    let told = heard(Api::Messages, &translated(Api::Messages, &chat).unwrap());
    assert_eq!((told.text.as_str(), told.calls.len(), told.whole), ("tt", 1, true));
}

#[test]
fn inputs_that_come_at_once_are_told_at_once() {
    let call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}});
    let messages = [start(), block(0, &call), block_stop(0), ending("tool_use"), stop()];
    let told = heard(Api::Chat, &translated(Api::Chat, &messages).unwrap());
    assert_eq!(told.calls, [("t".into(), "f".into(), "{\"a\":1}".into())]);
}

#[test]
fn what_breaks_the_grammar_is_malformed_and_what_nobody_can_tell_unsupported() {
    use ErrorKind::{Malformed, Unsupported};
    let text = || grown(0, &json!({"type": "text_delta", "text": "a"}));
    let call = |id: &str| json!({"index": 0, "id": id, "function": {"name": "f"}});
    let many = |n: usize| (0..n).map(|i| call(&i.to_string())).collect::<Vec<_>>();
    let woven = vec![
        piece(0, Some("a"), Some("f"), "{"),
        piece(1, Some("b"), Some("f"), "{"),
        piece(0, None, None, "}"),
    ];
    let table: Vec<(Api, Vec<Frame>, ErrorKind)> = vec![
        (Api::Messages, vec![chunk(&json!([]))], Malformed),
        (Api::Messages, vec![chunk(&json!({"choices": 7}))], Malformed),
        (Api::Messages, vec![finish("because")], Malformed),
        (Api::Messages, vec![delta(&json!({"tool_calls": many(129)}))], Malformed),
        (
            Api::Messages,
            vec![delta(&json!({"tool_calls": many(100)})), delta(&json!({"tool_calls": many(100)}))],
            Malformed,
        ),
        (Api::Messages, woven, Unsupported),
        (Api::Chat, vec![text()], Malformed),
        (Api::Chat, vec![start(), start()], Malformed),
        (Api::Chat, vec![start(), text()], Malformed),
        (Api::Chat, vec![start(), event(&json!({"type": "content_block_delta"}))], Malformed),
        (Api::Chat, vec![start(), ending("because")], Malformed),
        (Api::Chat, vec![start(), block(0, &json!({"type": "tool_use"}))], Malformed),
        (Api::Chat, vec![start(), block(0, &json!({"type": "server_tool_use", "id": "x"}))], Unsupported),
    ];
    for (to, frames, kind) in table {
        let error = translated(to, &frames).err().unwrap_or_else(|| panic!("{frames:?} were taken"));
        assert_eq!(error.kind, kind, "{frames:?}: {error}");
    }
}

#[test]
fn a_long_id_is_not_repeated_with_each_chunk() {
    let head = json!({"id": "i".repeat(100_000), "model": "ä".repeat(100_000)});
    let mut frames = messages_stream();
    frames[0] = event(&json!({"type": "message_start", "message": head}));
    for frame in translated(Api::Chat, &frames).unwrap() {
        assert!(frame.bytes.len() < 2_000, "{} bytes", frame.bytes.len()); // RS7
    }
}

#[tokio::test]
async fn a_stream_of_frames_is_translated_as_it_comes_and_keeps_its_error() {
    use futures_util::{StreamExt, stream};
    let broken = ProviderError::new(ErrorKind::Reset, "gone");
    let frames = [delta(&json!({"content": "a"})), delta(&json!({"content": "b"}))].map(Ok);
    let frames = stream::iter(frames.into_iter().chain([Err(broken)]));
    let told: Vec<_> = translator(Api::Messages).frames(Box::pin(frames)).collect().await;
    let (last, told) = told.split_last().unwrap();
    assert_eq!(last.as_ref().unwrap_err().kind, ErrorKind::Reset); // RS6
    let told: Vec<_> = told.iter().map(|frame| frame.clone().unwrap()).collect();
    assert_eq!(heard(Api::Messages, &told).text, "ab");
}

/// A script of texts and of calls with their arguments in pieces.
fn scripts() -> impl Strategy<Value = Vec<(bool, Vec<String>)>> {
    prop::collection::vec((any::<bool>(), prop::collection::vec("[a-zä\"\\\\\n]{1,6}", 1..4)), 0..8)
}

fn played(script: &[(bool, Vec<String>)]) -> Vec<Frame> {
    let mut frames = vec![delta(&json!({"role": "assistant", "content": ""}))];
    let mut calls = 0;
    for (is_call, pieces) in script {
        if *is_call {
            frames.push(piece(calls, Some(&format!("c{calls}")), Some("f"), ""));
            frames.extend(pieces.iter().map(|text| piece(calls, None, None, text)));
            calls += 1;
        } else {
            frames.extend(pieces.iter().map(|text| delta(&json!({"content": text}))));
        }
    }
    frames.extend([finish(if calls > 0 { "tool_calls" } else { "stop" }), done()]);
    frames
}

proptest! {
    #[test]
    fn a_stream_says_the_same_there_and_back(script in scripts()) {
        let there = translated(Api::Messages, &played(&script)).unwrap();
        let back = translated(Api::Chat, &there).unwrap();
        let (there, back) = (heard(Api::Messages, &there), heard(Api::Chat, &back));
        let text: String = script.iter().filter(|(call, _)| !call).flat_map(|(_, pieces)| pieces.clone()).collect();
        let calls: Vec<_> = script.iter().filter(|(call, _)| *call).map(|(_, pieces)| pieces.concat()).collect();
        for heard in [&there, &back] {
            prop_assert_eq!(&heard.text, &text); // GW2
            prop_assert_eq!(heard.calls.iter().map(|call| call.2.clone()).collect::<Vec<_>>(), calls.clone());
            prop_assert!(heard.whole);
        }
    }

    #[test]
    fn hostile_events_never_panic(events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4)) {
        for to in [Api::Messages, Api::Chat] {
            let mut translator = translator(to);
            for event in &events {
                let _ = translator.frame(&Frame::new(Bytes::copy_from_slice(event), FrameKind::Content));
            }
        }
    }

    #[test]
    fn events_in_any_order_never_panic_and_end_at_most_once(order in prop::collection::vec(0usize..64, 0..40)) {
        for (to, frames) in [(Api::Messages, chat_stream()), (Api::Chat, messages_stream())] {
            let mut translator = translator(to);
            let told = order.iter().map_while(|i| translator.frame(&frames[i % frames.len()]).ok());
            let told: Vec<_> = told.flatten().collect();
            let ends = told.iter().filter(|frame| frame.kind == FrameKind::End).count();
            prop_assert!(ends <= 1 && told.iter().all(|frame| frame.bytes.ends_with(b"\n\n")));
        }
    }
}
