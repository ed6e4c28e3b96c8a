//! Calls that a provider writes at the same time, piece by piece (GW2).

use mainstay_actors::{
    call::{Api, Frame, FrameKind},
    error::ErrorKind,
};
use proptest::prelude::*;
use serde_json::json;

use super::{
    frames::*,
    heard::{Heard, heard},
};

/// What a provider writes into one block or call: a text, or a call's input; in pieces.
#[derive(Clone, Debug)]
struct Thread {
    is_call: bool,
    pieces: Vec<String>,
}

fn threads() -> impl Strategy<Value = Vec<Thread>> {
    let word = "[a-z{}\\[\\]\"\\\\ä,]{0,6}";
    let input = prop::collection::btree_map(word, prop::collection::vec(word, 0..3), 0..3);
    let call = (input, 1usize..5).prop_map(|(input, length)| pieces(true, &json!(input).to_string(), length));
    let text = ("[a-z]{1,9}", 1usize..4).prop_map(|(text, length)| pieces(false, &text, length));
    prop::collection::vec(prop_oneof![3 => call, 1 => text], 1..6)
}

fn pieces(is_call: bool, text: &str, length: usize) -> Thread {
    let letters: Vec<char> = text.chars().collect();
    Thread { is_call, pieces: letters.chunks(length).map(|piece| piece.iter().collect()).collect() }
}

/// All steps of all threads, each thread's in order, woven together as `picks` say: the thread, and how far it is.
fn woven(threads: &[Thread], picks: &[prop::sample::Index]) -> Vec<(usize, usize)> {
    let mut left: Vec<_> = threads.iter().map(|thread| 0..=thread.pieces.len()).collect();
    let mut steps = Vec::new();
    for pick in picks.iter().cycle() {
        let open: Vec<_> = (0..left.len()).filter(|thread| !left[*thread].is_empty()).collect();
        if open.is_empty() {
            break;
        }
        let thread = *pick.get(&open);
        steps.push((thread, left[thread].next().unwrap()));
    }
    steps
}

fn chat(threads: &[Thread], steps: &[(usize, usize)]) -> Vec<Frame> {
    let step = |&(thread, step): &(usize, usize)| {
        let (Thread { is_call, pieces }, id) = (&threads[thread], format!("c{thread}"));
        match (is_call, step) {
            (true, 0) => piece(thread as u64, Some(&id), Some("f"), ""),
            (true, step) => piece(thread as u64, None, None, &pieces[step - 1]),
            (false, 0) => delta(&json!({"content": ""})),
            (false, step) => delta(&json!({"content": pieces[step - 1]})),
        }
    };
    steps.iter().map(step).chain([finish("stop"), done()]).collect()
}

fn messages(threads: &[Thread], steps: &[(usize, usize)]) -> Vec<Frame> {
    let step = |&(thread, step): &(usize, usize)| {
        let (Thread { is_call, pieces }, place) = (&threads[thread], thread as u64);
        match (is_call, step) {
            (true, 0) => block(
                place,
                &json!({"type": "tool_use", "id": format!("c{thread}"), "name": "f", "input": {}}),
            ),
            (true, step) => {
                grown(place, &json!({"type": "input_json_delta", "partial_json": pieces[step - 1]}))
            }
            (false, 0) => block(place, &json!({"type": "text", "text": ""})),
            (false, step) => grown(place, &json!({"type": "text_delta", "text": pieces[step - 1]})),
        }
    };
    let stops = (0..threads.len()).map(|place| block_stop(place as u64));
    [start()]
        .into_iter()
        .chain(steps.iter().map(step))
        .chain(stops)
        .chain([ending("tool_use"), stop()])
        .collect()
}

/// The calls by their ids: which one begins first is the provider's choice.
fn calls(heard: &Heard) -> Vec<(String, String)> {
    let mut calls: Vec<_> = heard.calls.iter().map(|(id, _, input)| (id.clone(), input.clone())).collect();
    calls.sort();
    calls
}

proptest! {
    #[test]
    fn calls_and_texts_woven_together_in_any_way_are_told_as_the_same_ones(
        threads in threads(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let steps = woven(&threads, &picks);
        let said = |is_call: bool| threads.iter().enumerate().filter(move |(_, thread)| thread.is_call == is_call);
        let expected: Vec<_> =
            said(true).map(|(i, thread)| (format!("c{i}"), thread.pieces.concat())).collect();
        let is_text = |step: &&(usize, usize)| !threads[step.0].is_call && step.1 > 0;
        let text: String = steps.iter().filter(is_text).map(|(i, step)| &*threads[*i].pieces[step - 1]).collect();
        for (to, frames) in [(Api::Messages, chat(&threads, &steps)), (Api::Chat, messages(&threads, &steps))] {
            let heard = heard(to, &translated(to, &frames).unwrap());
            prop_assert_eq!(calls(&heard), expected.clone()); // GW2
            prop_assert_eq!(&heard.text, &text);
            prop_assert!(heard.whole);
        }
    }
}

#[test]
fn a_call_waits_only_until_the_one_before_is_whole_and_is_heard_to_be_at_work() {
    let mut translator = translator(Api::Messages);
    let mut told = |frame: Frame| {
        let frames = translator.frame(&frame).unwrap();
        assert!(frames.iter().any(|frame| frame.kind == FrameKind::Content), "{frames:?}"); // PC18
        shown(&frames).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    };
    let begun = "content_block_start content_block_delta";
    assert_eq!(told(piece(0, Some("a"), Some("f"), "{\"x\"")), format!("message_start {begun}"));
    assert_eq!(told(piece(1, Some("b"), Some("g"), "{\"y\"")), "ping ping");
    assert_eq!(told(delta(&json!({"content": "t"}))), "ping");
    assert_eq!(told(piece(1, None, None, ":1}")), "ping");
    let all = told(piece(0, None, None, ":2}"));
    let second = format!("content_block_delta content_block_stop {begun} content_block_delta");
    assert_eq!(all, format!("{second} content_block_stop {begun}"));
    assert_eq!(told(piece(2, Some("c"), Some("h"), "{")), format!("content_block_stop {begun}"));
    assert_eq!(told(piece(2, None, None, "}")), "content_block_delta");
}

#[test]
fn what_waits_is_bounded_and_its_excess_ends_the_stream() {
    let mut translator = translator(Api::Messages);
    translator.frame(&piece(0, Some("a"), Some("f"), "{")).unwrap();
    translator.frame(&piece(1, Some("b"), Some("g"), "{")).unwrap();
    let long = "x".repeat(100_000);
    let fed = (0..20).map(|_| translator.frame(&piece(1, None, None, &long)));
    let (sent, error) = fed.enumerate().find_map(|(i, told)| Some((i, told.err()?))).unwrap();
    assert_eq!((sent, error.kind), (10, ErrorKind::Unsupported)); // RS7
    assert!(error.message.contains("woven together"), "{error}");
}

#[test]
fn a_call_that_never_gets_whole_keeps_the_rest_waiting_until_the_end() {
    let frames = [
        piece(0, Some("a"), Some("f"), ""),
        piece(1, Some("b"), Some("g"), "{}"),
        piece(2, Some("c"), Some("h"), "{"),
        finish("length"),
        done(),
    ];
    let told = heard(Api::Messages, &translated(Api::Messages, &frames).unwrap());
    let inputs: Vec<_> = told.calls.iter().map(|(id, _, input)| format!("{id}{input}")).collect();
    assert_eq!((inputs.join(" "), told.end.as_deref()), ("a b{} c{".into(), Some("max_tokens")));
}
