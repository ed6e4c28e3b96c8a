//! How long a caller waits, and whether it has waited before, as far as its headers say so.
//!
//! A deadline saves the providers from work whose answer nobody takes. What makes no sense is ignored: a call
//! without a deadline is better than a call refused for a header.

use std::time::Duration;

use axum::http::HeaderMap;
use mainstay_actors::call::Request;

/// For the whole call, in milliseconds.
const OURS: &str = "x-mainstay-timeout-ms";

/// For the answer to begin, in seconds: what the official SDKs send by themselves, Python's and Node's.
const SDKS: [&str; 2] = ["x-stainless-read-timeout", "x-stainless-timeout"];

/// How often the SDK has asked for the same thing before.
const RETRIES: &str = "x-stainless-retry-count";

/// Nobody waits longer than this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The call, with its caller's deadlines.
pub(super) fn within(headers: &HeaderMap, request: Request) -> Request {
    Request {
        timeout: wait(headers, OURS, 1e-3),
        patience: SDKS.iter().find_map(|name| wait(headers, name, 1.0)),
        ..request
    }
}

/// How often the client's SDK has asked in vain by itself, if it has. Nothing is decided by it.
pub(super) fn retries(headers: &HeaderMap) -> Option<u32> {
    let count = headers.get(RETRIES)?.to_str().ok()?.trim().parse().ok()?;
    (count > 0).then_some(count)
}

fn wait(headers: &HeaderMap, name: &str, unit: f64) -> Option<Duration> {
    let number: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    let wait = Duration::try_from_secs_f64(number * unit).ok()?;
    (Duration::from_millis(1)..=LONGEST).contains(&wait).then_some(wait)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// Timeout and patience in milliseconds.
    fn read(pairs: &[(&'static str, &str)]) -> (Option<u128>, Option<u128>) {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
        let request = within(&pairs.collect(), Request::new("{}".into(), 0..0, false));
        (request.timeout.map(|wait| wait.as_millis()), request.patience.map(|wait| wait.as_millis()))
    }

    #[test]
    fn each_header_has_its_unit_and_its_meaning() {
        assert_eq!(read(&[]), (None, None));
        assert_eq!(read(&[("x-mainstay-timeout-ms", "1500")]), (Some(1500), None));
        assert_eq!(read(&[("x-stainless-read-timeout", "2.5")]), (None, Some(2500)));
        assert_eq!(read(&[("x-stainless-timeout", "600")]), (None, Some(600_000)));
        let both = [("x-stainless-timeout", "NOT_GIVEN"), ("x-stainless-read-timeout", "20")];
        assert_eq!(read(&both), (None, Some(20_000)));
    }

    #[test]
    fn only_an_sdk_that_asks_again_says_so() {
        let retries = |value| {
            retries(&HeaderMap::from_iter([(RETRIES.parse().unwrap(), HeaderValue::from_static(value))]))
        };
        assert_eq!(retries("2"), Some(2));
        for value in ["0", "-1", "", "many", "4294967296"] {
            assert_eq!(retries(value), None, "{value}");
        }
    }

    #[test]
    fn hostile_values_are_ignored() {
        for value in ["", "soon", "0", "-1", "NaN", "inf", "1e300", "1e-9", "0x10", "99999999999", "1,5"] {
            let all = [OURS, SDKS[0], SDKS[1]].map(|name| (name, value));
            assert_eq!(read(&all), (None, None), "{value:?}"); // GW6
        }
    }
}
