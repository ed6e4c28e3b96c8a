//! What the answers of a chat mean.
//!
//! `[DONE]` counts only after a finish reason: without one the answer was cut and is never passed off as
//! complete.

use std::fmt;

use mainstay_actors::{
    call::{Finish, FrameKind, Usage},
    error::ProviderError,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::providers::{
    dialect::{self, Delta, Dialect, Meaning, Whole, is_filled, malformed, truncated},
    errors,
    redact::Redactor,
    sse,
};

/// Follows one stream.
#[derive(Debug, Default)]
pub(in crate::providers) struct Chat {
    finished: bool,
}

impl Dialect for Chat {
    fn whole(body: &[u8], secrets: &Redactor) -> Result<Whole, ProviderError> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            choices: Option<Vec<&'a RawValue>>,
            error: Option<IgnoredAny>,
            #[serde(borrow)]
            usage: Option<&'a RawValue>,
        }
        match dialect::answer(body) {
            Some(Answer { error: Some(_), .. }) => Err(errors::inside(body, secrets)),
            Some(Answer { choices: Some(choices), usage, .. }) => {
                Ok(Whole { usage: dialect::usage::<ChatUsage>(usage), finish: common_finish(&choices) })
            }
            _ => Err(malformed("the answer is not a JSON object with `choices`")),
        }
    }

    fn event(&mut self, event: &[u8], secrets: &Redactor) -> Result<Meaning, ProviderError> {
        let sse::Fields { name, data } = sse::fields(event);
        let data = data.as_deref().unwrap_or_default().trim_ascii();
        match (name, data) {
            (Some(b"error"), _) => Err(errors::inside(data, secrets)),
            (Some(b"ping"), _) | (_, b"") => Ok(FrameKind::Ping.into()),
            (_, b"[DONE]") if self.finished => Ok(FrameKind::End.into()),
            (_, b"[DONE]") => Err(truncated()),
            _ => self.chunk(data, secrets),
        }
    }
}

impl Chat {
    fn chunk(&mut self, data: &[u8], secrets: &Redactor) -> Result<Meaning, ProviderError> {
        let chunk: Chunk<'_> = dialect::data(data)?;
        if chunk.error.is_some() {
            return Err(errors::inside(data, secrets));
        }
        let Choices { content, finished, finish } = chunk.choices.unwrap_or_default();
        self.finished |= finished;
        let kind = match (content, finish) {
            (true, _) => FrameKind::Content,
            (_, Some(Finish::Refused)) => FrameKind::Refusal,
            _ => FrameKind::Note,
        };
        Ok(Meaning { kind, usage: dialect::usage::<ChatUsage>(chunk.usage), finish })
    }
}

/// What chats and embeddings say about tokens.
#[derive(Deserialize)]
pub(super) struct ChatUsage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl From<ChatUsage> for Usage {
    fn from(usage: ChatUsage) -> Self {
        Self { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens }
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    choices: Option<Choices>,
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// What all choices of a chunk say together.
#[derive(Default)]
struct Choices {
    content: bool,
    finished: bool,
    /// The worst that one of them says.
    finish: Option<Finish>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    delta: Option<Delta>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de> Visitor<'de> for Choices {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of choices")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self, A::Error> {
        while let Some(choice) = seq.next_element::<Choice<'de>>()? {
            self.content |= choice.delta.is_some_and(|delta| delta.content);
            let reason = choice.finish_reason.filter(|reason| is_filled(reason));
            self.finished |= reason.is_some();
            self.finish = self.finish.max(reason.map(finish));
        }
        Ok(self)
    }
}

fn finish(reason: &RawValue) -> Finish {
    let words = [
        ("stop", Finish::Complete),
        ("tool_calls", Finish::ToolCalls),
        ("function_call", Finish::ToolCalls),
        ("content_filter", Finish::Refused),
    ];
    dialect::finish(reason, &words)
}

/// An answer is refused if all of its choices are, and otherwise as good as the worst of them.
fn common_finish(choices: &[&RawValue]) -> Option<Finish> {
    let finish = |choice: &&RawValue| {
        let choice = serde_json::from_str::<Choice<'_>>(choice.get()).ok();
        choice.and_then(|choice| choice.finish_reason).map_or(Finish::CutShort, finish)
    };
    let (best, worst) = (choices.iter().map(finish).min()?, choices.iter().map(finish).max()?);
    Some(if best == Finish::Refused { best } else { worst.min(Finish::CutShort) })
}

#[cfg(test)]
mod tests {
    use mainstay_actors::error::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn event(chat: &mut Chat, event: impl AsRef<[u8]>) -> Result<Meaning, ProviderError> {
        chat.event(event.as_ref(), &Redactor::default())
    }

    fn kind_of(data: &str) -> Result<FrameKind, ErrorKind> {
        let meaning = event(&mut Chat::default(), format!("data: {data}\n\n"));
        meaning.map(|meaning| meaning.kind).map_err(|e| e.kind)
    }

