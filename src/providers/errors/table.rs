//! What the vendors' errors mean: one row each, and the one rule that finds the row.
//!
//! A row holds what a vendor sends together, and which part of it decides. One status stands for several things
//! (a 429 is a speed limit or an empty account) and one type too (an `invalid_request_error` comes with a wrong
//! key), so the parts have an order: see [`Sign`]. Of two rows that fit by the same part, the upper one stands.
//! Reading bodies and headers is not done here.

use mainstay_actors::error::ErrorKind::{self, *};

use Sign::{Code, Opening, Status, Text};

/// The part of a row that decides, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// How the message begins, where only the text tells. Its beginning, because vendors quote the request
    /// further on, and no request may take its provider out.
    Opening,
    /// The code, whatever the status and wherever it stands: some vendors put it where the type belongs.
    Code,
    /// A part of the message, whatever the status.
    Text,
    /// The status; where there is none, inside an answer that began with success, the type.
    Status,
}

/// One way in which a vendor says that something went wrong; what it does not send is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The HTTP status; 200 for what is said only inside an answer.
    pub(super) status: u16,
    /// `error.type`.
    pub(super) kind: &'static str,
    /// `error.code`, `error.details.error_code` or `error.innererror.code`.
    pub(super) code: &'static str,
    /// Words of `error.message`.
    pub(super) text: &'static str,
    pub(super) decides: Sign,
    pub(super) means: ErrorKind,
}

/// What an error says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said<'a> {
    /// The HTTP status, unless it was success.
    pub(super) status: Option<u16>,
    /// Its type and its codes; empty where there is none.
    pub(super) words: [&'a str; 4],
    pub(super) message: &'a str,
}

impl Said<'_> {
    /// What it means, if it says anything that is known.
    pub(super) fn means(&self) -> Option<ErrorKind> {
        let fitting = TABLE.iter().flat_map(|(_, rows)| *rows).filter(|row| row.fits(self));
        let known = fitting.min_by_key(|row| row.decides).map(|row| row.means);
        known.or_else(|| self.status.map(unlisted))
    }

    fn has(&self, word: &str) -> bool {
        !word.is_empty() && self.words.contains(&word)
    }
}

impl Row {
    fn fits(&self, said: &Said<'_>) -> bool {
        match (self.decides, said.status) {
            (Opening, Some(status)) => self.status == status && said.message.starts_with(self.text),
            (Opening, None) => said.message.starts_with(self.text),
            (Code, _) => said.has(self.code),
            (Text, _) => said.message.contains(self.text),
            (Status, Some(status)) => self.status == status,
            (Status, None) => said.has(self.kind),
        }
    }
}

/// Statuses that no vendor has given a meaning of its own.
fn unlisted(status: u16) -> ErrorKind {
    match status {
        300..400 => Malformed,
        400..500 => BadRequest,
        _ => ServerError,
    }
}

const fn row(
    status: u16,
    kind: &'static str,
    code: &'static str,
    text: &'static str,
    decides: Sign,
    means: ErrorKind,
) -> Row {
    Row { status, kind, code, text, decides, means }
}

/// Every error that the vendors document, and those that they do not but send.
pub(super) const TABLE: [(&str, &[Row]); 4] = [
    ("OpenAI", OPENAI),
    ("Azure OpenAI", AZURE),
    ("Anthropic", ANTHROPIC),
    ("Other servers of these dialects, and what stands between them and us", OTHERS),
];

