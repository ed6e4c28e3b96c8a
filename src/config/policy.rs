//! The settings that protect providers and chains, with their ranges and defaults.
//!
//! What they mean is documented where they are used. A part that is `false` is left out.

use std::time::Duration;

use mainstay_actors::{
    backoff::Backoff,
    chain::policy::ChainPolicy,
    provider::{
        adaptive::AdaptivePolicy,
        budget::BudgetPolicy,
        limiter::LimitPolicy,
        policy::{BreakerPolicy, ProbePolicy, ProviderPolicy, SlowPolicy, Timeouts},
        window::Window,
    },
};

use super::section::{Section, Source};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn provider(section: &mut Section<'_>, source: &mut Source<'_>) -> ProviderPolicy {
    let default = ProviderPolicy::default();
    ProviderPolicy {
        timeouts: (!section.is_off("timeouts")).then(|| timeouts(section, source)),
        breaker: (!section.is_off("breaker")).then(|| breaker(section, source)),
        max_concurrent: (!section.is_off("max_concurrent"))
            .then(|| section.number("max_concurrent", 1..=100_000, 20, source) as usize),
        adaptive: section.has("adaptive").then(|| adaptive(section, source)).flatten(),
        limits: (!section.is_off("limits")).then(|| limits(section, source)),
        budget: (!section.is_off("budget"))
            .then(|| budget(section.section("budget", source), BudgetPolicy::default(), source)),
        probe: (!section.is_off("probe")).then(|| probe(section, source)),
        max_wait: section.duration("max_wait", Duration::ZERO..=HOUR, default.max_wait, source),
    }
}

fn adaptive(section: &mut Section<'_>, source: &mut Source<'_>) -> Option<AdaptivePolicy> {
    if section.is_off("adaptive") {
        return None;
    }
    let (default, at) = (AdaptivePolicy::default(), section.place_of("adaptive"));
    let mut section = section.section("adaptive", source)?;
    let mut number = |key, default: usize| section.number(key, 1..=100_000, default as u64, source) as usize;
    let (min, max) = (number("min", default.min), number("max", default.max));
    let policy = AdaptivePolicy { min, max, start: number("start", default.start.clamp(min, max.max(min))) };
    section.finish(source);
    if let Err(problem) = policy.check() {
        source.wrong(at, problem);
    }
    Some(policy)
}

fn limits(section: &mut Section<'_>, source: &mut Source<'_>) -> LimitPolicy {
    let default = LimitPolicy::default();
    let Some(mut section) = section.section("limits", source) else { return default };
    let per = section.duration("per", MS..=24 * HOUR, HOUR / 60, source);
    // None of them is there unless it is set.
    let mut limit = |key, most| {
        let set = !section.is_off(key) && section.has(key);
        set.then(|| section.number(key, 1..=most, 1, source))
    };
    let calls = limit("calls", u32::MAX.into());
    let mut tokens = |key| limit(key, 1_000_000_000_000);
    let policy = LimitPolicy {
        requests: calls.map(|calls| (calls as u32, per)),
        input_tokens: tokens("input_tokens"),
        output_tokens: tokens("output_tokens"),
        tokens: tokens("tokens"),
    };
    section.finish(source);
    policy
}

/// What all providers together may be asked again.
pub(super) fn retry_budget(file: &mut Section<'_>, source: &mut Source<'_>) -> Option<BudgetPolicy> {
    (!file.is_off("retry_budget"))
        .then(|| budget(file.section("retry_budget", source), BudgetPolicy::OVERALL, source))
}

fn budget(section: Option<Section<'_>>, default: BudgetPolicy, source: &mut Source<'_>) -> BudgetPolicy {
    let Some(mut section) = section else { return default };
    let policy = BudgetPolicy {
        share: section.share_or_none("share", default.share, source),
        floor: section.share_or_none("floor", default.floor, source),
        burst: section.number("burst", 0..=1000, default.burst.into(), source) as u32,
    };
    section.finish(source);
    policy
}

fn probe(section: &mut Section<'_>, source: &mut Source<'_>) -> ProbePolicy {
    let default = ProbePolicy::default();
    let Some(mut section) = section.section("probe", source) else { return default };
    let every = section.duration("every", 1000 * MS..=HOUR, default.every, source);
    let timeout = section.duration("timeout", MS..=every, default.timeout.min(every), source);
    section.finish(source);
    ProbePolicy { every, timeout }
}

