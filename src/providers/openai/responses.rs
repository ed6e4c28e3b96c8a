//! What the answers of the responses API mean.
//!
//! A stream ends with the event that carries the whole response: completed, incomplete for a reason that it
//! names, or failed. There is no `[DONE]`.

use std::borrow::Cow;

use mainstay_actors::{
    call::{Finish, FrameKind, Usage},
    error::ProviderError,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::providers::{
    dialect::{self, Dialect, Meaning, Whole, is_filled, malformed},
    errors,
    redact::Redactor,
    sse,
};

/// Follows one stream.
#[derive(Debug, Default)]
pub(in crate::providers) struct Responses;

impl Dialect for Responses {
    fn whole(body: &[u8], secrets: &Redactor) -> Result<Whole, ProviderError> {
        match dialect::answer(body) {
            Some(Response { error: Some(_), .. }) => Err(errors::inside(body, secrets)),
            Some(response @ Response { output: Some(_), .. }) => {
                Ok(Whole { usage: dialect::usage::<Told>(response.usage), finish: Some(response.finish()) })
            }
            _ => Err(malformed("the answer is not a JSON object with `output`")),
        }
    }

    fn event(&mut self, event: &[u8], secrets: &Redactor) -> Result<Meaning, ProviderError> {
        let sse::Fields { name, data } = sse::fields(event);
        let data = data.as_deref().unwrap_or_default().trim_ascii();
        match (name, data) {
            (Some(b"error"), _) => Err(errors::inside(data, secrets)),
            (_, b"") => Ok(FrameKind::Ping.into()),
            _ => meaning(data, secrets),
        }
    }
}

fn meaning(data: &[u8], secrets: &Redactor) -> Result<Meaning, ProviderError> {
    let Event { kind, delta, response } = dialect::data(data)?;
    match &*kind {
        "error" => Err(errors::inside(data, secrets)),
        "response.failed" => {
            let response = response.map_or(data, |response| response.get().as_bytes());
            Err(errors::inside(response, secrets))
        }
        "response.completed" | "response.incomplete" => {
            let told = response.and_then(|raw| dialect::answer::<Response<'_>>(raw.get().as_bytes()));
            let finish = Some(told.as_ref().map_or(Finish::CutShort, Response::finish));
            let usage = dialect::usage::<Told>(told.and_then(|response| response.usage));
            Ok(Meaning { kind: FrameKind::End, usage, finish })
        }
        "keepalive" | "ping" => Ok(FrameKind::Ping.into()),
        kind if kind.ends_with(".delta") && delta.is_some_and(is_filled) => Ok(FrameKind::Content.into()),
        _ => Ok(FrameKind::Note.into()),
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    output: Option<Vec<&'a RawValue>>,
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

impl Response<'_> {
    fn finish(&self) -> Finish {
        let is_call = |item: &&RawValue| {
            serde_json::from_str::<Item<'_>>(item.get()).is_ok_and(|item| item.kind.ends_with("_call"))
        };
        match self.status.map(|status| dialect::finish(status, &[("completed", Finish::Complete)])) {
            Some(Finish::Complete) if self.output.iter().flatten().any(is_call) => Finish::ToolCalls,
            Some(Finish::Complete) => Finish::Complete,
            _ => self.incomplete_details.map_or(Finish::CutShort, why_incomplete),
        }
    }
}

fn why_incomplete(details: &RawValue) -> Finish {
    #[derive(Deserialize)]
    struct Details<'a> {
        #[serde(borrow)]
        reason: Option<&'a RawValue>,
    }
    let reason = serde_json::from_str::<Details<'_>>(details.get()).ok().and_then(|details| details.reason);
    reason.map_or(Finish::CutShort, |reason| dialect::finish(reason, &[("content_filter", Finish::Refused)]))
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
}

/// What the vendor tells about tokens; those that a cache knew are among them.
#[derive(Deserialize)]
struct Told {
    input_tokens: u64,
    output_tokens: u64,
}

impl From<Told> for Usage {
    fn from(told: Told) -> Self {
        Self { input_tokens: told.input_tokens, output_tokens: told.output_tokens }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_actors::error::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn event(event: impl AsRef<[u8]>) -> Result<Meaning, ProviderError> {
        Responses.event(event.as_ref(), &Redactor::default())
    }

    fn meaning_of(data: &str) -> Result<Meaning, ErrorKind> {
        event(format!("event: x\ndata: {data}\n\n")).map_err(|e| e.kind)
    }

    #[test]
    fn each_event_has_its_meaning() {
        use FrameKind::*;
        let table = [
            (r#"{"type":"response.created","response":{"output":[],"error":null}}"#, Note),
            (r#"{"type":"response.output_item.added","item":{"type":"message"}}"#, Note),
            (r#"{"type":"response.output_text.delta","delta":"hi"}"#, Content),
            (r#"{"type":"response.output_text.delta","delta":""}"#, Note),
            (r#"{"type":"response.function_call_arguments.delta","delta":"{\"a\""}"#, Content),
            (r#"{"type":"response.reasoning_summary_text.delta","delta":"hm"}"#, Content),
            (r#"{"type":"response.refusal.delta","delta":"no"}"#, Content),
            (r#"{"type":"response.output_text.done","text":"hi"}"#, Note),
            (r#"{"type":"response.completed","response":{}}"#, End),
            (r#"{"type":"response.incomplete"}"#, End),
            (r#"{"type":"keepalive","sequence_number":3}"#, Ping), // PC18
            (r#"{"type":"event.of.tomorrow"}"#, Note),
            ("{}", Note),
            ("", Ping),
        ];
        for (data, expected) in table {
            assert_eq!(meaning_of(data).map(|meaning| meaning.kind), Ok(expected), "{data}");
        }
        assert_eq!(event(": keep-alive\n\n").unwrap(), Ping.into());
    }

    #[test]
    fn a_failed_response_and_an_error_event_are_told_apart_by_their_code() {
        use ErrorKind::*;
        let table = [
            (
                r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#,
                ServerError,
            ),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"}}}"#,
                RateLimited,
            ),
            (r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt"}}}"#, ContentFiltered),
            (r#"{"type":"response.failed"}"#, ServerError),
            (r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}"#, RateLimited),
            (r#"{"type":"error","error":{"code":"insufficient_quota","message":"m"}}"#, QuotaExhausted),
        ];
        for (data, kind) in table {
            assert_eq!(meaning_of(data), Err(kind), "{data}"); // PC12
        }
        let named = event("event: error\ndata: {\"message\":\"m\",\"code\":\"server_error\"}\n\n");
        assert_eq!(named.unwrap_err().kind, ServerError);
    }

    #[test]
    fn usage_is_told_with_the_end() {
        let told = Some(Usage { input_tokens: 3, output_tokens: 5 });
        let table = [
            (r#""usage":{"input_tokens":3,"output_tokens":5}"#, told),
            (r#""usage":{"input_tokens":-3,"output_tokens":5}"#, None),
            (r#""usage":null"#, None),
            (r#""usage":"much""#, None),
        ];
        for (usage, expected) in table {
            let response = format!(r#"{{"output":[{{}}],"error":null,{usage}}}"#);
            let whole = Responses::whole(response.as_bytes(), &Redactor::default()).unwrap();
            assert_eq!(whole.usage, expected, "{usage}");
            let end =
                meaning_of(&format!(r#"{{"type":"response.completed","response":{response}}}"#)).unwrap();
            assert_eq!((end.kind, end.usage), (FrameKind::End, expected), "{usage}"); // PC19
        }
    }

    #[test]
    fn only_a_completed_response_without_calls_has_said_all_and_a_filtered_one_is_refused() {
        use Finish::{Complete, CutShort, Refused, ToolCalls};
        let table = [
            (r#""status":"completed","output":[{"type":"message"}]"#, Complete),
            (r#""status":"completed","output":[{"type":"message"},{"type":"function_call"}]"#, ToolCalls),
            (r#""status":"completed","output":[{"type":"web_search_call"}]"#, ToolCalls),
            (r#""status":"incomplete","output":[]"#, CutShort),
            (
                r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]"#,
                CutShort,
            ),
            (
                r#""status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]"#,
                Refused,
            ),
            (r#""status":"incomplete","incomplete_details":7,"output":[]"#, CutShort),
            (r#""status":7,"output":[7]"#, CutShort),
            (r#""output":[]"#, CutShort),
        ];
        for (members, finish) in table {
            let whole = Responses::whole(format!("{{{members}}}").as_bytes(), &Redactor::default()).unwrap();
            assert_eq!(whole.finish, Some(finish), "{members}"); // CA5
            let end = meaning_of(&format!(r#"{{"type":"response.completed","response":{{{members}}}}}"#));
            assert_eq!(end.unwrap().finish, Some(finish), "{members}"); // CA5
        }
    }

    #[test]
    fn a_whole_response_that_failed_is_an_error() {
        let whole = |body: &str| Responses::whole(body.as_bytes(), &Redactor::default()).map_err(|e| e.kind);
        let failed = r#"{"status":"failed","output":[],"error":{"code":"server_error","message":"m"}}"#;
        assert_eq!(whole(failed), Err(ErrorKind::ServerError)); // PC12
        for none in ["{}", "[]", "", r#"{"choices":[]}"#] {
            assert_eq!(whole(none), Err(ErrorKind::Malformed), "{none}");
        }
    }

    #[test]
    fn what_is_not_an_event_is_malformed_and_its_text_is_not_quoted() {
        for data in
            ["{oops", "[]", "hello", "[DONE]", r#"{"type":7}"#, r#"{"delta":1,"delta":"secret text"}"#]
        {
            let error = event(format!("data: {data}\n\n")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Malformed, "{data}");
            assert!(!error.message.contains("secret"), "{error}"); // SE4
        }
    }

    proptest! {
        #[test]
        fn hostile_events_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = event(bytes);
        }
    }
}
