//! A caller is answered in its own words, whoever answers.

use mainstay::{Mode, providers::scripted::Fault};
use serde_json::{Value, json};

use crate::support::{
    Answer,
    Speaks::{self, Anthropic, OpenAi},
    World, until,
};

/// "Echo", "from", "a:", "hi", "there".
const PROMPT: &str = "hi there";
const WORDS: usize = 5;

fn other(speaks: Speaks) -> Speaks {
    if speaks == OpenAi { Anthropic } else { OpenAi }
}

/// A caller whose words no provider speaks.
async fn abroad(speaks: Speaks) -> World {
    World::asking(speaks, [other(speaks); 2]).await
}

/// Asks with further members.
async fn wish(world: &World, more: &Value) -> Answer {
    let mut body = world.body(PROMPT, false);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.chat(&body).await
}

/// The JSON of a stream's events.
fn events(answer: &Answer) -> Vec<Value> {
    answer.events().iter().filter_map(|data| serde_json::from_str(data).ok()).collect()
}

fn ends_as_its_dialect_does(speaks: Speaks, answer: &Answer) -> bool {
    match speaks {
        OpenAi => answer.text.ends_with("data: [DONE]\n\n"),
        Anthropic => answer.last_event()["type"] == "message_stop",
    }
}

#[tokio::test]
async fn each_caller_is_answered_in_its_own_words_by_a_provider_of_the_other_dialect() {
    for speaks in [OpenAi, Anthropic] {
        let world = abroad(speaks).await;
        let answer = world.ask(PROMPT).await;
        assert_eq!((answer.status, answer.said().as_str()), (200, "Echo from a: hi there"), "{answer:?}"); // GW2
        assert_eq!((answer.header("x-mainstay-lacks"), answer.header("x-mainstay-notice")), ("", ""));
        let body = answer.json();
        let (form, usage) = match speaks {
            OpenAi => (&body["object"], ["prompt_tokens", "completion_tokens"]),
            Anthropic => (&body["type"], ["input_tokens", "output_tokens"]),
        };
        assert_eq!(form, if speaks == OpenAi { "chat.completion" } else { "message" });
        assert_eq!(usage.map(|name| &body["usage"][name]), [&json!(2), &json!(WORDS)]);

        let answer = world.ask_streaming(PROMPT).await;
        assert_eq!(answer.header("content-type"), "text/event-stream");
        assert_eq!(answer.streamed(), "Echo from a: hi there");
        assert!(ends_as_its_dialect_does(speaks, &answer), "{answer:?}");
    }
}

