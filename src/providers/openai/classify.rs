//! What a vendor's error means: its answer in, one classified error out.
//!
//! The code decides where there is one, because one status stands for several things (a 429 is a speed limit
//! or an empty account); then the status; the type only for what no status tells. What the policies do with
//! the kind is not known here.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mainstay_actors::error::{ErrorKind, ProviderError};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::providers::redact::Redactor;

/// How much of an error's body is read, in bytes; a longer one is judged by its status alone.
pub(in crate::providers) const MAX_ERROR_BODY: usize = 64 << 10;

/// The longest wait a provider can ask for; more is cut to it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The error object of the dialect; some vendors leave the wrapper out.
#[derive(Default, Deserialize)]
pub(super) struct VendorError {
    #[serde(default)]
    message: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    code: Value,
}

impl VendorError {
    /// The error in `body`, if that is what it holds.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut members: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
        match members.remove("error") {
            Some(Value::String(message)) => Some(Self { message: message.into(), ..Self::default() }),
            Some(error @ Value::Object(_)) => serde_json::from_value(error).ok(),
            _ if members.contains_key("message") => serde_json::from_value(members.into()).ok(),
            _ => None,
        }
    }

    fn kind(&self, status: Option<u16>) -> ErrorKind {
        let by_type = self.kind.as_str().and_then(by_word);
        let by_message = || self.message.as_str().and_then(by_message);
        let specific =
            |kind: &ErrorKind| matches!(kind, ErrorKind::QuotaExhausted | ErrorKind::ContentFiltered);
        (self.code.as_str().and_then(by_word))
            .or_else(|| by_type.filter(specific))
            .or_else(by_message)
            .or_else(|| status.map(by_status))
            .or(by_type)
            .or_else(|| self.code_as_status().map(by_status))
            .unwrap_or(ErrorKind::ServerError)
    }

    /// Some gateways put a status where the code belongs.
    fn code_as_status(&self) -> Option<u16> {
        let number = self.code.as_u64().or_else(|| self.code.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|status| (400..600).contains(status))
    }
}

/// An answer with a status other than success; `body` is empty where it was too long or broke off.
pub(in crate::providers) fn answer(
    status: u16,
    headers: &HeaderMap,
    body: Bytes,
    secrets: &Redactor,
) -> ProviderError {
    let vendor = VendorError::read(&body);
    let kind = vendor.as_ref().map_or_else(|| by_status(status), |vendor| vendor.kind(Some(status)));
    let message = match vendor.as_ref().and_then(|vendor| vendor.message.as_str()) {
        _ if (300..400).contains(&status) => {
            format!("HTTP {status}: redirects are not followed; put the final address into base_url")
        }
        Some(message) => secrets.line(message),
        None => format!("HTTP {status} without an error message"),
    };
    // Whoever refuses a key tends to quote it.
    let fit_to_forward = vendor.is_some() && !matches!(status, 401 | 403) && !secrets.leaks(&body);
    ProviderError {
        // A redirect is no status that an error can be passed on with.
        status: Some(status).filter(|status| *status >= 400),
        retry_after: retry_after(headers, SystemTime::now()),
        request_id: request_id(headers),
        body: fit_to_forward.then_some(body),
        ..ProviderError::new(kind, message)
    }
}

/// An error inside an answer whose status was success: judged by its own words.
pub(in crate::providers) fn inside(data: &[u8], secrets: &Redactor) -> ProviderError {
    let vendor = VendorError::read(data).unwrap_or_default();
    let message = vendor.message.as_str().unwrap_or("an error event without a message");
    ProviderError::new(vendor.kind(None), secrets.line(message))
}