    #[test]
    fn each_chunk_has_its_meaning() {
        use FrameKind::*;
        let delta =
            |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        let table = [
            (delta(r#"{"role":"assistant"}"#), Note),
            (delta(r#"{"role":"assistant","content":"","refusal":null,"tool_calls":[]}"#), Note),
            (delta("{}"), Note),
            (delta("null"), Note),
            (delta(r#"{"content":"\n\u00e4"}"#), Content),
            (delta(r#"{"role":"assistant","content":"hi"}"#), Content),
            (delta(r#"{"tool_calls":[{"index":0}]}"#), Content),
            (delta(r#"{"refusal":"no"}"#), Content),
            (delta(r#"{"reasoning_content":"hm"}"#), Content),
            (delta(r#"{"function_call":{"name":"f"}}"#), Content),
            (delta(r#"{"audio":{"id":"a"}}"#), Content),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.into(), Note),
            (r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#.into(), Refusal),
            (r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"content_filter"}]}"#.into(), Content),
            (r#"{"choices":[],"usage":{"total_tokens":3},"error":null}"#.into(), Note),
            ("{}".into(), Note),
            ("".into(), Ping),
        ];
        for (data, expected) in table {
            assert_eq!(kind_of(&data), Ok(expected), "{data}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_pings() {
        for text in [": keep-alive\n\n", "\n", "\r\n", "event: ping\ndata: {}\n\n"] {
            assert_eq!(event(&mut Chat::default(), text).unwrap(), FrameKind::Ping.into()); // PC18
        }
    }

    #[test]
    fn done_is_an_end_only_after_a_finish_reason() {
        let mut chat = Chat::default();
        let done = "data: [DONE]\n\n";
        assert_eq!(event(&mut chat, done).unwrap_err().kind, ErrorKind::Truncated); // RS6
        event(&mut chat, "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n").unwrap();
        assert_eq!(event(&mut chat, done).unwrap().kind, FrameKind::End);
    }

    #[test]
    fn an_answer_is_a_refusal_if_a_filter_ended_all_its_choices_and_as_good_as_the_worst_else() {
        use Finish::{Complete, CutShort, Refused, ToolCalls};
        let whole = |choices: &str| {
            let body = format!(r#"{{"choices":[{choices}]}}"#);
            Chat::whole(body.as_bytes(), &Redactor::default()).unwrap().finish
        };
        let (stopped, filtered) = (r#"{"finish_reason":"stop"}"#, r#"{"finish_reason":"content_filter"}"#);
        let (tools, length) = (r#"{"finish_reason":"tool_calls"}"#, r#"{"finish_reason":"length"}"#);
        for (choices, finish) in [
            (filtered.to_string(), Some(Refused)),
            (format!("{filtered},{filtered}"), Some(Refused)),
            (format!("{filtered},{stopped}"), Some(CutShort)),
            (format!("{stopped},{tools}"), Some(ToolCalls)),
            (format!("{tools},{length}"), Some(CutShort)),
            (r#"{"message":{"content":"content_filter"},"finish_reason":"stop"}"#.into(), Some(Complete)),
            (r#"{"finish_reason":"end of tomorrow"}"#.into(), Some(CutShort)),
            (String::new(), None),
            ("7".into(), Some(CutShort)),
        ] {
            assert_eq!(whole(&choices), finish, "{choices}"); // PC4, CA5
        }
    }

    #[test]
    fn errors_inside_a_stream_are_told_apart() {
        let error = r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#;
        assert_eq!(kind_of(error), Err(ErrorKind::RateLimited)); // PC12
        let named = "event: error\ndata: {\"message\":\"m\",\"code\":\"server_error\"}\n\n";
        assert_eq!(event(&mut Chat::default(), named).unwrap_err().kind, ErrorKind::ServerError);
    }

    #[test]
    fn what_is_not_a_chunk_is_malformed_and_its_text_is_not_quoted() {
        for data in ["{oops", "[]", "hello", r#"{"choices":7}"#, r#"{"choices":["secret text"]}"#] {
            let error = event(&mut Chat::default(), format!("data: {data}\n\n")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Malformed, "{data}");
            assert!(!error.message.contains("secret"), "{error}"); // SE4
        }
    }

    #[test]
    fn usage_is_told_whole_and_streamed_and_a_strange_one_is_no_fault() {
        let some = Some(Usage { input_tokens: 3, output_tokens: 5 });
        let table = [
            (r#""usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}"#, some),
            (r#""usage":{"prompt_tokens":-3,"completion_tokens":5}"#, None),
            (r#""usage":"much""#, None),
            (r#""usage":null"#, None),
        ];
        for (usage, expected) in table {
            let body = format!(r#"{{"choices":[],{usage}}}"#);
            assert_eq!(
                Chat::whole(body.as_bytes(), &Redactor::default()).unwrap().usage,
                expected,
                "{usage}"
            ); // PC19
            let streamed = event(&mut Chat::default(), format!("data: {body}\n\n")).unwrap();
            assert_eq!((streamed.kind, streamed.usage), (FrameKind::Note, expected), "{usage}");
        }
    }

    proptest! {
        #[test]
        fn hostile_events_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = event(&mut Chat::default(), bytes);
        }
    }
}
