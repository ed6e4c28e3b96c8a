//! Finds the few members of a chat request that matter, and forwards the rest as it came.
//!
//! One pass over the JSON on the way in; on the way out at most one splice, which puts the provider's own
//! model in. Whether the other members make sense is the provider's business, not ours.

use std::{fmt, ops::Range};

use bytes::Bytes;
use mainstay_actors::call::Request;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::refusal::{BadRequest, explain, malformed, missing};

/// A chat request, and the model its caller asks for.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The value of `model`: for a gateway, the name of a chain.
    pub model: String,
    /// The request, ready to be sent.
    pub request: Request,
}

/// Reads a chat request. Members that are not looked at are untouched, also where they are wrong.
///
/// `model`, `messages` and `stream` must not stand twice: the provider may take the other one.
pub fn read(body: Bytes) -> Result<ChatRequest, BadRequest> {
    let text = std::str::from_utf8(&body).map_err(|e| malformed(format!("not UTF-8: {e}")))?;
    if !text.trim_start().starts_with('{') {
        return Err(malformed("expected an object at line 1 column 1".into()));
    }
    let wire: Wire<'_> = serde_json::from_str(text).map_err(|e| explain(text, &e))?;
    let model: String = serde_json::from_str(wire.model.get()).map_err(|e| explain(text, &e))?;
    if model.is_empty() {
        return Err(missing("model"));
    }
    let at = range_of(wire.model, text);
    let stream = wire.stream.unwrap_or(false);
    Ok(ChatRequest { model, request: Request::new(body, at, stream) })
}

/// `body` with `model` in place of what stands at `at`; the same bytes when it stands there already.
///
/// # Panics
/// When `at` lies outside `body`.
pub fn with_model(body: &Bytes, at: Range<usize>, model: &str) -> Bytes {
    splice(body, at, &quoted(model))
}

/// What to send for `request`: with the provider's `model`, and asking for a stream exactly if
/// `request.stream` says so, whatever the body said.
pub(super) fn outgoing(request: &Request, model: &str) -> Result<Bytes, BadRequest> {
    if request.body.get(request.model.clone()).is_none() {
        return Err(malformed("the model's place lies outside the body".into()));
    }
    let body = with_model(&request.body, request.model.clone(), model);
    if request.stream == request.body_streams { Ok(body) } else { with_stream(&body, request.stream) }
}

/// A chat request with one message of the user, for [`Chain::call`](mainstay_actors::chain::Chain::call) and
/// [`Chain::stream`](mainstay_actors::chain::Chain::stream) alike; the chain's target puts the model in.
pub fn completion(prompt: &str) -> Request {
    let start = r#"{"model":"#;
    let body = format!(r#"{start}"","messages":[{{"role":"user","content":{}}}]}}"#, quoted(prompt));
    Request::new(Bytes::from(body), start.len()..start.len() + 2, false)
}

/// Slow, but only for requests whose body says otherwise than how they are sent.
fn with_stream(body: &Bytes, stream: bool) -> Result<Bytes, BadRequest> {
    #[derive(Deserialize)]
    struct Stream<'a> {
        #[serde(borrow, default, deserialize_with = "as_it_stands")]
        stream: Option<&'a RawValue>,
    }
    let text = std::str::from_utf8(body).map_err(|e| malformed(format!("not UTF-8: {e}")))?;
    let found: Stream<'_> = serde_json::from_str(text).map_err(|e| malformed(e.to_string()))?;
    let value = stream.to_string();
    match (found.stream, text.find('{')) {
        (Some(raw), _) => Ok(splice(body, range_of(raw, text), &value)),
        (None, Some(brace)) => Ok(splice(body, brace + 1..brace + 1, &format!(r#""stream":{value},"#))),
        (None, None) => Err(malformed("no object".into())),
    }
}

/// Tells a `null` from nothing.
fn as_it_stands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn splice(body: &Bytes, at: Range<usize>, value: &str) -> Bytes {
    if body[at.clone()] == *value.as_bytes() {
        return body.clone();
    }
    let mut spliced = Vec::with_capacity(body.len() - at.len() + value.len());
    spliced.extend_from_slice(&body[..at.start]);
    spliced.extend_from_slice(value.as_bytes());
    spliced.extend_from_slice(&body[at.end..]);
    spliced.into()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn range_of(raw: &RawValue, text: &str) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + raw.get().len()
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    stream: Option<bool>,
    #[serde(rename = "messages")]
    _messages: Messages,
}

/// A non-empty array of objects, looked at and left where it is.
struct Messages;

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self)
    }
}

