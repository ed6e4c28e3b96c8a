//! The settings of one provider, each with its unit, its default and what happens at the limit.

use std::time::Duration;

use super::{adaptive::AdaptivePolicy, budget::BudgetPolicy, limiter::LimitPolicy, window::Window};
use crate::backoff::{Backoff, Jitter};

/// The largest bulkhead: beyond it the limit would protect nobody.
const MAX_CONCURRENT: usize = 100_000;
/// The largest number of calls in a window: each takes some bytes.
const MAX_WINDOW: u32 = 10_000;

/// How one provider is protected. Each part may be left out, and then does nothing (PC1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProviderPolicy {
    /// How long each phase of an attempt may take; `None`: as long as the caller waits.
    pub timeouts: Option<Timeouts>,
    /// When to stop asking; `None`: never.
    pub breaker: Option<BreakerPolicy>,
    /// How many attempts may run at once; one more is refused as `busy` and the chain moves on.
    /// Default 20, at least 1; `None`: as many as come.
    pub max_concurrent: Option<usize>,
    /// Lets the number of attempts at once follow what the provider carries, up to `max_concurrent`. Default `None`:
    /// `max_concurrent` alone holds.
    pub adaptive: Option<AdaptivePolicy>,
    /// How fast it may be asked: limits of your own, and those that it tells. `None`: it is asked until it refuses,
    /// and again at once.
    pub limits: Option<LimitPolicy>,
    /// How many attempts may be retries. `None`: as many as chains want.
    pub budget: Option<BudgetPolicy>,
    /// Asks whether it can be reached, when no caller does. `None`, or no `breaker`: nobody but callers finds out.
    pub probe: Option<ProbePolicy>,
    /// How long a call may wait for a place, or for a limit, when nobody else can answer it; as many may wait for a
    /// place as may run. Default 2 s; 0: it never waits.
    pub max_wait: Duration,
}

/// Four limits, because one number cannot fit an answer that is written word by word (PC18).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeouts {
    /// Until the connection stands. Default 5 s. Enforced by the adapter, which alone sees it.
    pub connect: Duration,
    /// Streams: until the first content. Default 20 s.
    pub first_token: Duration,
    /// Streams: the longest silence after that; keep-alives do not count as progress. Default 15 s.
    pub idle: Duration,
    /// The whole attempt, to the last byte. Default 120 s.
    pub total: Duration,
}

/// When a circuit opens, and how it closes again. Each of its rules is enough to open it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// This many failures in a row. Default 5, at least 1.
    pub failures: u32,
    /// How far back the shares below look. Default the last 60 s.
    pub window: Window,
    /// With fewer calls in the window than these, shares say nothing. Default 10, at least 1.
    pub min_calls: u32,
    /// Such a share of failures among the calls of the window. Default 0.5; `None`: shares do not matter.
    pub failing_share: Option<f64>,
    /// Slow calls, counted as soon as they are late. `None`: slowness does not matter.
    pub slow: Option<SlowPolicy>,
    /// How long it stays open: each reopening without a recovery between doubles it; a longer wait that the
    /// provider asks for holds, up to 5 min. Default 5 s, doubling to 120 s, ± 20 %.
    pub open: Backoff,
    /// After that calls pass one at a time; so many have to go well before more may pass. Default 3, at least 1.
    pub probes: u32,
    /// Then a growing share of calls passes: 5, 10, 25, 50 and at last all of a hundred. Each step lasts so long and
    /// ten outcomes, or fifteen times so long. Default 2 s; 0: all calls pass after the probes.
    pub ramp: Duration,
}

/// When a call is slow, and how many of them open a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowPolicy {
    /// A stream without content for so long. Default 10 s.
    pub first_token: Duration,
    /// A whole answer that takes so long. Default 60 s.
    pub whole: Duration,
    /// Such a share of slow calls among the calls of the window. Default 0.8.
    pub share: f64,
    /// This many slow calls in a row. Default 10, at least 1.
    pub in_a_row: u32,
}

/// How a provider is asked whether it can be reached, if its adapter knows a way that costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePolicy {
    /// When so much time has passed without any outcome; a dead one is out within twice of it, as long as it holds
    /// `breaker.failures` timeouts. Also before a call is risked on an open circuit. Default 30 s, at least 1 s.
    pub every: Duration,
    /// After so much time without an answer it has failed. Default 5 s, longer than 0, at most `every`.
    pub timeout: Duration,
}

impl ProviderPolicy {
    /// No protection at all, to begin a policy of single parts with.
    pub const NONE: Self = Self {
        timeouts: None,
        breaker: None,
        max_concurrent: None,
        adaptive: None,
        limits: None,
        budget: None,
        probe: None,
        max_wait: Duration::ZERO,
    };

