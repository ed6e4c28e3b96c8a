//! What the answers to messages mean.
//!
//! `message_stop` counts only after a stop reason: without one the answer was cut and is never passed off as
//! complete. An event's own `type` decides, not the name before it.

use std::borrow::Cow;

use mainstay_actors::{
    call::{Finish, FrameKind, Usage},
    error::ProviderError,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::providers::{
    dialect::{self, Delta, Dialect, Meaning, Whole, is_filled, malformed, truncated},
    errors,
    redact::Redactor,
    sse,
};

/// Follows one stream.
#[derive(Debug, Default)]
pub(in crate::providers) struct Messages {
    stopped: bool,
    used: Usage,
}

impl Dialect for Messages {
    fn whole(body: &[u8], secrets: &Redactor) -> Result<Whole, ProviderError> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            content: Option<Vec<IgnoredAny>>,
            error: Option<IgnoredAny>,
            #[serde(borrow)]
            stop_reason: Option<&'a RawValue>,
            #[serde(borrow)]
            usage: Option<&'a RawValue>,
        }
        match dialect::answer(body) {
            Some(Answer { error: Some(_), .. }) => Err(errors::inside(body, secrets)),
            Some(Answer { content: Some(_), stop_reason, usage, .. }) => Ok(Whole {
                usage: dialect::usage::<Told>(usage),
                finish: Some(stop_reason.map_or(Finish::CutShort, finish)),
            }),
            _ => Err(malformed("the answer is not a JSON object with `content`")),
        }
    }

    fn event(&mut self, event: &[u8], secrets: &Redactor) -> Result<Meaning, ProviderError> {
        let sse::Fields { name, data } = sse::fields(event);
        let data = data.as_deref().unwrap_or_default().trim_ascii();
        match (name, data) {
            (Some(b"error"), _) => Err(errors::inside(data, secrets)),
            (_, b"") => Ok(FrameKind::Ping.into()),
            _ => self.named(data, secrets),
        }
    }
}

impl Messages {
    fn named(&mut self, data: &[u8], secrets: &Redactor) -> Result<Meaning, ProviderError> {
        let Event { kind, message, delta, usage } = dialect::data(data)?;
        match &*kind {
            "error" => Err(errors::inside(data, secrets)),
            "ping" => Ok(FrameKind::Ping.into()),
            "message_start" => Ok(self.told(message.and_then(|message| message.usage))),
            "content_block_delta" if is_content(delta) => Ok(FrameKind::Content.into()),
            "message_delta" => {
                let reason = stop_reason(delta);
                self.stopped |= reason.is_some_and(is_filled);
                let finish = reason.filter(|reason| is_filled(reason)).map(finish);
                let refused = finish == Some(Finish::Refused);
                let kind = if refused { FrameKind::Refusal } else { FrameKind::Note };
                Ok(Meaning { kind, finish, ..self.told(usage) })
            }
            "message_stop" if self.stopped => Ok(FrameKind::End.into()),
            "message_stop" => Err(truncated()),
            _ => Ok(FrameKind::Note.into()),
        }
    }