pub(super) fn chain(section: &mut Section<'_>, source: &mut Source<'_>) -> ChainPolicy {
    let default = ChainPolicy::default();
    ChainPolicy {
        retries: section.number("retries", 0..=10, default.retries.into(), source) as u32,
        backoff: span(section, ["backoff_min", "backoff_max"], MS..=HOUR, default.backoff, source),
        max_attempts: section.number("max_attempts", 1..=100, default.max_attempts.into(), source) as u32,
    }
}

fn timeouts(section: &mut Section<'_>, source: &mut Source<'_>) -> Timeouts {
    let default = Timeouts::default();
    let Some(mut section) = section.section("timeouts", source) else { return default };
    let total = section.duration("total", MS..=HOUR, default.total, source);
    // A shorter total shortens what was not said.
    let default = Timeouts::within(total);
    let mut within = |key, default| section.duration(key, MS..=total, default, source);
    let timeouts = Timeouts {
        connect: within("connect", default.connect),
        first_token: within("first_token", default.first_token),
        idle: within("idle", default.idle),
        total,
    };
    section.finish(source);
    timeouts
}

fn breaker(section: &mut Section<'_>, source: &mut Source<'_>) -> BreakerPolicy {
    let default = BreakerPolicy::default();
    let Some(mut section) = section.section("breaker", source) else { return default };
    let mut number = |key, most, default: u32| section.number(key, 1..=most, default.into(), source) as u32;
    let failures = number("failures", 1000, default.failures);
    let min_calls = number("min_calls", 10_000, default.min_calls);
    let probes = number("probes", 100, default.probes);
    let failing_share = default.failing_share.filter(|_| !section.is_off("failing_share"));
    let policy = BreakerPolicy {
        failures,
        min_calls,
        probes,
        window: window(&mut section, default.window, source),
        failing_share: failing_share.map(|share| section.share("failing_share", share, source)),
        ramp: section.duration("ramp", Duration::ZERO..=HOUR, default.ramp, source),
        slow: (!section.is_off("slow")).then(|| slow(&mut section, source)),
        open: span(&mut section, ["open_min", "open_max"], 10 * MS..=24 * HOUR, default.open, source),
    };
    section.finish(source);
    policy
}

/// So much time, or so many calls.
fn window(section: &mut Section<'_>, default: Window, source: &mut Source<'_>) -> Window {
    match (default, section.is_number("window")) {
        (Window::Time(time), false) => {
            Window::Time(section.duration("window", 1000 * MS..=HOUR, time, source))
        }
        _ => Window::Calls(section.number("window", 1..=10_000, 100, source) as u32),
    }
}

fn slow(section: &mut Section<'_>, source: &mut Source<'_>) -> SlowPolicy {
    let default = SlowPolicy::default();
    let Some(mut section) = section.section("slow", source) else { return default };
    let policy = SlowPolicy {
        first_token: section.duration("first_token", MS..=HOUR, default.first_token, source),
        whole: section.duration("whole", MS..=HOUR, default.whole, source),
        share: section.share("share", default.share, source),
        in_a_row: section.number("in_a_row", 1..=1000, default.in_a_row.into(), source) as u32,
    };
    section.finish(source);
    policy
}

/// The shortest and the longest delay of a backoff; a setting that was not given follows the other one.
fn span(
    section: &mut Section<'_>,
    [min, max]: [&'static str; 2],
    range: std::ops::RangeInclusive<Duration>,
    default: Backoff,
    source: &mut Source<'_>,
) -> Backoff {
    let at = section.place_of(min);
    let both = section.has(min) && section.has(max);
    let mut backoff = Backoff {
        min: section.duration(min, range.clone(), default.min, source),
        max: section.duration(max, range, default.max, source),
        ..default
    };
    if both && backoff.min > backoff.max {
        source.wrong(at, format!("`{min}` must not be longer than `{max}`"));
    }
    backoff.max = if both || backoff.min == default.min { backoff.max } else { backoff.max.max(backoff.min) };
    backoff.min = backoff.min.min(backoff.max);
    backoff
}