#[rustfmt::skip]
const OPENAI: &[Row] = &[
    row(400, "invalid_request_error",     "",                                     "",                                                           Status,  BadRequest),
    row(400, "invalid_request_error",     "context_length_exceeded",              "",                                                           Code,    ContextTooLong),
    row(400, "invalid_request_error",     "content_policy_violation",             "",                                                           Code,    ContentFiltered),
    row(400, "invalid_request_error",     "invalid_prompt",                       "",                                                           Code,    ContentFiltered),
    row(400, "invalid_request_error",     "cyber_policy",                         "",                                                           Code,    ContentFiltered),
    row(400, "invalid_request_error",     "bio_policy",                           "",                                                           Code,    ContentFiltered),
    row(400, "invalid_request_error",     "misalignment_policy_violation",        "",                                                           Code,    ContentFiltered),
    row(400, "invalid_request_error",     "billing_hard_limit_reached",           "",                                                           Code,    QuotaExhausted),
    row(401, "invalid_request_error",     "invalid_api_key",                      "",                                                           Code,    Auth),
    row(401, "invalid_request_error",     "",                                     "",                                                           Status,  Auth),
    row(403, "request_forbidden",         "unsupported_country_region_territory", "",                                                           Code,    PermissionDenied),
    row(403, "",                          "",                                     "",                                                           Status,  PermissionDenied),
    row(404, "invalid_request_error",     "model_not_found",                      "",                                                           Code,    NotFound),
    row(404, "invalid_request_error",     "",                                     "",                                                           Status,  NotFound),
    row(408, "",                          "",                                     "",                                                           Status,  Conflict),
    row(409, "",                          "",                                     "",                                                           Status,  Conflict),
    row(413, "invalid_request_error",     "",                                     "",                                                           Status,  TooLarge),
    row(422, "invalid_request_error",     "",                                     "",                                                           Status,  BadRequest),
    row(429, "tokens",                    "rate_limit_exceeded",                  "Request too large for ",                                     Opening, Unsupported),
    row(429, "requests",                  "rate_limit_exceeded",                  "",                                                           Code,    RateLimited),
    row(429, "rate_limit_error",          "slow_down",                            "",                                                           Code,    SlowDown),
    row(429, "insufficient_quota",        "insufficient_quota",                   "",                                                           Code,    QuotaExhausted),
    row(429, "insufficient_quota",        "credit_balance_exhausted",             "",                                                           Code,    QuotaExhausted),
    row(429, "insufficient_quota",        "organization_usage_limit_exceeded",    "",                                                           Code,    QuotaExhausted),
    row(429, "insufficient_quota",        "organization_spend_limit_exceeded",    "",                                                           Code,    QuotaExhausted),
    row(429, "insufficient_quota",        "project_spend_limit_exceeded",         "",                                                           Code,    QuotaExhausted),
    row(429, "billing_not_active",        "billing_not_active",                   "",                                                           Code,    QuotaExhausted),
    row(429, "",                          "",                                     "",                                                           Status,  RateLimited),
    row(500, "server_error",              "",                                     "",                                                           Status,  ServerError),
    row(502, "",                          "",                                     "",                                                           Status,  ServerError),
    row(503, "rate_limit_error",          "slow_down",                            "",                                                           Code,    SlowDown),
    row(503, "service_unavailable_error", "server_is_overloaded",                 "",                                                           Code,    Overloaded),
    row(503, "service_unavailable_error", "",                                     "",                                                           Status,  Overloaded),
    row(504, "",                          "",                                     "",                                                           Status,  UpstreamTimeout),
    row(200, "",                          "vector_store_timeout",                 "",                                                           Code,    UpstreamTimeout),
    row(200, "",                          "invalid_image",                        "",                                                           Code,    BadRequest),
    row(200, "",                          "invalid_image_format",                 "",                                                           Code,    BadRequest),
    row(200, "",                          "invalid_base64_image",                 "",                                                           Code,    BadRequest),
    row(200, "",                          "invalid_image_url",                    "",                                                           Code,    BadRequest),
    row(200, "",                          "invalid_image_mode",                   "",                                                           Code,    BadRequest),
    row(200, "",                          "image_too_large",                      "",                                                           Code,    BadRequest),
    row(200, "",                          "image_too_small",                      "",                                                           Code,    BadRequest),
    row(200, "",                          "image_parse_error",                    "",                                                           Code,    BadRequest),
    row(200, "",                          "image_file_too_large",                 "",                                                           Code,    BadRequest),
    row(200, "",                          "image_file_not_found",                 "",                                                           Code,    BadRequest),
    row(200, "",                          "unsupported_image_media_type",         "",                                                           Code,    BadRequest),
    row(200, "",                          "empty_image_file",                     "",                                                           Code,    BadRequest),
    row(200, "",                          "failed_to_download_image",             "",                                                           Code,    BadRequest),
    row(200, "",                          "image_content_policy_violation",       "",                                                           Code,    ContentFiltered),
];

