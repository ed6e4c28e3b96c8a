//! What is looked at in the requests of this vendor's APIs.

use bytes::Bytes;
use mainstay_actors::call::Request;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::providers::{
    body::{Form, Head, Messages, quoted, whole},
    refusal::{ANYTHING, BadRequest, Member, OBJECTS, Wrong},
};

const MODEL: Member = Member { name: "model", expected: "a string", required: true };
const STREAM: Member = Member { name: "stream", expected: "a boolean", required: false };

pub(in crate::providers) const CHAT: Form = Form {
    read: |text| {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            model: &'a RawValue,
            stream: Option<bool>,
            max_tokens: Option<&'a RawValue>,
            max_completion_tokens: Option<&'a RawValue>,
            #[serde(rename = "messages")]
            _messages: Messages,
        }
        let Wire { model, stream, max_tokens, max_completion_tokens, .. } = serde_json::from_str(text)?;
        let max_tokens = whole(max_completion_tokens.or(max_tokens));
        Ok(Head { model, stream: stream.unwrap_or(false), max_tokens })
    },
    members: &[MODEL, Member { name: "messages", expected: OBJECTS, required: true }, STREAM],
    words,
};

/// Where the prompt stands is the vendor's business: in `input`, or in a stored `prompt`.
pub(in crate::providers) const RESPONSES: Form = Form {
    read: |text| {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            model: &'a RawValue,
            stream: Option<bool>,
            max_output_tokens: Option<&'a RawValue>,
        }
        let Wire { model, stream, max_output_tokens } = serde_json::from_str(text)?;
        Ok(Head { model, stream: stream.unwrap_or(false), max_tokens: whole(max_output_tokens) })
    },
    members: &[MODEL, STREAM],
    words,
};

pub(in crate::providers) const EMBEDDINGS: Form = Form {
    read: |text| {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            model: &'a RawValue,
            #[serde(rename = "input")]
            _input: IgnoredAny,
        }
        let Wire { model, .. } = serde_json::from_str(text)?;
        Ok(Head { model, stream: false, max_tokens: Some(0) })
    },
    members: &[MODEL, Member { name: "input", expected: ANYTHING, required: true }],
    words,
};

/// A chat request with one message of the user, for [`Chain::call`](mainstay_actors::chain::Chain::call) and
/// [`Chain::stream`](mainstay_actors::chain::Chain::stream) alike; the chain's target puts the model in.
pub fn completion(prompt: &str) -> Request {
    let start = r#"{"model":"#;
    let body = format!(r#"{start}"","messages":[{{"role":"user","content":{}}}]}}"#, quoted(prompt));
    Request::new(Bytes::from(body), start.len()..start.len() + 2, false)
}

fn words(wrong: Wrong) -> BadRequest {
    let (message, param, code) = match wrong {
        Wrong::Body(problem) => {
            (format!("We could not parse the JSON body of your request: {problem}."), None, None)
        }
        Wrong::Missing(member) => (
            format!("Missing required parameter: '{member}'."),
            Some(member),
            Some("missing_required_parameter"),
        ),
        Wrong::Empty(member) => (
            format!("Invalid '{member}': empty array. Expected at least one message."),
            Some(member),
            Some("empty_array"),
        ),
        Wrong::Kind { member, at, expected, found } => {
            let place = at.map_or(member.into(), |i| format!("{member}[{i}]"));
            let message =
                format!("Invalid type for '{place}': expected {expected}, but got {found} instead.");
            (message, Some(member), Some("invalid_type"))
        }
    };
    BadRequest { message, param, code }
}

#[cfg(test)]
mod tests {
    use mainstay_actors::call::Api;
    use proptest::prelude::*;

    use super::*;
    use crate::providers::{Asked, body::outgoing, read};

    fn read_str(body: &str) -> Result<Asked, BadRequest> {
        read(Api::Chat, Bytes::copy_from_slice(body.as_bytes()))
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
    fn how_long_an_answer_may_be_is_read_where_it_is_said_in_a_number() {
        let table = [
            (r#""max_tokens":7,"#, Some(7)),
            (r#""max_tokens":7,"max_completion_tokens":9,"#, Some(9)),
            (r#""max_tokens":null,"#, None),
            (r#""max_tokens":"many","#, None),
            (r#""max_tokens":-1,"#, None),
            (r#""max_tokens":1e3,"#, None),
            ("", None),
        ];
        for (member, expected) in table {
            let body = format!(r#"{{{member}"model":"m","messages":[{{}}]}}"#);
            assert_eq!(read_str(&body).unwrap().request.max_tokens, expected, "{member}"); // PC19
        }
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
    fn responses_and_embeddings_need_what_they_cannot_be_without() {
        let ok = [
            (Api::Responses, r#"{"model":"m"}"#, false),
            (Api::Responses, r#"{"model":"m","input":7,"stream":true}"#, true),
            (Api::Embeddings, r#"{"model":"m","input":[1,2]}"#, false),
            (Api::Embeddings, r#"{"model":"m","input":"x","stream":true}"#, false),
        ];
        for (api, body, stream) in ok {
            let Asked { request, .. } = read(api, body.into()).unwrap();
            assert_eq!((request.api, request.stream, &request.body[..]), (api, stream, body.as_bytes()));
        }
        let wrong = [
            (Api::Responses, r#"{"input":"x"}"#, Some("model"), "Missing required parameter: 'model'"),
            (Api::Responses, r#"{"model":"m","stream":"yes"}"#, Some("stream"), "got a string"),
            (Api::Embeddings, r#"{"model":"m"}"#, Some("input"), "Missing required parameter: 'input'"),
            (Api::Embeddings, r#"{"model":null,"input":"x"}"#, Some("model"), "got null"),
        ];
        for (api, body, param, part) in wrong {
            let error = read(api, body.into()).unwrap_err();
            assert_eq!(error.param, param, "{body}: {error}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused() {
        let error = read(Api::Chat, Bytes::from_static(b"{\"model\":\"m\",\"messages\":[{\"a\":\"\xff\"}]}"))
            .unwrap_err();
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
                let again = read(Api::Chat, sent.clone()).unwrap();
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
            prop_assert_eq!(&read(Api::Chat, sent.clone()).unwrap().model, &model);
            let parsed: serde_json::Value = serde_json::from_slice(&sent).unwrap();
            prop_assert_eq!(parsed["messages"][0]["content"].as_str(), Some(prompt.as_str()));
        }

        #[test]
        fn hostile_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            for api in [Api::Chat, Api::Messages, Api::Responses, Api::Embeddings] {
                let _ = read(api, body.clone().into());
            }
        }
    }
}
