//! What a provider's headers tell: how long to wait, whether to retry, how much is left of our limits.
//!
//! Both vendors' forms are read in one pass, whoever sends them. All of it comes from outside: what is no
//! sensible value is as good as not there. What is done with it is not known here.

use std::{
    cmp::Reverse,
    time::{Duration, SystemTime},
};

use http::header::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use mainstay_actors::{
    call::{Allowance, Allowances},
    error::ErrorKind,
};

/// The longest wait a header can ask for; more is cut to it.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// No limit is higher: what says so is no number of requests or tokens.
const MAX_COUNT: u64 = 1_000_000_000_000;

/// No value that means something is longer, in bytes.
const MAX_VALUE: usize = 128;

/// What the headers of one answer tell.
#[derive(Debug, Default)]
pub(in crate::providers) struct Told {
    /// The provider's own id of the request, if it is fit to be shown.
    pub(in crate::providers) request_id: Option<String>,
    /// How long to wait: `retry-after-ms`, else `retry-after` in seconds or as a date.
    retry_after: Option<Duration>,
    /// `x-should-retry`.
    pub(super) should_retry: Option<bool>,
    /// Our limits, if any was told.
    pub(in crate::providers) allowances: Option<Box<Allowances>>,
}

impl Told {
    pub(in crate::providers) fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let text = |name| headers.get(name).and_then(text);
        let seconds =
            || text("retry-after").and_then(|value| positive(value, 1.0).or_else(|| date(value, now)));
        Self {
            request_id: text("x-request-id").or_else(|| text("request-id")).and_then(id),
            retry_after: text("retry-after-ms").and_then(|ms| positive(ms, 1e-3)).or_else(seconds),
            should_retry: text("x-should-retry").and_then(|value| value.parse().ok()),
            allowances: allowances(headers, now),
        }
    }

    /// How long to wait, where a header says so.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// A speed limit that names no wait is over when what is used up is there again; of several that are, the
    /// last one counts.
    pub(super) fn last_reset(&self, kind: ErrorKind) -> Option<Duration> {
        let resets = self.used_up().filter_map(|allowance| allowance.reset);
        resets.max().filter(|_| kind == ErrorKind::RateLimited)
    }

    fn used_up(&self) -> impl Iterator<Item = Allowance> {
        let Allowances { requests, tokens, input_tokens, output_tokens } =
            self.allowances.as_deref().copied().unwrap_or_default();
        let all = [requests, tokens, input_tokens, output_tokens].into_iter();
        all.filter(|allowance| allowance.remaining == Some(0))
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim).filter(|value| value.len() <= MAX_VALUE)
}

/// An id that may be shown.
fn id(value: &str) -> Option<String> {
    let fit = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    fit.then(|| value.to_string())
}

fn positive(number: &str, seconds: f64) -> Option<Duration> {
    let number = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0)?;
    // What no duration can hold is longer than the longest wait.
    let wait = Duration::try_from_secs_f64(number * seconds).unwrap_or(MAX_WAIT).min(MAX_WAIT);
    Some(wait).filter(|wait| !wait.is_zero())
}

fn date(date: &str, now: SystemTime) -> Option<Duration> {
    let wait = httpdate::parse_http_date(date).ok()?.duration_since(now).ok();
    wait.filter(|wait| !wait.is_zero()).map(|wait| wait.min(MAX_WAIT))
}

/// What a limit is about; a project's tokens are told apart from the model's.
#[derive(Clone, Copy)]
enum Unit {
    Requests,
    Tokens,
    ProjectTokens,
    InputTokens,
    OutputTokens,
}

fn allowances(headers: &HeaderMap, now: SystemTime) -> Option<Box<Allowances>> {
    let mut told = [Allowance::default(); 5];
    for (name, value) in headers {
        if let Some((unit, part)) = place(name.as_str()) {
            note(&mut told[unit as usize], part, text(value).unwrap_or_default(), now);
        }
    }
    let [requests, tokens, project_tokens, input_tokens, output_tokens] = told.map(trusted);
    let tokens = tighter(tokens, project_tokens);
    let allowances = Allowances { requests, tokens, input_tokens, output_tokens };
    (allowances != Allowances::default()).then(|| Box::new(allowances))
}