#[rustfmt::skip]
const AZURE: &[Row] = &[
    row(400, "",                          "content_filter",                       "",                                                           Code,    ContentFiltered),
    row(400, "",                          "ResponsibleAIPolicyViolation",         "",                                                           Code,    ContentFiltered),
    row(400, "",                          "OperationNotSupported",                "",                                                           Code,    Unsupported),
    row(401, "",                          "401",                                  "",                                                           Status,  Auth),
    row(401, "",                          "PermissionDenied",                     "",                                                           Code,    PermissionDenied),
    row(403, "",                          "",                                     "Out of call volume quota",                                   Opening, QuotaExhausted),
    row(403, "",                          "403",                                  "",                                                           Status,  PermissionDenied),
    row(404, "",                          "DeploymentNotFound",                   "",                                                           Code,    NotFound),
    row(404, "",                          "404",                                  "",                                                           Status,  NotFound),
    row(408, "",                          "Timeout",                              "",                                                           Code,    Conflict),
    row(429, "",                          "429",                                  "",                                                           Status,  RateLimited),
    row(429, "",                          "too_many_requests",                    "",                                                           Code,    RateLimited),
    row(429, "",                          "RateLimitReached",                     "",                                                           Code,    RateLimited),
    row(500, "",                          "InternalServerError",                  "",                                                           Code,    ServerError),
    row(503, "",                          "ServiceUnavailable",                   "",                                                           Code,    Overloaded),
];

#[rustfmt::skip]
const ANTHROPIC: &[Row] = &[
    row(400, "invalid_request_error",     "",                                     "",                                                           Status,  BadRequest),
    row(400, "invalid_request_error",     "",                                     "prompt is too long",                                         Text,    ContextTooLong),
    row(400, "invalid_request_error",     "",                                     "exceed context limit",                                       Text,    ContextTooLong),
    row(400, "invalid_request_error",     "",                                     "assistant message prefill",                                  Text,    Unsupported),
    row(400, "invalid_request_error",     "",                                     "You have reached your specified API usage limits",           Opening, QuotaExhausted),
    row(400, "invalid_request_error",     "",                                     "You have reached your specified workspace API usage limits", Opening, QuotaExhausted),
    row(400, "invalid_request_error",     "",                                     "Your credit balance is too low",                             Opening, QuotaExhausted),
    row(401, "authentication_error",      "",                                     "",                                                           Status,  Auth),
    row(402, "billing_error",             "",                                     "",                                                           Status,  QuotaExhausted),
    row(403, "permission_error",          "",                                     "",                                                           Status,  PermissionDenied),
    row(404, "not_found_error",           "",                                     "",                                                           Status,  NotFound),
    row(409, "conflict_error",            "",                                     "",                                                           Status,  Conflict),
    row(413, "request_too_large",         "",                                     "",                                                           Status,  TooLarge),
    row(429, "rate_limit_error",          "enforced_spend_limit_reached",         "",                                                           Code,    QuotaExhausted),
    row(429, "rate_limit_error",          "",                                     "",                                                           Status,  RateLimited),
    row(500, "api_error",                 "",                                     "",                                                           Status,  ServerError),
    row(504, "timeout_error",             "",                                     "",                                                           Status,  UpstreamTimeout),
    row(529, "overloaded_error",          "",                                     "",                                                           Status,  Overloaded),
];

#[rustfmt::skip]
const OTHERS: &[Row] = &[
    row(400, "",                          "",                                     "maximum context length",                                     Text,    ContextTooLong),
    row(402, "",                          "",                                     "",                                                           Status,  QuotaExhausted),
    row(405, "",                          "",                                     "",                                                           Status,  NotFound),
    row(410, "",                          "",                                     "",                                                           Status,  NotFound),
    row(451, "",                          "",                                     "",                                                           Status,  PermissionDenied),
    row(499, "",                          "",                                     "",                                                           Status,  Conflict),
    row(500, "internal_server_error",     "",                                     "",                                                           Status,  ServerError),
    row(501, "",                          "",                                     "",                                                           Status,  Unsupported),
    row(503, "",                          "engine_overloaded",                    "",                                                           Code,    Overloaded),
    row(524, "",                          "",                                     "",                                                           Status,  UpstreamTimeout),
];
