//! The vendors' errors.

use bytes::Bytes;
use mainstay_actors::call::Api;
use serde_json::{Value, json};

use super::{event, named};

/// The vendor's error body for a status that was asked for.
pub(in crate::providers::scripted) fn error_of(api: Api, status: u16) -> Value {
    let (kind, code) = match api {
        Api::Messages => (anthropic(status), None),
        _ => openai(status),
    };
    error(api, &format!("The scripted provider was asked to fail with status {status}."), kind, code)
}

/// The type of an error that the request itself caused.
pub(in crate::providers::scripted) fn error_type(api: Api, status: u16) -> &'static str {
    match api {
        Api::Messages => anthropic(status),
        _ => "invalid_request_error",
    }
}

fn openai(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        400 | 413 | 422 => ("invalid_request_error", None),
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("invalid_request_error", Some("unsupported_country_region_territory")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Some("server_is_overloaded")),
        529 => ("overloaded_error", None),
        _ => ("server_error", None),
    }
}

fn anthropic(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

/// An error body.
pub(in crate::providers::scripted) fn error(
    api: Api,
    message: &str,
    kind: &str,
    code: Option<&str>,
) -> Value {
    match api {
        Api::Messages => json!({"type": "error", "error": {"type": kind, "message": message}}),
        _ => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
    }
}

/// The same inside a stream, after `sent` events.
pub(in crate::providers::scripted) fn error_event(api: Api, status: u16, sent: usize) -> Bytes {
    let body = error_of(api, status);
    match api {
        Api::Messages => named(&body),
        Api::Responses => {
            let (message, code) = (&body["error"]["message"], openai(status).0);
            let number = json!({"code": code, "message": message, "param": null, "sequence_number": sent});
            named(&super::responses::with(json!({"type": "error"}), number))
        }
        _ => event(&body),
    }
}