fn by_word(word: &str) -> Option<ErrorKind> {
    Some(match word {
        "insufficient_quota"
        | "credit_balance_exhausted"
        | "organization_usage_limit_exceeded"
        | "organization_spend_limit_exceeded"
        | "project_spend_limit_exceeded"
        | "billing_hard_limit_reached"
        | "billing_not_active" => ErrorKind::QuotaExhausted,
        "rate_limit_exceeded" | "rate_limit_error" | "slow_down" => ErrorKind::RateLimited,
        "context_length_exceeded" => ErrorKind::ContextTooLong,
        "content_policy_violation" | "content_filter" => ErrorKind::ContentFiltered,
        "server_is_overloaded" | "service_unavailable_error" | "overloaded_error" | "engine_overloaded" => {
            ErrorKind::Overloaded
        }
        "server_error" | "api_error" | "internal_server_error" => ErrorKind::ServerError,
        "invalid_api_key" | "authentication_error" => ErrorKind::Auth,
        "permission_error" | "unsupported_country_region_territory" => ErrorKind::PermissionDenied,
        "model_not_found" | "not_found_error" => ErrorKind::NotFound,
        "timeout_error" | "conflict_error" => ErrorKind::Conflict,
        "invalid_request_error" | "invalid_prompt" => ErrorKind::BadRequest,
        _ => return None,
    })
}

/// Servers that speak the dialect without its codes tell a long prompt in words only.
fn by_message(message: &str) -> Option<ErrorKind> {
    let texts = ["maximum context length", "prompt is too long"];
    texts.iter().any(|text| message.contains(text)).then_some(ErrorKind::ContextTooLong)
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        300..400 => ErrorKind::Malformed,
        401 => ErrorKind::Auth,
        402 | 403 | 451 => ErrorKind::PermissionDenied,
        404 | 405 | 410 => ErrorKind::NotFound,
        408 | 409 => ErrorKind::Conflict,
        429 => ErrorKind::RateLimited,
        400..500 => ErrorKind::BadRequest,
        503 | 529 => ErrorKind::Overloaded,
        _ => ErrorKind::ServerError,
    }
}

/// The wait a provider asks for: `retry-after-ms`, else `retry-after` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let wait = text("retry-after-ms").and_then(|ms| positive(ms, 1e-3)).or_else(|| {
        let value = text("retry-after")?;
        positive(value, 1.0).or_else(|| until(value, now))
    })?;
    Some(wait.min(MAX_RETRY_AFTER))
}

fn positive(number: &str, seconds: f64) -> Option<Duration> {
    let number = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0)?;
    // What no duration can hold is longer than the longest wait.
    Some(Duration::try_from_secs_f64(number * seconds).unwrap_or(MAX_RETRY_AFTER))
}

fn until(date: &str, now: SystemTime) -> Option<Duration> {
    httpdate::parse_http_date(date).ok()?.duration_since(now).ok().filter(|wait| !wait.is_zero())
}

