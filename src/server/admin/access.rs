//! Who may give orders (GW10).
//!
//! On this machine alone, whoever is on it; from elsewhere, whoever knows the token. A page in a visitor's
//! browser may never, under whatever name it reaches us. What is ordered is not known here.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{Admin, problem::Problem, reload::Reloads};
use crate::server::answer;

/// Who may use the admin API, and what it can do beyond the runtime it belongs to.
#[derive(Clone, Debug, Default)]
pub struct AdminAccess {
    /// What every request must bring as its bearer token. Without one only this machine itself is served, and the
    /// socket must be bound to a loopback address.
    pub token: Option<SecretString>,
    /// Who reads the configuration again when that is asked for; nobody: it cannot be asked for.
    pub reloads: Option<Reloads>,
}

/// Turns away who may not be here, gives every answer its headers, and every problem its words.
pub(super) async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let id = answer::request_id(request.headers());
    let id: Arc<str> = id.unwrap_or_else(|| admin.0.gateway.0.system.commons().new_id());
    let mut response = match admin.0.access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.told(&id),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let headers = std::mem::take(response.headers_mut());
        response = problem.told(&id);
        response.headers_mut().extend(headers.get(header::ALLOW).map(|allow| (header::ALLOW, allow.clone())));
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer::put_ids(headers, &id);
    response
}

impl AdminAccess {
    fn check(&self, request: &Request) -> Result<(), Problem> {
        answer::check_one_host(request)?;
        if self.token.is_none() {
            answer::check_host(request)?;
        }
        if is_cross_origin(request.headers()) {
            let detail = "A page of another origin asked: use the command line, or curl.";
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "cross-origin",
                "Pages of other origins are refused",
                detail,
            ));
        }
        match &self.token {
            Some(token) if !brings(request.headers(), token) => Err(unauthorized()),
            _ => Ok(()),
        }
    }
}

/// The time it takes tells the token's length and nothing else of it.
fn brings(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let (scheme, given) = given.split_at_checked(7).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(given.ct_eq(token.expose_secret().as_bytes()))
}

fn unauthorized() -> Problem {
    let detail = "Send the gateway's admin token as `authorization: Bearer TOKEN`.";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "The token is missing or wrong", detail)
}

/// Browsers say whose page asks, in `Origin` where it matters and in `Sec-Fetch-Site` otherwise; nobody else does.
fn is_cross_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    let other_origin = text(header::ORIGIN).is_some_and(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    let fetched = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    other_origin || fetched.is_some_and(|site| !matches!(site, b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn only_pages_of_the_same_origin_ask() {
        let asked = |pairs: &[_]| is_cross_origin(&headers(&[&[("host", "localhost:8081")], pairs].concat()));
        assert!(!asked(&[]));
        assert!(!asked(&[("origin", "http://localhost:8081"), ("sec-fetch-site", "same-origin")]));
        assert!(!asked(&[("sec-fetch-site", "none")]));
        for origin in ["http://localhost:8080", "http://127.0.0.1:8081", "https://evil.example", "null", ""] {
            assert!(asked(&[("origin", origin)]), "{origin}"); // GW10
        }
        assert!(asked(&[("sec-fetch-site", "same-site")]) && asked(&[("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = SecretString::from("0123456789abcdef");
        let opens = |value| brings(&headers(&[("authorization", value)]), &token);
        assert!(opens("Bearer 0123456789abcdef") && opens("bearer 0123456789abcdef"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdeff"] {
            assert!(!opens(wrong), "{wrong}"); // GW10
        }
        assert!(!opens("Basic 0123456789abcdef") && !opens("0123456789abcdef"));
        assert!(!brings(&HeaderMap::new(), &token));
    }
}
