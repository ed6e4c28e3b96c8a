//! A stream is whole, or says that it is not.

use mainstay::providers::scripted::Fault;

use crate::support::{Speaks, World};

/// The scripted answer has the role, then five words: "Echo", "from", "a:", "hi", "there".
const PROMPT: &str = "hi there";
const WORDS: usize = 5;

#[tokio::test]
async fn a_stream_arrives_word_by_word_and_byte_for_byte() {
    let world = World::new().await;
    let answer = world.ask_streaming(PROMPT).await;
    assert_eq!(answer.streamed(), "Echo from a: hi there");
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("x-mainstay-provider"), "a");
    assert_eq!(answer.events().last(), Some(&"[DONE]"));
    let direct = crate::support::http().post(format!("{}/chat/completions", world.a.base_url()));
    let body = r#"{"model":"model-a","stream":true,"messages":[{"role":"user","content":"hi there"}]}"#;
    let direct = crate::support::answered(direct.body(body)).await;
    let without_id = |text: &str| text.replace("chatcmpl-a-1\"", "\"").replace("chatcmpl-a-2\"", "\"");
    let without_time = |text: &str| {
        let parts =
            text.split("\"created\":").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
        parts.collect::<String>()
    };
    assert_eq!(without_time(&without_id(&answer.text)), without_time(&without_id(&direct.text)));
}

#[tokio::test]
async fn broken_before_the_first_content_only_the_next_provider_is_seen() {
    for speaks in [Speaks::OpenAi, Speaks::Anthropic] {
        broken_before(speaks).await;
    }
}

async fn broken_before(speaks: Speaks) {
    let world = World::speaking(speaks).await;
    for cut in 0..=speaks.before() {
        for fault in [Fault::CutAfter(cut), Fault::ResetAfter(cut), Fault::ErrorAfter(cut)] {
            world.a.set_default_fault(Some(fault.clone()));
            let answer = world.ask_streaming(PROMPT).await;
            assert_eq!(answer.streamed(), "Echo from b: hi there", "{fault}"); // RS5
            assert!(!answer.text.contains("from a"), "{fault}: {answer:?}");
            world.a.set_default_fault(None);
            crate::support::until("a's circuit is closed", async || {
                world.ask("heal").await;
                world.circuit("a") == "closed"
            })
            .await;
        }
    }
}

#[tokio::test]
async fn broken_after_it_the_stream_ends_in_an_explicit_error_and_never_in_done() {
    for speaks in [Speaks::OpenAi, Speaks::Anthropic] {
        broken_after(speaks).await;
    }
}

async fn broken_after(speaks: Speaks) {
    for delivered in 1..=WORDS {
        let events = speaks.before() + delivered;
        for fault in [
            Fault::CutAfter(events),
            Fault::ResetAfter(events),
            Fault::ErrorAfter(events),
            Fault::HangAfter(events),
        ] {
            let world = World::speaking(speaks).await;
            world.a.set_default_fault(Some(fault.clone()));
            let answer = world.ask_streaming(PROMPT).await;
            let expected: String = "Echo from a: hi there".split_inclusive(' ').take(delivered).collect();
            assert_eq!(answer.streamed(), expected, "{fault}");
            let last = &answer.last_event()["error"];
            let told = if speaks == Speaks::Anthropic { &last["details"] } else { last };
            assert_eq!(told["delivered_frames"], delivered, "{fault}: {answer:?}"); // RS6
            assert_eq!(told["provider"], "a", "{fault}");
            assert!(!answer.is_signed_off(), "{fault}: {answer:?}");
            assert_eq!(world.b.requests(), 0, "{fault}: what was delivered cannot be taken back");
        }
    }
}

#[tokio::test]
async fn an_answer_without_its_done_is_not_passed_off_as_complete() {
    for speaks in [Speaks::OpenAi, Speaks::Anthropic] {
        let world = World::speaking(speaks).await;
        world.a.set_default_fault(Some(Fault::NoDone));
        let answer = world.ask_streaming(PROMPT).await;
        let last = &answer.last_event()["error"];
        let code = if speaks == Speaks::Anthropic { &last["details"]["error_code"] } else { &last["code"] };
        assert_eq!(code, "truncated", "{answer:?}"); // RS6
        assert!(!answer.is_signed_off(), "{answer:?}");
    }
}