impl<'de> Visitor<'de> for Messages {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a non-empty array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        seq.next_element::<Object>()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        while seq.next_element::<Object>()?.is_some() {}
        Ok(self)
    }
}

struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_str(body: &str) -> Result<ChatRequest, BadRequest> {
        read(Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn the_members_that_matter_are_found_and_the_rest_is_untouched() {
        let body = r#" {"x":{"model":"no"}, "model" : "chat" ,"stream":true,"messages":[{"role":"user"}],"n":1e999} "#;
        let chat = read_str(body).unwrap();
        assert_eq!(chat.model, "chat");
        assert!(chat.request.stream);
        assert_eq!(&body[chat.request.model.clone()], r#""chat""#);
        assert_eq!(chat.request.body, body); // GW2
    }

    #[test]
    fn stream_may_be_null_or_absent() {
        for stream in ["", r#""stream":null,"#, r#""stream":false,"#] {
            let chat = read_str(&format!(r#"{{{stream}"model":"m","messages":[{{}}]}}"#)).unwrap();
            assert!(!chat.request.stream, "{stream}");
        }
    }

    #[test]
    fn each_wrong_body_is_told_apart() {
        let table = [
            (r#"{"model":"m""#, None, "line 1 column 12"),
            ("", None, "expected an object"),
            (r#"["m",true,[{}]]"#, None, "expected an object"),
            (r#"{"model":"m","messages":[{}]} x"#, None, "trailing characters"),
            (r#"{"messages":[{}]}"#, Some("model"), "Missing required parameter"),
            (r#"{"model":"","messages":[{}]}"#, Some("model"), "Missing required parameter"),
            (r#"{"model":7,"messages":[{}]}"#, Some("model"), "got a number"),
            (r#"{"model":"m"}"#, Some("messages"), "Missing required parameter"),
            (r#"{"model":"m","messages":[]}"#, Some("messages"), "empty array"),
            (r#"{"model":"m","messages":"hi"}"#, Some("messages"), "got a string"),
            (r#"{"model":"m","messages":[{},null]}"#, Some("messages"), "'messages[1]'"),
            (r#"{"model":"m","messages":[{}],"stream":"yes"}"#, Some("stream"), "got a string"),
            (r#"{"model":"m","model":"n","messages":[{}]}"#, None, "duplicate field `model`"),
        ];
        for (body, param, part) in table {
            let error = read_str(body).unwrap_err();
            assert_eq!(error.param, param, "{body}: {error}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused() {
        let error =
            read(Bytes::from_static(b"{\"model\":\"m\",\"messages\":[{\"a\":\"\xff\"}]}")).unwrap_err();
        assert!(error.message.contains("not UTF-8"), "{error}"); // GW6
    }

    #[test]
    fn deep_nesting_costs_a_message_and_no_stack() {
        let deep = "[".repeat(200_000);
        assert!(read_str(&format!(r#"{{"model":"m","messages":[{{}}],"x":{deep}"#)).is_err()); // GW6
    }

    #[test]
    fn the_same_model_needs_no_copy() {
        let request = read_str(r#"{"model":"m","messages":[{}]}"#).unwrap().request;
        let sent = outgoing(&request, "m").unwrap();
        assert_eq!(sent.as_ptr(), request.body.as_ptr());
    }

    #[test]
    fn what_is_sent_asks_for_a_stream_exactly_if_the_request_does() {
        let bodies = ["", r#","stream":false"#, r#","stream":true"#, r#", "str\u0065am" : null "#];
        for stream in [true, false] {
            for member in bodies {
                let chat = read_str(&format!(r#"{{"model":"a","messages":[{{}}]{member}}}"#)).unwrap();
                let sent = outgoing(&Request { stream, ..chat.request }, "b").unwrap();
                let again = read(sent.clone()).unwrap();
                assert_eq!((again.model.as_str(), again.request.stream), ("b", stream), "{sent:?}");
            }
        }
    }

    #[test]
    fn a_place_outside_the_body_is_refused() {
        let request = Request::new(Bytes::from_static(b"{}"), 5..9, false);
        assert!(outgoing(&request, "m").is_err());
    }

    proptest! {
        #[test]
        fn any_model_and_prompt_survive(prompt in ".*", model in ".+") {
            let sent = outgoing(&completion(&prompt), &model).unwrap();
            prop_assert_eq!(&read(sent.clone()).unwrap().model, &model);
            let parsed: serde_json::Value = serde_json::from_slice(&sent).unwrap();
            prop_assert_eq!(parsed["messages"][0]["content"].as_str(), Some(prompt.as_str()));
        }

        #[test]
        fn hostile_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(body.into());
        }
    }
}
