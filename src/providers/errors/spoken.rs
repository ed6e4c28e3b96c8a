//! How long to wait, where only an error's message tells it.
//!
//! Inside an answer that began with success there are no headers, and an account's limits never have any. Read
//! is only what stands behind the vendors' own words, in an error of a kind that comes with them.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use mainstay_actors::error::ErrorKind;

use super::headers::MAX_WAIT;

/// Before a time to wait: `1.2s`, `6m0s`, `7 seconds`.
const AGAIN: [&str; 3] = ["try again in ", "Try again in ", "retry after "];

/// Before the day on which an account may be used again: `2026-10-01 at 00:00 UTC`.
const REGAIN: &str = "regain access on ";

/// No account's limit lasts longer than a month; what says so is cut to it.
const MONTH: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// The wait that an error of this kind with this message asks for.
pub(super) fn wait(kind: ErrorKind, message: &str, now: SystemTime) -> Option<Duration> {
    let after = |words| message.split_once(words).map(|(_, rest)| rest);
    let (wait, longest) = match kind {
        ErrorKind::RateLimited | ErrorKind::SlowDown => {
            (AGAIN.into_iter().find_map(after).and_then(duration)?, MAX_WAIT)
        }
        ErrorKind::QuotaExhausted => (until(after(REGAIN)?, now)?, MONTH),
        _ => return None,
    };
    let wait = Duration::try_from(wait).ok()?;
    Some(wait.min(longest)).filter(|wait| !wait.is_zero())
}

fn duration(text: &str) -> Option<SignedDuration> {
    let mut words = text.split_ascii_whitespace().map(|word| word.trim_end_matches(['.', ',', ';']));
    let first = words.next()?;
    match first.parse::<f64>() {
        Ok(seconds) if words.next()?.starts_with("second") => SignedDuration::try_from_secs_f64(seconds).ok(),
        Ok(_) => None,
        Err(_) => first.parse().ok(),
    }
}

/// A day, and a time of it where one is told.
fn until(text: &str, now: SystemTime) -> Option<SignedDuration> {
    let (day, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(" at ").and_then(|rest| rest.split_once(" UTC"));
    let time = time.map_or("00:00", |(time, _)| time);
    let end: Timestamp = format!("{day}T{time}:00Z").parse().ok()?;
    Some(end.duration_since(Timestamp::try_from(now).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_809_200) // 2026-09-30T23:00:00Z
    }

    fn seconds(kind: ErrorKind, message: &str) -> Option<f64> {
        wait(kind, message, now()).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn a_speed_limit_s_wait_is_read_from_its_message() {
        let table = [
            ("Rate limit reached for gpt-5 on tokens. Please try again in 1.2s. Visit https://x.", Some(1.2)),
            ("Limit 3, Used 3, Requested 1. Please try again in 6m0s.", Some(360.0)),
            ("Please try again in 17ms.", Some(0.017)),
            ("Please retry after 7 seconds.", Some(7.0)),
            ("Rate limit is exceeded. Try again in 1 seconds.", Some(1.0)),
            ("Please try again in 48h0m0s.", Some(86_400.0)),
            ("Please try again in 7 days.", None),
            ("Please try again in -3s.", None),
            ("Please try again in NaN seconds.", None),
            ("Please try again in 1e300 seconds.", None),
            ("Please try again in a while.", None),
            ("Please try again in ", None),
            ("Slow down.", None),
        ];
        for (message, expected) in table {
            for kind in [ErrorKind::RateLimited, ErrorKind::SlowDown] {
                assert_eq!(seconds(kind, message), expected, "{message}"); // PC13
            }
            assert_eq!(seconds(ErrorKind::ServerError, message), None, "{message}");
        }
    }

    #[test]
    fn an_account_s_limit_ends_on_the_day_that_its_message_names() {
        let table = [
            ("2026-10-01 at 00:00 UTC.", Some(3_600.0)),
            ("2026-10-01 at 06:30 UTC", Some(27_000.0)),
            ("2026-10-01.", Some(3_600.0)),
            ("9999-01-01 at 00:00 UTC.", Some(MONTH.as_secs_f64())),
            ("2026-09-01 at 00:00 UTC.", None),
            ("2026-13-01 at 00:00 UTC.", None),
            ("2026-10-01 at noon UTC.", None),
            ("the first day", None),
            ("20\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}", None),
            ("", None),
        ];
        for (day, expected) in table {
            let message =
                format!("You have reached your specified API usage limits. You will regain access on {day}");
            assert_eq!(seconds(ErrorKind::QuotaExhausted, &message), expected, "{day}"); // PC12, PC13
            assert_eq!(seconds(ErrorKind::BadRequest, &message), None, "{day}");
        }
    }
}
