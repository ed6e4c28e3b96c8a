//! A caller is answered in its own words, whoever answers.

use mainstay::providers::scripted::Fault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, World, answered, until};

/// "Echo", "from", "a:", "hi", "there".
const WORDS: usize = 5;

/// In whose words a caller asks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    OpenAi,
    Anthropic,
}
use Caller::{Anthropic, OpenAi};

impl Caller {
    /// The kind of a provider that does not speak its words.
    fn stranger(self) -> &'static str {
        if self == OpenAi { "anthropic" } else { "openai" }
    }

    fn own(self) -> &'static str {
        if self == OpenAi { "openai" } else { "anthropic" }
    }

    /// How many events a stranger sends before the first content.
    fn prelude(self) -> usize {
        if self == OpenAi { 3 } else { 1 }
    }

    async fn ask(self, world: &World, more: &Value) -> Answer {
        let path = if self == OpenAi { "/v1/chat/completions" } else { "/v1/messages" };
        let mut body = json!({"model": "chat", "messages": [{"role": "user", "content": "hi there"}]});
        if self == Anthropic {
            body["max_tokens"] = 100.into();
        }
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = world.request(Method::POST, path).header("content-type", "application/json");
        answered(request.body(body.to_string())).await
    }

    async fn stream(self, world: &World) -> Answer {
        self.ask(world, &json!({"stream": true})).await
    }

    fn said(self, answer: &Answer) -> Value {
        let body = answer.json();
        if self == OpenAi {
            body["choices"][0]["message"]["content"].clone()
        } else {
            body["content"][0]["text"].clone()
        }
    }

    /// The text of a stream.
    fn streamed(self, answer: &Answer) -> String {
        let piece = |data: Value| match self {
            OpenAi => data["choices"][0]["delta"]["content"].as_str().map(String::from),
            Anthropic => data["delta"]["text"].as_str().map(String::from),
        };
        data(answer).into_iter().filter_map(piece).collect()
    }

    fn end(self) -> &'static str {
        if self == OpenAi { "data: [DONE]\n\n" } else { "data: {\"type\":\"message_stop\"}\n\n" }
    }
}