    /// What is told later replaces what was told before, as far as it goes.
    fn told(&mut self, usage: Option<&RawValue>) -> Meaning {
        let told: Option<Told> = usage.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let usage = told.map(|told| {
            self.used = Usage {
                input_tokens: told.input().unwrap_or(self.used.input_tokens),
                output_tokens: told.output_tokens.unwrap_or(self.used.output_tokens),
            };
            self.used
        });
        Meaning { usage, ..FrameKind::Note.into() }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// What the vendor tells about tokens. Those of the prompt that a cache knew are counted apart.
#[derive(Deserialize)]
struct Told {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Told {
    fn input(&self) -> Option<u64> {
        let cached = [self.cache_creation_input_tokens, self.cache_read_input_tokens];
        let cached = cached.into_iter().flatten().fold(0, u64::saturating_add);
        self.input_tokens.map(|fresh| fresh.saturating_add(cached))
    }
}

impl From<Told> for Usage {
    fn from(told: Told) -> Self {
        Self { input_tokens: told.input().unwrap_or(0), output_tokens: told.output_tokens.unwrap_or(0) }
    }
}

fn is_content(delta: Option<&RawValue>) -> bool {
    delta.is_some_and(|delta| serde_json::from_str::<Delta>(delta.get()).is_ok_and(|delta| delta.content))
}

fn stop_reason(delta: Option<&RawValue>) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Last<'a> {
        #[serde(borrow)]
        stop_reason: Option<&'a RawValue>,
    }
    serde_json::from_str::<Last<'_>>(delta?.get()).ok()?.stop_reason
}

fn finish(reason: &RawValue) -> Finish {
    let words = [
        ("end_turn", Finish::Complete),
        ("stop_sequence", Finish::Complete),
        ("tool_use", Finish::ToolCalls),
        ("refusal", Finish::Refused),
    ];
    dialect::finish(reason, &words)
}

#[cfg(test)]
mod tests {
    use mainstay_actors::error::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn event(messages: &mut Messages, event: impl AsRef<[u8]>) -> Result<Meaning, ProviderError> {
        messages.event(event.as_ref(), &Redactor::default())
    }

    fn named(messages: &mut Messages, data: &str) -> Result<Meaning, ErrorKind> {
        event(messages, format!("event: x\ndata: {data}\n\n")).map_err(|e| e.kind)
    }

    fn kind_of(data: &str) -> Result<FrameKind, ErrorKind> {
        named(&mut Messages::default(), data).map(|meaning| meaning.kind)
    }

