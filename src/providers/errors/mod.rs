//! What a vendor's error means: its answer in, one classified error out.
//!
//! [`table`] says what each error means, [`headers`] and [`spoken`] what goes with it; here an answer is read for both. What
//! the policies do with the kind is not known here.

#[cfg(test)]
mod catalogue;
mod headers;
mod spoken;
mod table;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use bytes::Bytes;
use http::header::HeaderMap;
use mainstay_actors::error::{ErrorKind, ProviderError};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::redact::Redactor;
pub(super) use headers::Told;
use table::Said;

/// How much of an error's body is read, in bytes; a longer one is judged by its status alone.
pub(super) const MAX_ERROR_BODY: usize = 64 << 10;

/// The error object of the dialects; some vendors leave the wrapper out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct VendorError {
    message: Value,
    #[serde(rename = "type")]
    kind: Value,
    code: Value,
    details: Value,
    innererror: Value,
}

impl VendorError {
    /// The error in `body`, if that is what it holds.
    fn read(body: &[u8]) -> Option<Self> {
        let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let within = |response: Value| Some(response.get("error")?.clone());
        match members.remove("error").or_else(|| within(members.remove("response")?)).unwrap_or_default() {
            Value::String(message) => Some(Self { message: message.into(), ..Self::default() }),
            error @ Value::Object(_) => serde_json::from_value(error).ok(),
            _ if members.contains_key("message") => serde_json::from_value(members.into()).ok(),
            _ => None,
        }
    }

    fn means(&self, status: Option<u16>) -> ErrorKind {
        let said = |status| Said { status, words: self.words(), message: self.message().unwrap_or_default() };
        let known = said(status).means();
        known.or_else(|| said(Some(self.code_as_status()?)).means()).unwrap_or(ErrorKind::ServerError)
    }

    fn words(&self) -> [&str; 4] {
        let words = [&self.code, &self.details["error_code"], &self.innererror["code"], &self.kind];
        words.map(|word| word.as_str().unwrap_or_default())
    }

    fn message(&self) -> Option<&str> {
        self.message.as_str()
    }

    /// Some gateways put a status where the code belongs.
    fn code_as_status(&self) -> Option<u16> {
        let number = self.code.as_u64().or_else(|| self.code.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|status| (400..600).contains(status))
    }
}

/// An answer with a status other than success; `body` is empty where it was too long or broke off.
pub(super) fn answer(status: u16, headers: &HeaderMap, body: Bytes, secrets: &Redactor) -> ProviderError {
    let vendor = VendorError::read(&body);
    // Whoever refuses a key tends to quote it.
    let fit_to_forward = vendor.is_some() && !matches!(status, 401 | 403) && !secrets.leaks(&body);
    let vendor = vendor.unwrap_or_default();
    let kind = vendor.means(Some(status));
    let message = match vendor.message() {
        _ if (300..400).contains(&status) => {
            format!("HTTP {status}: redirects are not followed; put the final address into base_url")
        }
        Some(message) => secrets.line(message),
        None => format!("HTTP {status} without an error message"),
    };
    let now = SystemTime::now();
    let told = Told::read(headers, now);
    let spoken = || spoken::wait(kind, vendor.message()?, now);
    ProviderError {
        // A redirect is no status that an error can be passed on with.
        status: Some(status).filter(|status| *status >= 400),
        retry_after: told.wait().or_else(spoken).or_else(|| told.last_reset(kind)),
        should_retry: told.should_retry,
        request_id: told.request_id,
        allowances: told.allowances,
        body: fit_to_forward.then_some(body),
        ..ProviderError::new(kind, message)
    }
}

/// An error inside an answer whose status was success: judged by its own words.
pub(super) fn inside(data: &[u8], secrets: &Redactor) -> ProviderError {
    let vendor = VendorError::read(data).unwrap_or_default();
    let message = vendor.message().unwrap_or("an error event without a message");
    let kind = vendor.means(None);
    let retry_after = spoken::wait(kind, message, SystemTime::now());
    ProviderError { retry_after, ..ProviderError::new(kind, secrets.line(message)) }
}

/// What the headers of an answer tell.
pub(super) fn told(headers: &HeaderMap) -> Told {
    Told::read(headers, SystemTime::now())
}