/// `x-ratelimit-PART-UNIT`, or `anthropic-ratelimit-UNIT-PART`.
fn place(name: &str) -> Option<(Unit, &str)> {
    let (unit, part) = match name.strip_prefix("x-ratelimit-") {
        Some(rest) => rest.split_once('-').map(|(part, unit)| (unit, part))?,
        None => name.strip_prefix("anthropic-ratelimit-")?.rsplit_once('-')?,
    };
    let unit = match unit {
        "requests" => Unit::Requests,
        "tokens" => Unit::Tokens,
        "project-tokens" => Unit::ProjectTokens,
        "input-tokens" => Unit::InputTokens,
        "output-tokens" => Unit::OutputTokens,
        _ => return None,
    };
    Some((unit, part))
}

fn note(allowance: &mut Allowance, part: &str, value: &str, now: SystemTime) {
    match part {
        "limit" => allowance.limit = Some(count(value).unwrap_or_default()),
        "remaining" => allowance.remaining = count(value),
        "reset" => allowance.reset = reset(value, now),
        _ => {}
    }
}

/// Whose limit is no limit, as the `-1` and `0` that Azure sends, does not tell the rest truly either.
fn trusted(allowance: Allowance) -> Allowance {
    if allowance.limit == Some(0) { Allowance::default() } else { allowance }
}

fn tighter(one: Allowance, other: Allowance) -> Allowance {
    let room = |allowance: &Allowance| (allowance.remaining.unwrap_or(u64::MAX), Reverse(allowance.reset));
    if room(&other) < room(&one) { other } else { one }
}

fn count(value: &str) -> Option<u64> {
    value.parse().ok().filter(|count| *count <= MAX_COUNT)
}

/// `6m0s` and the like, plain seconds, or a time of day.
fn reset(value: &str, now: SystemTime) -> Option<Duration> {
    let wait = match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => value.parse().ok().or_else(|| until(value, now))?.try_into().ok()?,
    };
    Some(wait).filter(|wait| !wait.is_zero() && *wait <= MAX_WAIT)
}

