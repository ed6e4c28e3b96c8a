//! In whose words an error is told (GW4).
//!
//! Each vendor's official SDK must find its own form, whatever went wrong and wherever. Errors that a provider
//! has already told in the caller's words are not touched here.

use std::sync::Arc;

use axum::{extract::Request, http::StatusCode};
use mainstay_actors::{call::Api, error::Interrupted};
use serde_json::{Value, json};

use crate::providers::{anthropic, translate::messages_type};

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Anthropic,
}

/// Who asks: the request's id, and the words its sender understands.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) id: Arc<str>,
    pub(super) dialect: Dialect,
}

/// An error, in no vendor's words yet.
pub(super) struct Told<'a> {
    pub(super) status: StatusCode,
    pub(super) message: &'a str,
    /// Ours, for programs.
    pub(super) code: Option<&'a str>,
    /// The member of the request that is at fault.
    pub(super) param: Option<&'a str>,
    /// What else is known, by name.
    pub(super) more: Value,
}

impl Dialect {
    /// The route tells; where both vendors have one, the header that Anthropic's clients always send.
    pub(super) fn of(request: &Request) -> Self {
        match request.uri().path() {
            "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings" => Self::OpenAi,
            path if path.starts_with("/v1/messages") => Self::Anthropic,
            _ if request.headers().contains_key(anthropic::VERSION) => Self::Anthropic,
            _ => Self::OpenAi,
        }
    }
}

impl Caller {
    /// The body of an error.
    pub(super) fn error(&self, told: Told<'_>) -> Value {
        let Told { status, message, code, param, more } = told;
        match self.dialect {
            Dialect::OpenAi => {
                let error = json!({
                    "message": message, "type": openai_type(status), "param": param, "code": code
                });
                json!({ "error": with(error, more) })
            }
            Dialect::Anthropic => {
                let details = with(json!({ "error_code": code }), more);
                let error =
                    json!({ "type": messages_type(status.as_u16()), "message": message, "details": details });
                json!({ "type": "error", "error": error, "request_id": &*self.id })
            }
        }
    }

    /// The last event of a stream that broke after its first content (RS6); `sent` events went before it.
    pub(super) fn interruption(&self, api: Api, broken: &Interrupted, sent: u64) -> String {
        let class = broken.error.kind.class();
        let mut body = self.error(Told {
            status: StatusCode::from_u16(class.status).unwrap_or(StatusCode::BAD_GATEWAY),
            message: &broken.to_string(),
            code: Some(class.code),
            param: None,
            more: json!({ "provider": broken.provider, "delivered_frames": broken.delivered }),
        });
        match api {
            Api::Messages => format!("event: error\ndata: {body}\n\n"),
            Api::Responses => {
                // Flat as it is documented, and nested as the SDKs raise it.
                let flat = json!({ "type": "error", "code": class.code, "message": broken.to_string() });
                let place = json!({ "param": null, "sequence_number": sent });
                body = with(with(body, flat), place);
                format!("event: error\ndata: {body}\n\n")
            }
            Api::Chat | Api::Embeddings => format!("data: {body}\n\n"),
        }
    }
}

fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "service_unavailable_error",
        _ => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use mainstay_actors::error::{ErrorKind, ProviderError};

    use super::*;

    fn dialect_of(path: &str, headers: &[&str]) -> Dialect {
        let request = headers.iter().fold(Request::builder().uri(path), |r, name| r.header(*name, "x"));
        Dialect::of(&request.body(Body::empty()).unwrap())
    }

    fn caller(dialect: Dialect) -> Caller {
        Caller { id: "id-1".into(), dialect }
    }

    #[test]
    fn the_route_decides_whose_words_are_spoken_and_elsewhere_the_caller() {
        let version = &["anthropic-version"][..];
        for path in ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"] {
            assert_eq!(dialect_of(path, version), Dialect::OpenAi, "{path}");
        }
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            assert_eq!(dialect_of(path, &[]), Dialect::Anthropic, "{path}");
        }
        assert_eq!(dialect_of("/v1/models", &[]), Dialect::OpenAi);
        assert_eq!(dialect_of("/v1/models", version), Dialect::Anthropic);
    }

    #[test]
    fn each_status_has_the_type_that_the_vendor_gives_it() {
        let table = [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "authentication_error", "authentication_error"),
            (402, "invalid_request_error", "billing_error"),
            (403, "permission_error", "permission_error"),
            (404, "invalid_request_error", "not_found_error"),
            (413, "invalid_request_error", "request_too_large"),
            (429, "rate_limit_error", "rate_limit_error"),
            (500, "server_error", "api_error"),
            (502, "server_error", "api_error"),
            (503, "service_unavailable_error", "overloaded_error"),
            (504, "server_error", "timeout_error"),
            (529, "server_error", "overloaded_error"),
        ];
        for (status, openai, anthropic) in table {
            let told = || Told {
                status: StatusCode::from_u16(status).unwrap(),
                message: "m",
                code: Some("c"),
                param: None,
                more: json!({ "attempts": [] }),
            };
            let body = caller(Dialect::OpenAi).error(told());
            let expected =
                json!({"message": "m", "type": openai, "param": null, "code": "c", "attempts": []});
            assert_eq!(body, json!({ "error": expected }), "{status}"); // GW4
            let body = caller(Dialect::Anthropic).error(told());
            let details = json!({"error_code": "c", "attempts": []});
            let expected = json!({"type": anthropic, "message": "m", "details": details});
            assert_eq!(body, json!({"type": "error", "error": expected, "request_id": "id-1"}), "{status}");
        }
    }

    #[test]
    fn a_broken_stream_ends_in_the_form_that_its_api_has_for_errors() {
        let error = ProviderError::new(ErrorKind::Truncated, "cut");
        let broken = Interrupted { provider: "a".into(), delivered: 2, error };
        let said = |dialect, api| caller(dialect).interruption(api, &broken, 7);
        let data = |event: &str| -> Value {
            serde_json::from_str(event.split_once("data: ").unwrap().1.trim_end()).unwrap()
        };
        let chat = said(Dialect::OpenAi, Api::Chat);
        assert!(chat.starts_with("data: ") && chat.ends_with("\n\n"), "{chat}"); // RS6
        assert_eq!(data(&chat)["error"]["delivered_frames"], 2);
        let message = said(Dialect::Anthropic, Api::Messages);
        assert!(message.starts_with("event: error\n"), "{message}");
        assert_eq!(data(&message)["error"]["type"], "api_error");
        assert_eq!(data(&message)["error"]["details"]["error_code"], "truncated");
        let response = said(Dialect::OpenAi, Api::Responses);
        let data = data(&response);
        assert!(response.starts_with("event: error\n"), "{response}");
        assert_eq!((&data["type"], &data["code"]), (&json!("error"), &json!("truncated")));
        assert_eq!((&data["sequence_number"], &data["error"]["code"]), (&json!(7), &json!("truncated")));
    }
}
