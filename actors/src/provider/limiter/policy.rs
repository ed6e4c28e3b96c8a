//! The settings of a provider's limits, and the estimate of what a call will take of them.

use std::time::Duration;

use super::dimension::MOST;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The estimate of an answer whose request does not limit it.
const UNLIMITED_ANSWER: u64 = 500;

/// The operator's limits for one provider; each may be left out, and is then learnt. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitPolicy {
    /// So many calls in any period of this length, all at once if need be: at least 1, per 1 ms to 24 h. One
    /// more is refused as `throttled`, with the time to wait, and the chain moves on.
    pub requests: Option<(u32, Duration)>,
    /// Tokens read per minute, at least 1 and at most 10^12, a sixth of them at once; beyond it as above.
    pub input_tokens: Option<u64>,
    /// Tokens written per minute; the same.
    pub output_tokens: Option<u64>,
    /// Tokens read and written per minute; the same.
    pub tokens: Option<u64>,
}

impl LimitPolicy {
    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        let tokens = [self.input_tokens, self.output_tokens, self.tokens];
        match self.requests {
            Some((0, _)) => Err("`limits.requests` must be at least 1"),
            Some((_, per)) if !(Duration::from_millis(1)..=DAY).contains(&per) => {
                Err("the period of `limits.requests` must be from 1 ms to 24 h")
            }
            _ if !tokens.into_iter().flatten().all(|limit| (1..=MOST).contains(&limit)) => {
                Err("each limit of tokens must be from 1 to 1000000000000 a minute")
            }
            _ => Ok(()),
        }
    }
}

/// What a call will take, as far as that is known before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Tokens it will read.
    pub input_tokens: u64,
    /// Tokens it may write.
    pub output_tokens: u64,
}

impl Demand {
    /// Four bytes of the request are a token; the answer is as long as `max_tokens` allows, or 500 tokens.
    ///
    /// That is about right for English in JSON, too high for images in the body and too low for scripts with
    /// several tokens a character: the real usage puts it right.
    pub fn estimate(bytes: usize, max_tokens: Option<u64>) -> Self {
        Self { input_tokens: bytes as u64 / 4, output_tokens: max_tokens.unwrap_or(UNLIMITED_ANSWER) }
    }
}