/// The provider's own id of a request, if it is fit to be shown.
pub(in crate::providers) fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id").or_else(|| headers.get("request-id"))?.to_str().ok()?;
    let fit = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    fit.then(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn kind_of(status: u16, code: &str, kind: &str) -> ErrorKind {
        let body = serde_json::json!({"error": {"message": "m", "type": kind, "code": code, "param": null}});
        answer(status, &HeaderMap::new(), body.to_string().into(), &Redactor::default()).kind
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn every_row_of_the_vendor_s_table_has_its_kind() {
        use ErrorKind::*;
        let table = [
            (400, "", "invalid_request_error", BadRequest),
            (400, "context_length_exceeded", "invalid_request_error", ContextTooLong),
            (400, "content_policy_violation", "invalid_request_error", ContentFiltered),
            (400, "content_filter", "", ContentFiltered),
            (401, "invalid_api_key", "invalid_request_error", Auth),
            (401, "", "invalid_request_error", Auth),
            (402, "", "", PermissionDenied),
            (403, "unsupported_country_region_territory", "request_forbidden", PermissionDenied),
            (404, "model_not_found", "invalid_request_error", NotFound),
            (408, "", "", Conflict),
            (409, "", "", Conflict),
            (413, "", "", BadRequest),
            (422, "", "invalid_request_error", BadRequest),
            (429, "rate_limit_exceeded", "requests", RateLimited),
            (429, "slow_down", "rate_limit_error", RateLimited),
            (503, "slow_down", "rate_limit_error", RateLimited),
            (429, "insufficient_quota", "insufficient_quota", QuotaExhausted),
            (429, "", "insufficient_quota", QuotaExhausted),
            (429, "credit_balance_exhausted", "", QuotaExhausted),
            (429, "organization_usage_limit_exceeded", "", QuotaExhausted),
            (429, "organization_spend_limit_exceeded", "", QuotaExhausted),
            (429, "project_spend_limit_exceeded", "", QuotaExhausted),
            (500, "", "server_error", ServerError),
            (502, "", "", ServerError),
            (503, "server_is_overloaded", "service_unavailable_error", Overloaded),
            (503, "", "", Overloaded),
            (504, "", "", ServerError),
            (529, "", "overloaded_error", Overloaded),
        ];
        for (status, code, kind, expected) in table {
            assert_eq!(kind_of(status, code, kind), expected, "{status} {code} {kind}"); // PC12
        }
    }

    #[test]
    fn an_error_inside_a_successful_answer_is_judged_by_its_own_words() {
        use ErrorKind::*;
        let table = [
            (r#"{"error":{"code":"rate_limit_exceeded"}}"#, RateLimited),
            (r#"{"error":{"type":"overloaded_error"}}"#, Overloaded),
            (r#"{"error":{"type":"invalid_request_error"}}"#, BadRequest),
            (r#"{"error":{"code":502,"message":"upstream"}}"#, ServerError),
            (r#"{"error":{"code":"429"}}"#, RateLimited),
            (r#"{"error":"broken"}"#, ServerError),
            (r#"{"message":"m","code":"context_length_exceeded"}"#, ContextTooLong),
            ("broken", ServerError),
        ];
        for (data, expected) in table {
            assert_eq!(inside(data.as_bytes(), &Redactor::default()).kind, expected, "{data}"); // PC12
        }
    }

    #[test]
    fn bodies_that_are_not_the_vendor_s_are_judged_by_the_status_and_not_forwarded() {
        for body in ["", "<html>Bad gateway</html>", "[]", r#"{"detail":"x"}"#, "{\"error\":"] {
            let error = answer(503, &HeaderMap::new(), body.into(), &Redactor::default());
            assert_eq!((error.kind, error.body), (ErrorKind::Overloaded, None), "{body}");
        }
    }

    #[test]
    fn a_long_prompt_is_known_by_its_words_alone() {
        let body =
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","code":400}"#;
        let error = answer(400, &HeaderMap::new(), body.into(), &Redactor::default());
        assert_eq!(error.kind, ErrorKind::ContextTooLong);
    }

    #[test]
    fn a_key_echoed_by_the_vendor_reaches_neither_message_nor_body() {
        let secrets = Redactor::new(Some("key-0123456789".into()));
        for status in [400, 401, 403, 500] {
            let body = r#"{"error":{"message":"Incorrect API key provided: key-0123456789."}}"#;
            let error = answer(status, &HeaderMap::new(), body.into(), &secrets);
            assert_eq!(error.message, "Incorrect API key provided: [redacted]"); // SE4
            assert_eq!(error.body, None);
        }
    }

    #[test]
    fn an_ordinary_error_body_is_forwarded_unchanged() {
        let body = Bytes::from_static(br#"{ "error" : {"message":"no", "x":1} }"#);
        let error = answer(400, &HeaderMap::new(), body.clone(), &Redactor::default());
        assert_eq!(error.body, Some(body)); // GW2
    }

    #[test]
    fn every_form_of_a_wait_is_understood_and_hostile_ones_are_not() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        let table: [(&[(&'static str, &str)], _); 11] = [
            (&[("retry-after", "2")], Some(2_000)),
            (&[("retry-after", "0.5")], Some(500)),
            (&[("retry-after-ms", "12.5"), ("retry-after", "9")], Some(12)),
            (&[("retry-after-ms", "soon"), ("retry-after", "9")], Some(9_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(30_000)),
            (&[("retry-after", "Sun, 06 Nov 1993 08:49:37 GMT")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "inf")], None),
            (&[("retry-after", "1e300")], Some(86_400_000)),
            (&[], None),
        ];
        for (pairs, expected) in table {
            let wait = retry_after(&headers(pairs), now).map(|wait| wait.as_millis());
            assert_eq!(wait, expected, "{pairs:?}"); // PC13
        }
    }

    #[test]
    fn a_request_id_is_kept_only_if_it_is_short_and_printable() {
        assert_eq!(request_id(&headers(&[("x-request-id", "req_1")])).as_deref(), Some("req_1"));
        for id in ["", "two words", "x".repeat(129).as_str()] {
            assert_eq!(request_id(&headers(&[("x-request-id", id)])), None, "{id:?}"); // SE10
        }
    }
}
