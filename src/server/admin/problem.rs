//! The form of every error of the admin API: RFC 9457, `application/problem+json`.
//!
//! A problem's `type` is stable and means one thing; `detail` says what to do next. What asked for it is filled
//! in by [`access`](super::access), which sees every answer last.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::server::answer::Refusal;

/// What went wrong.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    slug: String,
    title: &'static str,
    detail: String,
    /// What else is known, by name.
    more: Value,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        slug: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, slug: slug.into(), title, detail: detail.into(), more: Value::Null }
    }

    /// The same with further members.
    pub(super) fn with(self, more: Value) -> Self {
        Self { more, ..self }
    }

    pub(super) fn told(self, request_id: &Arc<str>) -> Response {
        let mut body = json!({
            "type": format!("tag:mainstay,2026:{}", self.slug),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "request_id": &**request_id,
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, self.more) {
            body.extend(more);
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Leaves itself in the response, to be told when it is known who asked.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let slug = refusal.code.unwrap_or("bad-request").replace('_', "-");
        Self::new(refusal.status, &slug, "The request cannot be understood", refusal.message)
    }
}