    #[test]
    fn each_event_has_its_meaning() {
        use FrameKind::*;
        let delta = |delta: &str| format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#);
        let start =
            |block: &str| format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#);
        let table = [
            (r#"{"type":"message_start","message":{"content":[],"stop_reason":null}}"#.into(), Note),
            (start(r#"{"type":"text","text":""}"#), Note),
            (start(r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#), Note),
            (delta(r#"{"type":"text_delta","text":""}"#), Note),
            (delta(r#"{"type":"text_delta","text":"hi"}"#), Content),
            (delta(r#"{"type":"input_json_delta","partial_json":""}"#), Note),
            (delta(r#"{"type":"input_json_delta","partial_json":"{\"a\""}"#), Content),
            (delta(r#"{"type":"thinking_delta","thinking":"hm"}"#), Content),
            (delta(r#"{"type":"signature_delta","signature":"s"}"#), Content),
            (delta(r#"{"type":"citations_delta","citation":{"type":"page"}}"#), Content),
            (delta(r#"{"type":"delta_of_tomorrow","x":1}"#), Content),
            (delta("7"), Note),
            (r#"{"type":"content_block_stop","index":0}"#.into(), Note),
            (r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#.into(), Note),
            (r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#.into(), Refusal),
            (r#"{"type":"ping"}"#.into(), Ping), // PC18
            (r#"{"type":"event_of_tomorrow","delta":{"text":"x"}}"#.into(), Note),
            ("{}".into(), Note),
            ("".into(), Ping),
        ];
        for (data, expected) in table {
            assert_eq!(kind_of(&data), Ok(expected), "{data}");
        }
        assert_eq!(event(&mut Messages::default(), ": keep-alive\n\n").unwrap(), Ping.into());
    }

    #[test]
    fn the_last_event_is_an_end_only_after_a_stop_reason() {
        let last = r#"{"type":"message_stop"}"#;
        let mut messages = Messages::default();
        named(&mut messages, r#"{"type":"message_delta","delta":{"stop_reason":null}}"#).unwrap();
        assert_eq!(named(&mut messages, last), Err(ErrorKind::Truncated)); // RS6
        named(&mut messages, r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#).unwrap();
        assert_eq!(named(&mut messages, last), Ok(FrameKind::End.into()));
    }

    #[test]
    fn usage_is_put_together_from_the_first_and_the_last_event() {
        let mut messages = Messages::default();
        let first = r#"{"type":"message_start","message":{"usage":
            {"input_tokens":3,"cache_read_input_tokens":40,"cache_creation_input_tokens":null,"output_tokens":1}}}"#;
        let first = first.replace('\n', "");
        let used = |input_tokens, output_tokens| Some(Usage { input_tokens, output_tokens });
        assert_eq!(named(&mut messages, &first).unwrap().usage, used(43, 1));
        let last = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":9}}"#;
        assert_eq!(named(&mut messages, last).unwrap().usage, used(43, 9)); // PC19
        let all = r#"{"type":"message_delta","usage":{"input_tokens":18446744073709551615,"cache_read_input_tokens":1}}"#;
        assert_eq!(named(&mut messages, all).unwrap().usage, used(u64::MAX, 9));
        for strange in ["7", r#"{"output_tokens":-1}"#, r#"{"input_tokens":"x"}"#] {
            let data = format!(r#"{{"type":"message_delta","usage":{strange}}}"#);
            assert_eq!(named(&mut messages, &data).unwrap().usage, None, "{strange}");
        }
    }

    #[test]
    fn a_whole_answer_tells_its_usage_and_an_error_is_none() {
        let whole = |body: &str| match Messages::whole(body.as_bytes(), &Redactor::default()) {
            Ok(whole) => Ok(whole.usage),
            Err(error) => Err(error.kind),
        };
        let usage =
            r#"{"content":[],"usage":{"input_tokens":2,"cache_creation_input_tokens":5,"output_tokens":4}}"#;
        assert_eq!(whole(usage), Ok(Some(Usage { input_tokens: 7, output_tokens: 4 })));
        assert_eq!(whole(r#"{"content":[{}],"usage":null}"#), Ok(None));
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(whole(error), Err(ErrorKind::Overloaded)); // PC12
        for none in ["{}", "[]", "", r#"{"content":"hi"}"#] {
            assert_eq!(whole(none), Err(ErrorKind::Malformed), "{none}");
        }
    }

    #[test]
    fn an_end_is_told_by_its_stop_reason_alone() {
        use Finish::{Complete, CutShort, Refused, ToolCalls};
        let whole = |body: &str| Messages::whole(body.as_bytes(), &Redactor::default()).unwrap().finish;
        for (reason, finish) in [
            (r#""refusal""#, Refused),
            (r#""end_turn""#, Complete),
            (r#""stop_sequence""#, Complete),
            (r#""tool_use""#, ToolCalls),
            (r#""max_tokens""#, CutShort),
            (r#""reason_of_tomorrow""#, CutShort),
            ("null", CutShort),
            ("7", CutShort),
        ] {
            let body =
                format!(r#"{{"content":[{{"type":"text","text":"refusal"}}],"stop_reason":{reason}}}"#);
            assert_eq!(whole(&body), Some(finish), "{reason}"); // PC4, CA5
        }
    }

    #[test]
    fn errors_inside_a_stream_are_told_apart_by_their_type() {
        let table = [
            ("overloaded_error", ErrorKind::Overloaded),
            ("api_error", ErrorKind::ServerError),
            ("rate_limit_error", ErrorKind::RateLimited),
            ("invalid_request_error", ErrorKind::BadRequest),
        ];
        for (word, kind) in table {
            let data = format!(r#"{{"type":"error","error":{{"type":"{word}","message":"m"}}}}"#);
            assert_eq!(kind_of(&data), Err(kind), "{word}"); // PC12
            let by_name = event(&mut Messages::default(), format!("event: error\ndata: {data}\n\n"));
            assert_eq!(by_name.unwrap_err().kind, kind, "{word}");
        }
    }

    #[test]
    fn what_is_not_an_event_is_malformed_and_its_text_is_not_quoted() {
        for data in ["{oops", "[]", "hello", r#"{"type":7}"#, r#"{"type":"ping","type":"secret text"}"#] {
            let error = event(&mut Messages::default(), format!("data: {data}\n\n")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Malformed, "{data}");
            assert!(!error.message.contains("secret"), "{error}"); // SE4
        }
    }

    proptest! {
        #[test]
        fn hostile_events_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = event(&mut Messages::default(), bytes);
        }
    }
}
