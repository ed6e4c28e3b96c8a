//! What is looked at in a request for a message.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::providers::{
    body::{Form, Head, Messages},
    refusal::{BadRequest, Member, OBJECTS, Wrong},
};

pub(in crate::providers) const MESSAGES: Form = Form {
    read: |text| {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            model: &'a RawValue,
            stream: Option<bool>,
            max_tokens: f64,
            #[serde(rename = "messages")]
            _messages: Messages,
        }
        let Wire { model, stream, max_tokens, .. } = serde_json::from_str(text)?;
        Ok(Head { model, stream: stream.unwrap_or(false), max_tokens: Some(max_tokens as u64) })
    },
    members: &[
        Member { name: "model", expected: "a string", required: true },
        Member { name: "max_tokens", expected: "a number", required: true },
        Member { name: "messages", expected: OBJECTS, required: true },
        Member { name: "stream", expected: "a boolean", required: false },
    ],
    words,
};

fn words(wrong: Wrong) -> BadRequest {
    let (message, param) = match wrong {
        Wrong::Body(problem) => (format!("The request body is not valid JSON: {problem}"), None),
        Wrong::Missing(member) => (format!("{member}: Field required"), Some(member)),
        Wrong::Empty(member) => (format!("{member}: at least one message is required"), Some(member)),
        Wrong::Kind { member, at, expected, found } => {
            let place = at.map_or(member.into(), |i| format!("{member}.{i}"));
            (format!("{place}: Input should be {expected}, not {found}"), Some(member))
        }
    };
    BadRequest { message, param, code: None }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mainstay_actors::call::Api;

    use super::*;
    use crate::providers::{Asked, read};

    fn read_str(body: &str) -> Result<Asked, BadRequest> {
        read(Api::Messages, Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn the_members_that_matter_are_found_and_the_rest_is_untouched() {
        let body = r#" {"max_tokens":1e3, "model" : "chat","messages":[{"role":"user","content":7}],"stream":true,"x":1e999} "#;
        let asked = read_str(body).unwrap();
        assert_eq!((asked.model.as_str(), asked.request.stream), ("chat", true));
        assert_eq!((&asked.request.body[..], asked.request.api), (body.as_bytes(), Api::Messages)); // GW2
    }

    #[test]
    fn each_wrong_body_is_told_with_its_place_in_the_vendor_s_words() {
        let table = [
            (r#"{"model":"m""#, "The request body is not valid JSON: EOF"),
            ("[]", "The request body is not valid JSON: expected an object"),
            (r#"{"max_tokens":1,"messages":[{}]}"#, "model: Field required"),
            (r#"{"model":"","max_tokens":1,"messages":[{}]}"#, "model: Field required"),
            (
                r#"{"model":7,"max_tokens":1,"messages":[{}]}"#,
                "model: Input should be a string, not a number",
            ),
            (r#"{"model":"m","messages":[{}]}"#, "max_tokens: Field required"),
            (r#"{"model":"m","max_tokens":"1","messages":[{}]}"#, "max_tokens: Input should be a number"),
            (r#"{"model":"m","max_tokens":null,"messages":[{}]}"#, "max_tokens: Input should be a number"),
            (r#"{"model":"m","max_tokens":1}"#, "messages: Field required"),
            (r#"{"model":"m","max_tokens":1,"messages":[]}"#, "messages: at least one message is required"),
            (
                r#"{"model":"m","max_tokens":1,"messages":"hi"}"#,
                "messages: Input should be an array of objects",
            ),
            (r#"{"model":"m","max_tokens":1,"messages":[{},7]}"#, "messages.1: Input should be an object"),
            (
                r#"{"model":"m","max_tokens":1,"messages":[{}],"stream":1}"#,
                "stream: Input should be a boolean",
            ),
            (
                r#"{"model":"m","model":"n","max_tokens":1,"messages":[{}]}"#,
                "The request body is not valid JSON: dup",
            ),
        ];
        for (body, message) in table {
            let error = read_str(body).unwrap_err();
            assert!(error.message.starts_with(message), "{body}: {error}"); // GW4
            assert_eq!(error.param, message.split(['.', ':']).next().filter(|p| !p.contains(' ')), "{body}");
        }
    }
}
