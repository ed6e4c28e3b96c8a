//! Streams: the grammar of events, both ways, and an end that is said only when it was heard (RS5, RS6).

mod frames;
mod heard;
mod odd;
mod woven;

use mainstay_actors::{
    call::{Api, Frame, FrameKind, Usage},
    error::{ErrorKind, ProviderError},
};
use proptest::prelude::*;
use serde_json::json;

use super::Back;
use frames::*;
use heard::{Heard, heard};

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
fn text_after_a_call_and_a_call_after_text_are_blocks_of_their_own() {
    let text = || delta(&json!({"content": "t"}));
    let chat = [text(), piece(0, Some("c"), Some("f"), "{}"), text(), finish("stop"), done()];
    let told = heard(Api::Messages, &translated(Api::Messages, &chat).unwrap());
    assert_eq!((told.text.as_str(), told.calls.len(), told.whole), ("tt", 1, true));
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
}