/// The JSON of a stream's events.
fn data(answer: &Answer) -> Vec<Value> {
    let data = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

#[tokio::test]
async fn each_caller_is_answered_in_its_own_words_by_a_provider_of_the_other_dialect() {
    for caller in [OpenAi, Anthropic] {
        let world = World::mixed(caller.stranger(), caller.stranger()).await;
        let answer = caller.ask(&world, &json!({})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(caller.said(&answer), "Echo from a: hi there"); // GW2
        assert_eq!((answer.header("x-mainstay-lacks"), answer.header("x-mainstay-notice")), ("", ""));
        let usage = &answer.json()["usage"];
        let (read, written) = match caller {
            OpenAi => (&usage["prompt_tokens"], &usage["completion_tokens"]),
            Anthropic => (&usage["input_tokens"], &usage["output_tokens"]),
        };
        assert_eq!((read, written), (&json!(2), &json!(5)));

        let answer = caller.stream(&world).await;
        assert_eq!(answer.header("content-type"), "text/event-stream");
        assert_eq!(caller.streamed(&answer), "Echo from a: hi there");
        assert!(answer.text.ends_with(caller.end()), "{answer:?}");
    }
}

#[tokio::test]
async fn tools_are_called_across_dialects_whole_and_streamed() {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let chat = json!({
        "tools": [{"type": "function", "function": {"name": "say", "parameters": schema}}],
        "tool_choice": "required",
    });
    let world = World::mixed("anthropic", "anthropic").await;
    let choice = OpenAi.ask(&world, &chat).await.json()["choices"][0].clone();
    let call = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("say"), &json!("{\"text\":\"hi there\"}"))); // GW2
    assert_eq!(choice["finish_reason"], "tool_calls");
    let mut chat = chat;
    chat["stream"] = true.into();
    let pieces = data(&OpenAi.ask(&world, &chat).await);
    let piece = |data: &Value| data["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].clone();
    let arguments: String = pieces.iter().filter_map(|data| piece(data).as_str().map(String::from)).collect();
    assert_eq!(arguments, "{\"text\":\"hi there\"}");

    let messages =
        json!({"tools": [{"name": "say", "input_schema": schema}], "tool_choice": {"type": "any"}});
    let world = World::mixed("openai", "openai").await;
    let answer = Anthropic.ask(&world, &messages).await.json();
    assert_eq!(answer["content"][0]["input"], json!({"text": "hi there"})); // GW2
    assert_eq!((&answer["content"][0]["name"], &answer["stop_reason"]), (&json!("say"), &json!("tool_use")));
    let mut messages = messages;
    messages["stream"] = true.into();
    let pieces = data(&Anthropic.ask(&world, &messages).await);
    let piece = |data: &Value| data["delta"]["partial_json"].as_str().map(String::from);
    assert_eq!(pieces.iter().filter_map(piece).collect::<String>(), "{\"text\":\"hi there\"}");
}

#[tokio::test]
async fn a_chain_fails_over_from_one_dialect_to_the_other() {
    for caller in [OpenAi, Anthropic] {
        let world = World::mixed(caller.own(), caller.stranger()).await;
        assert_eq!(caller.said(&caller.ask(&world, &json!({})).await), "Echo from a: hi there");
        world.a.set_default_fault(Some(Fault::status(503)));
        let wish =
            if caller == OpenAi { json!({"seed": 1, "logit_bias": {"1": 2}}) } else { json!({"top_k": 1}) };
        let answer = caller.ask(&world, &wish).await;
        assert_eq!(caller.said(&answer), "Echo from b: hi there", "{answer:?}");
        assert_eq!((answer.header("x-mainstay-provider"), answer.header("x-mainstay-attempts")), ("b", "2"));
        let lacks = if caller == OpenAi { "logit_bias, seed" } else { "top_k" };
        assert_eq!(answer.header("x-mainstay-lacks"), lacks);
        let notice = answer.header("x-mainstay-notice");
        assert!(notice.ends_with(&format!("provider b answered without: {lacks}")), "{notice}");
        let answer = caller.stream(&world).await;
        assert_eq!(caller.streamed(&answer), "Echo from b: hi there", "{answer:?}");
        assert!(answer.text.ends_with(caller.end()), "{answer:?}");
    }
}

#[tokio::test]
async fn the_notice_tells_what_an_answer_lacks_beside_what_is_out() {
    let world = World::mixed("openai", "anthropic").await;
    world.break_a(Fault::status(503)).await;
    world.until_mode(mainstay::Mode::Degraded).await;
    let answer = OpenAi.ask(&world, &json!({"seed": 1})).await;
    let notice = answer.header("x-mainstay-notice");
    assert!(notice.starts_with("DEGRADED: provider a, model model-a, is out: "), "{notice}");
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
    for (caller, wish, place) in table {
        let world = World::mixed(caller.stranger(), caller.own()).await;
        let answer = caller.ask(&world, &wish).await;
        assert_eq!((answer.status, answer.header("x-mainstay-provider")), (200, "b"), "{answer:?}");
        assert_eq!((world.a.requests(), world.circuit("a")), (0, "closed"));

        let world = World::mixed(caller.stranger(), caller.stranger()).await;
        let answer = caller.ask(&world, &wish).await;
        assert_eq!((answer.status, world.a.requests() + world.b.requests()), (400, 0), "{answer:?}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(place), "{answer:?}");
    }
}

#[tokio::test]
async fn a_provider_s_error_is_told_in_its_caller_s_words() {
    for caller in [OpenAi, Anthropic] {
        let world = World::mixed(caller.stranger(), caller.stranger()).await;
        world.a.set_default_fault("status=413".parse().ok());
        world.b.set_default_fault("status=413".parse().ok());
        let answer = caller.ask(&world, &json!({})).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(answer.json()["type"] == "error", caller == Anthropic, "{answer:?}"); // GW4
        assert!(answer.json()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn broken_before_the_first_content_only_the_next_provider_is_seen() {
    for caller in [OpenAi, Anthropic] {
        for events in 0..=caller.prelude() {
            for fault in [Fault::CutAfter(events), Fault::ResetAfter(events), Fault::ErrorAfter(events)] {
                let world = World::mixed(caller.stranger(), caller.own()).await;
                world.a.set_default_fault(Some(fault.clone()));
                let answer = caller.stream(&world).await;
                assert_eq!(caller.streamed(&answer), "Echo from b: hi there", "{caller:?}: {fault}"); // RS5
                assert!(!answer.text.contains("from a"), "{caller:?}: {fault}: {answer:?}");
                assert!(answer.text.ends_with(caller.end()), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn broken_after_it_a_translated_stream_ends_in_an_error_of_its_caller_s_dialect() {
    for caller in [OpenAi, Anthropic] {
        for delivered in 1..=WORDS {
            let events = caller.prelude() + delivered;
            for fault in [
                Fault::CutAfter(events),
                Fault::ResetAfter(events),
                Fault::ErrorAfter(events),
                Fault::HangAfter(events),
            ] {
                let world = World::mixed(caller.stranger(), caller.own()).await;
                world.a.set_default_fault(Some(fault.clone()));
                let answer = caller.stream(&world).await;
                let expected: String = "Echo from a: hi there".split_inclusive(' ').take(delivered).collect();
                assert_eq!(caller.streamed(&answer), expected, "{caller:?}: {fault}");
                let last = data(&answer).pop().unwrap();
                assert_eq!(last["type"] == "error", caller == Anthropic, "{answer:?}"); // RS6
                assert!(last["error"]["message"].as_str().unwrap().contains("`a` broke off"), "{answer:?}");
                for sign in ["[DONE]", "message_stop", "\"finish_reason\":\"", "\"stop_reason\":\""] {
                    assert!(!answer.text.contains(sign), "{caller:?}: {fault}: {answer:?}"); // RS6
                }
                assert_eq!(world.b.requests(), 0, "{fault}: what was delivered cannot be taken back");
            }
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_takes_a_translated_call_along() {
    for caller in [OpenAi, Anthropic] {
        let world = World::mixed(caller.stranger(), caller.own()).await;
        world.a.set_default_fault(Some(Fault::Hang));
        let leaving = tokio::time::timeout(std::time::Duration::from_millis(50), caller.stream(&world));
        assert!(leaving.await.is_err());
        until("the caller is gone upstream", async || world.a.counts().aborted == 1).await; // GW5
        assert_eq!((world.b.requests(), world.circuit("a")), (0, "closed"));
    }
}