#[tokio::test]
async fn tools_are_called_across_dialects_whole_and_streamed() {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let tools = json!([{"type": "function", "function": {"name": "say", "parameters": schema}}]);
    let world = abroad(OpenAi).await;
    let ask = async |stream| {
        wish(&world, &json!({"tools": tools, "tool_choice": "required", "stream": stream})).await
    };
    let choice = ask(false).await.json()["choices"][0].clone();
    let call = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("say"), &json!(r#"{"text":"hi there"}"#))); // GW2
    assert_eq!(choice["finish_reason"], "tool_calls");
    let piece = |chunk: &Value| {
        chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().map(String::from)
    };
    let pieces: String = events(&ask(true).await).iter().filter_map(piece).collect();
    assert_eq!(pieces, r#"{"text":"hi there"}"#);

    let tools = json!([{"name": "say", "input_schema": schema}]);
    let world = abroad(Anthropic).await;
    let ask = async |stream| {
        wish(&world, &json!({"tools": tools, "tool_choice": {"type": "any"}, "stream": stream})).await
    };
    let message = ask(false).await.json();
    let block = &message["content"][0];
    assert_eq!((&block["name"], &block["input"]), (&json!("say"), &json!({"text": "hi there"}))); // GW2
    assert_eq!(message["stop_reason"], "tool_use");
    let piece = |event: &Value| event["delta"]["partial_json"].as_str().map(String::from);
    let pieces: String = events(&ask(true).await).iter().filter_map(piece).collect();
    assert_eq!(pieces, r#"{"text":"hi there"}"#);
}

#[tokio::test]
async fn a_chain_fails_over_from_one_dialect_to_the_other_and_says_what_the_answer_lacks() {
    let table = [
        (OpenAi, json!({"seed": 1, "logit_bias": {"1": 2}}), "logit_bias, seed"),
        (Anthropic, json!({"top_k": 1}), "top_k"),
    ];
    for (speaks, wishes, lacks) in table {
        let world = World::asking(speaks, [speaks, other(speaks)]).await;
        let answer = wish(&world, &wishes).await;
        assert_eq!(
            (answer.said().as_str(), answer.header("x-mainstay-lacks")),
            ("Echo from a: hi there", "")
        );
        world.a.set_default_fault(Some(Fault::status(503)));
        let answer = wish(&world, &wishes).await;
        assert_eq!(answer.said(), "Echo from b: hi there", "{answer:?}");
        assert_eq!((answer.header("x-mainstay-provider"), answer.header("x-mainstay-attempts")), ("b", "2"));
        assert_eq!(answer.header("x-mainstay-lacks"), lacks);
        assert_eq!(
            answer.header("x-mainstay-notice"),
            format!("provider b answered in place of a (overloaded); provider b answered without: {lacks}")
        );
        let answer = world.ask_streaming(PROMPT).await;
        assert_eq!(answer.streamed(), "Echo from b: hi there", "{answer:?}");
        assert!(ends_as_its_dialect_does(speaks, &answer), "{answer:?}");
    }
}

#[tokio::test]
async fn the_notice_tells_what_an_answer_lacks_beside_what_is_out() {
    let world = World::asking(OpenAi, [OpenAi, Anthropic]).await;
    world.break_a(Fault::status(503)).await;
    world.until_mode(Mode::Degraded).await;
    let answer = wish(&world, &json!({"seed": 1, "stream": true})).await;
    let notice = answer.header("x-mainstay-notice");
    assert!(notice.starts_with("DEGRADED: provider a"), "{notice}");
    assert!(notice.ends_with("; provider b answered without: seed"), "{notice}");
}

#[tokio::test]
async fn what_cannot_be_translated_goes_to_the_next_provider_or_is_refused_with_its_place() {
    let audio = json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]);
    let table = [
        (OpenAi, json!({"messages": audio}), "audio (`messages[0].content[0]`)"),
        (OpenAi, json!({"n": 2}), "`n`"),
        (Anthropic, json!({"tools": [{"type": "computer_20250124", "name": "computer"}]}), "`tools[0]`"),
    ];
    for (speaks, wishes, place) in table {
        let world = World::asking(speaks, [other(speaks), speaks]).await;
        let answer = wish(&world, &wishes).await;
        assert_eq!((answer.status, answer.header("x-mainstay-provider")), (200, "b"), "{answer:?}");
        assert_eq!((world.a.requests(), world.circuit("a")), (0, "closed"));

        let world = abroad(speaks).await;
        let answer = wish(&world, &wishes).await;
        assert_eq!((answer.status, world.a.requests() + world.b.requests()), (400, 0), "{answer:?}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(place), "{answer:?}");
    }
}

#[tokio::test]
async fn an_error_is_told_in_its_caller_s_words_with_the_provider_s_status() {
    for speaks in [OpenAi, Anthropic] {
        let world = abroad(speaks).await;
        for provider in [&world.a, &world.b] {
            provider.set_default_fault(Some(Fault::status(413)));
        }
        let answer = world.ask(PROMPT).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(answer.json()["type"] == "error", speaks == Anthropic, "{answer:?}"); // GW4
        assert!(answer.json()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn broken_before_the_first_content_only_the_next_provider_is_seen() {
    for speaks in [OpenAi, Anthropic] {
        for cut in 0..=other(speaks).before() {
            for fault in [Fault::CutAfter(cut), Fault::ResetAfter(cut), Fault::ErrorAfter(cut)] {
                let world = World::asking(speaks, [other(speaks), speaks]).await;
                world.a.set_default_fault(Some(fault.clone()));
                let answer = world.ask_streaming(PROMPT).await;
                assert_eq!(answer.streamed(), "Echo from b: hi there", "{speaks:?}: {fault}"); // RS5
                assert!(!answer.text.contains("from a"), "{speaks:?}: {fault}: {answer:?}");
                assert!(ends_as_its_dialect_does(speaks, &answer), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn broken_after_it_a_translated_stream_ends_in_an_error_of_its_caller_s_dialect() {
    for speaks in [OpenAi, Anthropic] {
        for delivered in 1..=WORDS {
            let events = other(speaks).before() + delivered;
            for fault in [
                Fault::CutAfter(events),
                Fault::ResetAfter(events),
                Fault::ErrorAfter(events),
                Fault::HangAfter(events),
            ] {
                let world = World::asking(speaks, [other(speaks), speaks]).await;
                world.a.set_default_fault(Some(fault.clone()));
                let answer = world.ask_streaming(PROMPT).await;
                let expected: String = "Echo from a: hi there".split_inclusive(' ').take(delivered).collect();
                assert_eq!(answer.streamed(), expected, "{speaks:?}: {fault}");
                let last = answer.last_event();
                assert_eq!(last["type"] == "error", speaks == Anthropic, "{answer:?}"); // RS6
                assert!(last["error"]["message"].as_str().unwrap().contains("`a` broke off"), "{answer:?}");
                let reasons = ["\"finish_reason\":\"", "\"stop_reason\":\""];
                assert!(!answer.is_signed_off(), "{speaks:?}: {fault}: {answer:?}"); // RS6
                assert!(reasons.iter().all(|reason| !answer.text.contains(reason)), "{fault}: {answer:?}");
                assert_eq!(world.b.requests(), 0, "{fault}: what was delivered cannot be taken back");
            }
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_takes_a_translated_call_along() {
    for speaks in [OpenAi, Anthropic] {
        let world = World::asking(speaks, [other(speaks), speaks]).await;
        world.a.set_default_fault(Some(Fault::Hang));
        let leaving = tokio::time::timeout(std::time::Duration::from_millis(50), world.ask_streaming(PROMPT));
        assert!(leaving.await.is_err());
        until("the caller is gone upstream", async || world.a.counts().aborted == 1).await; // GW5
        assert_eq!((world.b.requests(), world.circuit("a")), (0, "closed"));
    }
}
