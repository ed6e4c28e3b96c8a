//! What vendors leave out, and what no vendor should send.

use std::{iter, ops::Range};

use bytes::Bytes;
use mainstay_actors::{
    call::{Api, Frame, FrameKind},
    error::ErrorKind,
};
use proptest::prelude::*;
use serde_json::json;

use super::{frames::*, heard::heard};

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
    let many = |ids: Range<u32>| ids.map(|id| call(&id.to_string())).collect::<Vec<_>>();
    let thought = json!({"type": "thinking", "thinking": ""});
    let late = vec![
        piece(0, Some("a"), Some("f"), "{}"),
        piece(1, Some("b"), Some("f"), "{"),
        piece(0, None, None, "}"),
    ];
    let table: Vec<(Api, Vec<Frame>, ErrorKind)> = vec![
        (Api::Messages, vec![chunk(&json!([]))], Malformed),
        (Api::Messages, vec![chunk(&json!({"choices": 7}))], Malformed),
        (Api::Messages, vec![finish("because")], Malformed),
        (Api::Messages, vec![delta(&json!({"tool_calls": many(0..129)}))], Malformed),
        (
            Api::Messages,
            vec![delta(&json!({"tool_calls": many(0..100)})), delta(&json!({"tool_calls": many(100..200)}))],
            Malformed,
        ),
        (Api::Messages, late, Malformed),
        (Api::Messages, vec![piece(0, None, Some("f"), "{")], Malformed),
        (Api::Chat, vec![text()], Malformed),
        (Api::Chat, vec![start(), start()], Malformed),
        (Api::Chat, vec![start(), text()], Malformed),
        (Api::Chat, vec![start(), event(&json!({"type": "content_block_delta"}))], Malformed),
        (Api::Chat, vec![start(), ending("because")], Malformed),
        (Api::Chat, vec![start(), block(0, &json!({"type": "tool_use"}))], Malformed),
        (Api::Chat, iter::once(start()).chain((0..129).map(|i| block(i, &thought))).collect(), Malformed),
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

proptest! {
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