    /// Every protection at once, with round numbers (PC23): the circuit opens after 5 failures in a row, 20 attempts
    /// run at once, each takes at most 10 s, and 100 begin in any 60 s. The 2 retries and the fallback are the chain's
    /// defaults.
    pub fn composite() -> Self {
        let limits = LimitPolicy { requests: Some((100, Duration::from_secs(60))), ..LimitPolicy::default() };
        let timeouts = Timeouts::within(Duration::from_secs(10));
        Self { timeouts: Some(timeouts), limits: Some(limits), ..Self::default() }
    }

    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        self.timeouts.map_or(Ok(()), Timeouts::check)?;
        self.breaker.map_or(Ok(()), BreakerPolicy::check)?;
        self.adaptive.map_or(Ok(()), |adaptive| adaptive.check())?;
        self.limits.map_or(Ok(()), |limits| limits.check())?;
        self.budget.map_or(Ok(()), |budget| budget.check())?;
        self.probe.map_or(Ok(()), ProbePolicy::check)?;
        match self.max_concurrent {
            Some(max) if !(1..=MAX_CONCURRENT).contains(&max) => {
                Err("`max_concurrent` must be from 1 to 100000")
            }
            _ => Ok(()),
        }
    }
}

impl Timeouts {
    /// Stands for no timeouts: longer than any process runs.
    pub(crate) const ENDLESS: Self = {
        let years = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        Self { connect: years, first_token: years, idle: years, total: years }
    };

    /// The defaults, as far as they lie within `total`.
    pub fn within(total: Duration) -> Self {
        let Self { connect, first_token, idle, .. } = Self::default();
        Self {
            connect: connect.min(total),
            first_token: first_token.min(total),
            idle: idle.min(total),
            total,
        }
    }

    fn check(self) -> Result<(), &'static str> {
        let Self { connect, first_token, idle, total } = self;
        match [connect, first_token, idle, total].contains(&Duration::ZERO) {
            true => Err("each timeout must be longer than 0"),
            false => Ok(()),
        }
    }
}

impl ProbePolicy {
    fn check(self) -> Result<(), &'static str> {
        match self {
            Self { every, .. } if every < Duration::from_secs(1) => Err("`probe.every` must be at least 1 s"),
            Self { every, timeout } if timeout.is_zero() || timeout > every => {
                Err("`probe.timeout` must be longer than 0 and at most `probe.every`")
            }
            _ => Ok(()),
        }
    }
}

impl BreakerPolicy {
    fn check(self) -> Result<(), &'static str> {
        let share = |share: f64| share > 0.0 && share <= 1.0;
        match self {
            Self { failures: 0, .. } => Err("`breaker.failures` must be at least 1"),
            Self { min_calls: 0, .. } => Err("`breaker.min_calls` must be at least 1"),
            Self { probes: 0, .. } => Err("`breaker.probes` must be at least 1"),
            Self { window: Window::Calls(0), .. } => Err("`breaker.window` must hold at least 1 call"),
            Self { window: Window::Calls(calls), .. } if calls > MAX_WINDOW => {
                Err("`breaker.window` must hold at most 10000 calls")
            }
            Self { window: Window::Time(time), .. } if time < Duration::from_secs(1) => {
                Err("`breaker.window` must last at least 1 s")
            }
            Self { failing_share: Some(failing), .. } if !share(failing) => {
                Err("`breaker.failing_share` must be above 0 and at most 1")
            }
            Self { slow: Some(slow), .. } if !share(slow.share) => {
                Err("`breaker.slow.share` must be above 0 and at most 1")
            }
            Self { slow: Some(SlowPolicy { in_a_row: 0, .. }), .. } => {
                Err("`breaker.slow.in_a_row` must be at least 1")
            }
            Self { slow: Some(slow), .. } if slow.first_token.min(slow.whole).is_zero() => {
                Err("a call cannot be slow after no time at all: `breaker.slow` needs times longer than 0")
            }
            _ => self.open.check(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(20),
            idle: Duration::from_secs(15),
            total: Duration::from_secs(120),
        }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        let open = Backoff {
            min: Duration::from_secs(5),
            max: Duration::from_secs(120),
            jitter: Jitter::Spread(0.2),
        };
        Self {
            failures: 5,
            window: Window::Time(Duration::from_secs(60)),
            min_calls: 10,
            failing_share: Some(0.5),
            slow: Some(SlowPolicy::default()),
            open,
            probes: 3,
            ramp: Duration::from_secs(2),
        }
    }
}

impl Default for SlowPolicy {
    fn default() -> Self {
        Self {
            first_token: Duration::from_secs(10),
            whole: Duration::from_secs(60),
            share: 0.8,
            in_a_row: 10,
        }
    }
}

impl Default for ProbePolicy {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), timeout: Duration::from_secs(5) }
    }
}

impl Default for ProviderPolicy {
    fn default() -> Self {
        Self {
            timeouts: Some(Timeouts::default()),
            breaker: Some(BreakerPolicy::default()),
            max_concurrent: Some(20),
            adaptive: None,
            limits: Some(LimitPolicy::default()),
            budget: Some(BudgetPolicy::default()),
            probe: Some(ProbePolicy::default()),
            max_wait: Duration::from_secs(2),
        }
    }
}