fn until(time: &str, now: SystemTime) -> Option<SignedDuration> {
    Some(time.parse::<Timestamp>().ok()?.duration_since(Timestamp::try_from(now).ok()?))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30)
    }

    fn told(pairs: &[(&'static str, &str)]) -> Told {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        Told::read(&pairs.iter().map(pair).collect(), now())
    }

    fn reset_of(value: &str) -> Option<u128> {
        let told = told(&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", value)]);
        told.allowances.unwrap().tokens.reset.map(|reset| reset.as_millis())
    }

    #[test]
    fn every_form_of_a_wait_is_understood_and_hostile_ones_are_not() {
        let table: [(&[(&'static str, &str)], _); 15] = [
            (&[("retry-after", "2")], Some(2_000)),
            (&[("retry-after", "0.5")], Some(500)),
            (&[("retry-after-ms", "12.5"), ("retry-after", "9")], Some(12)),
            (&[("retry-after-ms", "soon"), ("retry-after", "9")], Some(9_000)),
            (&[("retry-after-ms", "-7"), ("retry-after", "9")], Some(9_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(30_000)),
            (&[("retry-after", "Sun, 06 Nov 1993 08:49:37 GMT")], None),
            (&[("retry-after", "Sat, 06 Nov 2094 08:49:37 GMT")], Some(86_400_000)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "inf")], None),
            (&[("retry-after", "\u{664}")], None),
            (&[("retry-after", "1e300")], Some(86_400_000)),
            (&[("retry-after", "1e-300")], None),
            (&[], None),
        ];
        for (pairs, expected) in table {
            let wait = told(pairs).wait().map(|wait| wait.as_millis());
            assert_eq!(wait, expected, "{pairs:?}"); // PC13
        }
    }

    #[test]
    fn a_provider_s_word_about_retrying_is_true_or_false_or_nothing() {
        let table = [("true", Some(true)), ("false", Some(false)), ("TRUE", None), ("1", None), ("", None)];
        for (value, expected) in table {
            assert_eq!(told(&[("x-should-retry", value)]).should_retry, expected, "{value}"); // PC13
        }
    }

    #[test]
    fn limits_of_both_vendors_are_read() {
        let openai = told(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-limit-tokens", "150000"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        let allowance = |limit, remaining, seconds| Allowance {
            limit: Some(limit),
            remaining: Some(remaining),
            reset: Some(Duration::from_secs(seconds)),
        };
        let expected = Allowances {
            requests: allowance(60, 59, 1),
            tokens: allowance(150_000, 149_984, 360),
            ..Allowances::default()
        };
        assert_eq!(openai.allowances.as_deref(), Some(&expected)); // PC13, PC19

        let anthropic = told(&[
            ("anthropic-ratelimit-input-tokens-limit", "50000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "1994-11-06T08:49:17Z"),
            ("anthropic-ratelimit-output-tokens-limit", "10000"),
            ("anthropic-ratelimit-output-tokens-remaining", "10000"),
            ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T09:49:37+01:00"),
        ]);
        let expected = Allowances {
            input_tokens: allowance(50_000, 0, 10),
            output_tokens: allowance(10_000, 10_000, 30),
            ..Allowances::default()
        };
        assert_eq!(anthropic.allowances.as_deref(), Some(&expected)); // PC13, PC19
    }

    #[test]
    fn every_form_of_a_reset_is_understood_and_hostile_ones_are_not() {
        let table = [
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("100ms", Some(100)),
            ("2m59.56s", Some(179_560)),
            ("1h2m3s", Some(3_723_000)),
            ("17", Some(17_000)),
            ("0.25", Some(250)),
            ("1994-11-06T08:49:37Z", Some(30_000)),
            ("1994-11-06T08:49:37.5+00:00", Some(30_500)),
        ];
        for (value, expected) in table {
            assert_eq!(reset_of(value), expected, "{value}"); // PC13
        }
        for hostile in [
            "",
            "0",
            "0s",
            "-1s",
            "-1",
            "NaN",
            "inf",
            "1e300",
            "25h",
            "1784111777",
            "soon",
            "s",
            "1994-11-06",
            "1970-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "999999999999999999999h",
            "1\u{b5}x",
        ] {
            assert_eq!(reset_of(hostile), None, "{hostile}"); // PC13
        }
    }

    #[test]
    fn what_is_no_count_is_not_there_and_a_limit_that_is_none_silences_the_rest() {
        for hostile in ["", "-1", "1.5", "NaN", "1e3", "1000000000001", "99999999999999999999999", "\u{664}"]
        {
            let told = told(&[("x-ratelimit-remaining-tokens", hostile)]);
            assert_eq!(told.allowances, None, "{hostile}"); // PC19
        }
        for limit in ["-1", "0", "many"] {
            let told = told(&[
                ("x-ratelimit-limit-tokens", limit),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "30"),
            ]);
            assert_eq!(
                (told.allowances.clone(), told.last_reset(ErrorKind::RateLimited)),
                (None, None),
                "{limit}"
            );
        }
    }

    #[test]
    fn the_tighter_of_the_model_s_and_the_project_s_tokens_counts() {
        for (model, project, expected) in [("9", "0", 0), ("0", "9", 0), ("7", "8", 7)] {
            let told = told(&[
                ("x-ratelimit-remaining-tokens", model),
                ("x-ratelimit-remaining-project-tokens", project),
            ]);
            assert_eq!(told.allowances.unwrap().tokens.remaining, Some(expected), "{model} {project}");
        }
    }

    #[test]
    fn a_speed_limit_without_a_wait_ends_with_the_last_reset_of_what_is_used_up() {
        let used_up = |requests, tokens| {
            told(&[
                ("x-ratelimit-remaining-requests", requests),
                ("x-ratelimit-reset-requests", "2s"),
                ("x-ratelimit-remaining-tokens", tokens),
                ("x-ratelimit-reset-tokens", "7s"),
            ])
        };
        for (requests, tokens, expected) in
            [("0", "5", Some(2)), ("5", "0", Some(7)), ("0", "0", Some(7)), ("5", "5", None)]
        {
            let wait =
                used_up(requests, tokens).last_reset(ErrorKind::RateLimited).map(|wait| wait.as_secs());
            assert_eq!(wait, expected, "{requests} requests and {tokens} tokens left"); // PC13
        }
        assert_eq!(used_up("0", "0").last_reset(ErrorKind::Overloaded), None);
    }

    #[test]
    fn a_request_id_is_kept_only_if_it_is_short_and_printable() {
        for name in ["x-request-id", "request-id"] {
            assert_eq!(told(&[(name, "req_1")]).request_id.as_deref(), Some("req_1"));
            for id in ["", "two words", "x".repeat(129).as_str()] {
                assert_eq!(told(&[(name, id)]).request_id, None, "{id:?}"); // SE10
            }
        }
    }
}
