//! What an error looks like in each dialect.
//!
//! The vendors' own codes are used where programs look for them: a client that shortens its prompt when it is
//! too long must see that it is, whoever said so.

use bytes::Bytes;
use mainstay_actors::{call::Api, error::ErrorKind};
use serde_json::{Value, json};

/// An error's body for a caller who asked in the words of `to`.
pub fn error_body(to: Api, kind: ErrorKind, status: u16, message: &str) -> Bytes {
    let body = match to {
        Api::Messages => messages(kind, status, message),
        Api::Chat | Api::Responses | Api::Embeddings => chat(kind, status, message),
    };
    body.to_string().into()
}

/// The type that Anthropic gives errors of `status`.
pub fn messages_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

fn messages(kind: ErrorKind, status: u16, message: &str) -> Value {
    // Agents look for these words before they compact what they have said.
    const TOO_LONG: &str = "prompt is too long";
    let message = match kind {
        ErrorKind::ContextTooLong if !message.contains(TOO_LONG) => format!("{TOO_LONG}: {message}"),
        _ => message.to_string(),
    };
    json!({"type": "error", "error": {"type": messages_type(status), "message": message}})
}

fn chat(kind: ErrorKind, status: u16, message: &str) -> Value {
    let (r#type, code) = match kind {
        ErrorKind::QuotaExhausted => ("insufficient_quota", Some("insufficient_quota")),
        ErrorKind::RateLimited | ErrorKind::Throttled => ("rate_limit_error", Some("rate_limit_exceeded")),
        ErrorKind::Overloaded => ("service_unavailable_error", Some("server_is_overloaded")),
        ErrorKind::ContextTooLong => ("invalid_request_error", Some("context_length_exceeded")),
        ErrorKind::ContentFiltered => ("invalid_request_error", Some("content_policy_violation")),
        ErrorKind::NotFound => ("invalid_request_error", Some("model_not_found")),
        ErrorKind::Auth => ("authentication_error", Some("invalid_api_key")),
        ErrorKind::PermissionDenied => ("permission_error", None),
        ErrorKind::BadRequest | ErrorKind::Unsupported => ("invalid_request_error", None),
        _ if status < 500 => ("invalid_request_error", None),
        _ => ("server_error", Some("server_error")),
    };
    json!({"error": {"message": message, "type": r#type, "param": null, "code": code}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(to: Api, kind: ErrorKind) -> Value {
        serde_json::from_slice(&error_body(to, kind, kind.class().status, "m")).unwrap()
    }

    #[test]
    fn each_dialect_has_its_own_form_of_every_kind() {
        for kind in ErrorKind::ALL {
            let chat = body(Api::Chat, kind);
            assert_eq!(chat["error"]["message"], "m", "{kind}"); // GW4
            assert!(chat["error"]["type"].is_string() && chat["error"]["param"].is_null(), "{kind}");
            let messages = body(Api::Messages, kind);
            assert_eq!(messages["type"], "error", "{kind}");
            assert!(messages["error"]["type"].is_string(), "{kind}");
            assert!(messages["error"]["message"].as_str().unwrap().ends_with('m'), "{kind}");
        }
    }

    #[test]
    fn a_prompt_that_is_too_long_is_told_in_the_words_that_programs_look_for() {
        let chat = body(Api::Chat, ErrorKind::ContextTooLong);
        assert_eq!(chat["error"]["code"], "context_length_exceeded");
        let messages = body(Api::Messages, ErrorKind::ContextTooLong);
        assert_eq!(messages["error"]["message"], "prompt is too long: m");
    }

    #[test]
    fn the_type_follows_the_status() {
        let table = [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (413, "request_too_large"),
            (422, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (504, "timeout_error"),
            (529, "overloaded_error"),
        ];
        for (status, expected) in table {
            assert_eq!(messages_type(status), expected, "{status}");
        }
    }
}
