//! When to stop asking a provider, and when to try again: the circuit breaker, as a pure rule.
//!
//! Closed, it counts failures in a row, and failures and slow calls within a window; open, it waits; half-open,
//! it lets one call through at a time, then a growing share of them, and opens again for longer if they fail;
//! isolated, it waits for its time or for an operator. Each transition begins a new generation, and an outcome of
//! an older one never moves the state: with calls of a minute and open times of seconds, late outcomes are the
//! normal case. There is no clock, no timer and no counting of callers here. Sources: M. Nygard, "Release It!",
//! 2007; the ramp follows the slow start of Envoy.

use std::time::{Duration, Instant};

use super::{
    policy::BreakerPolicy,
    window::{Outcomes, Tally},
};
use crate::error::Verdict;

/// The shares of all calls that pass on the way from half-open to closed, in per cent.
const RAMP: [u8; 4] = [5, 10, 25, 50];
/// A share is followed by the next one after its time and so many outcomes, or after so many times its time.
const ENOUGH: u32 = 10;
const LONGEST: u32 = 15;
/// One failure may be chance where many calls pass; so many, with half of the calls, are not.
const FAILING_STEP: (u32, f64) = (2, 0.5);
/// The longest wait that a provider can ask an open circuit for.
const LONGEST_HINT: Duration = Duration::from_secs(5 * 60);

/// Where the circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused until then.
    Open {
        /// When a call may try it.
        until: Instant,
    },
    /// Some calls pass.
    HalfOpen(Trial),
    /// Calls are refused: the provider was taken out.
    Isolated {
        /// When a call may try it; nothing: when an operator closes it.
        until: Option<Instant>,
    },
}

/// Which calls pass a half-open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// One at a time.
    One,
    /// So many of a hundred.
    Share(u8),
}

impl State {
    /// The names of all states, for metrics.
    pub const NAMES: [&'static str; 4] = ["closed", "open", "half_open", "isolated"];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen(_) => "half_open",
            Self::Isolated { .. } => "isolated",
        }
    }

    /// Until when nothing passes, if that is known.
    pub const fn shut_until(self) -> Option<Instant> {
        match self {
            Self::Open { until } => Some(until),
            Self::Isolated { until } => until,
            _ => None,
        }
    }
}

/// What a circuit hears of a call that ended.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The circuit's generation when the call was admitted.
    pub generation: u64,
    /// What its end says.
    pub verdict: Verdict,
    /// Was it told to be slow before?
    pub slow: bool,
    /// How long the provider asks to be left alone.
    pub hint: Option<Duration>,
}

/// One circuit; plain data, so that one life of its actor can leave it to the next.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    since: Option<Instant>,
    generation: u64,
    /// Failures in a row, and slow calls in a row.
    rows: (u32, u32),
    outcomes: Outcomes,
    /// Outcomes of the present step of a half-open circuit.
    trial: Tally,
    /// Of the next open time.
    step: u32,
    open_time: Duration,
    closed_at: Option<Instant>,
    /// When it was closed last, unless it is.
    broken_at: Option<Instant>,
}

impl Breaker {
    /// A closed circuit.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            state: State::Closed,
            since: None,
            generation: 1,
            rows: (0, 0),
            outcomes: Outcomes::new(policy.window),
            trial: Tally::default(),
            step: 0,
            open_time: policy.open.min,
            closed_at: None,
            broken_at: None,
        }
    }

    /// A closed circuit in place of this one: what was admitted by this one no longer counts. What was taken out
    /// stays out.
    #[must_use]
    pub fn afresh(&self) -> Self {
        let state = match self.state {
            State::Isolated { .. } => self.state,
            _ => State::Closed,
        };
        Self { state, since: self.since, generation: self.generation + 1, ..Self::new(self.policy) }
    }

    /// A closed circuit in place of this one, which knew another account. Only what was taken out without an end
    /// stays out: somebody wants it so.
    #[must_use]
    pub fn renewed(&self) -> Self {
        match self.state {
            State::Isolated { until: None } => self.afresh(),
            _ => Self { generation: self.generation + 1, ..Self::new(self.policy) },
        }
    }

    /// Goes on under another policy. What was counted under the old window is forgotten with it.
    pub fn adapt(&mut self, policy: BreakerPolicy) {
        if policy.window != self.policy.window {
            self.outcomes = Outcomes::new(policy.window);
        }
        self.policy = policy;
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When it came there; nothing if it has always been there.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The present generation: permits carry it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.rows.0
    }

    /// Slow calls in a row.
    pub fn slow(&self) -> u32 {
        self.rows.1
    }

    /// Takes in the end of a call; true if what may pass has changed. `chance` is uniform in `[0, 1)`.
    pub fn record(&mut self, heard: Heard, now: Instant, chance: f64) -> bool {
        if heard.generation != self.generation || self.is_shut() {
            return false;
        }
        match (heard.verdict, self.state) {
            (Verdict::Neutral, State::HalfOpen(Trial::One)) => self.offer_probe(),
            (Verdict::Neutral, _) => false,
            (Verdict::Healthy, _) => self.answered(heard.slow, now),
            (Verdict::Failing, _) => {
                self.rows.0 += 1;
                self.bad(Tally::FAILED, heard.hint, now, chance)
            }
        }
    }

    /// Takes in that a call has been waiting for too long; its end is still to come (PC8).
    pub fn record_slow(&mut self, generation: u64, now: Instant, chance: f64) -> bool {
        if generation != self.generation || self.is_shut() {
            return false;
        }
        self.rows.1 += 1;
        self.bad(Tally::SLOW, None, now, chance)
    }

    fn is_shut(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::Isolated { .. })
    }

    fn answered(&mut self, slow: bool, now: Instant) -> bool {
        self.rows.0 = 0;
        if slow {
            // It has been counted.
            return false;
        }
        self.rows.1 = 0;
        self.count(Tally::ANSWERED, now);
        match self.state {
            State::HalfOpen(trial) => self.tried(trial, now),
            _ => false,
        }
    }

    fn bad(&mut self, outcome: Tally, hint: Option<Duration>, now: Instant, chance: f64) -> bool {
        self.count(outcome, now);
        let trips = match self.state {
            State::Closed => self.trips(now),
            State::HalfOpen(Trial::One) => true,
            State::HalfOpen(Trial::Share(_)) => {
                let bad = self.trial.failed + self.trial.slow;
                bad >= FAILING_STEP.0 && self.trial.reaches(bad, FAILING_STEP.1)
            }
            State::Open { .. } | State::Isolated { .. } => false,
        };
        trips && self.open(hint, now, chance)
    }

    fn count(&mut self, outcome: Tally, now: Instant) {
        match self.state {
            State::Closed => self.outcomes.count(outcome, now),
            State::HalfOpen(_) => self.trial.add(outcome),
            State::Open { .. } | State::Isolated { .. } => {}
        }
    }

    fn trips(&mut self, now: Instant) -> bool {
        let (policy, tally) = (self.policy, self.outcomes.tally(now));
        let enough = tally.calls >= policy.min_calls;
        let failing = policy.failing_share.is_some_and(|share| enough && tally.reaches(tally.failed, share));
        let slow = policy.slow.is_some_and(|slow| {
            self.rows.1 >= slow.in_a_row || enough && tally.reaches(tally.slow, slow.share)
        });
        self.rows.0 >= policy.failures || failing || slow
    }

    /// A call went well while the circuit is half-open.
    fn tried(&mut self, trial: Trial, now: Instant) -> bool {
        match trial {
            Trial::One if self.trial.calls < self.policy.probes => self.offer_probe(),
            Trial::One if self.policy.ramp.is_zero() => self.shut(now),
            Trial::One => self.enter(State::HalfOpen(Trial::Share(RAMP[0])), now),
            Trial::Share(share) => {
                let enough = self.trial.calls >= ENOUGH && self.lasted(self.policy.ramp, now);
                enough && self.step_up(share, now)
            }
        }
    }

    fn step_up(&mut self, share: u8, now: Instant) -> bool {
        match RAMP.into_iter().find(|next| *next > share) {
            Some(next) => self.enter(State::HalfOpen(Trial::Share(next)), now),
            None => self.shut(now),
        }
    }

    fn lasted(&self, time: Duration, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }

    /// When [`wake`](Self::wake) has something to do, if ever.
    pub fn wakes_at(&self) -> Option<Instant> {
        match self.state {
            State::HalfOpen(Trial::Share(_)) => self.since.map(|since| since + self.policy.ramp * LONGEST),
            state => state.shut_until(),
        }
    }

    /// Goes on when the time for it has come; true if what may pass has changed.
    pub fn wake(&mut self, now: Instant) -> bool {
        match self.state {
            State::HalfOpen(Trial::Share(share)) if self.lasted(self.policy.ramp * LONGEST, now) => {
                self.step_up(share, now)
            }
            state if state.shut_until().is_some_and(|until| now >= until) => {
                self.enter(State::HalfOpen(Trial::One), now)
            }
            _ => false,
        }
    }

    /// Offers another probe in place of one that was never heard of again.
    pub fn renew_probe(&mut self) -> bool {
        self.state == State::HalfOpen(Trial::One) && self.offer_probe()
    }

    fn offer_probe(&mut self) -> bool {
        self.generation += 1;
        true
    }

    /// Is an open time over? Then [`wake`](Self::wake) lets a call try the provider.
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Open { until } if now >= until)
    }

    /// Takes in a probe that failed: one more failure while closed, one more wait while open. A half-open circuit is
    /// left to the calls that try it, and a probe that went well is no reason to change anything (PC21).
    pub fn probe_failed(&mut self, generation: u64, now: Instant, chance: f64) -> bool {
        let heard = Heard { generation, verdict: Verdict::Failing, slow: false, hint: None };
        match self.state {
            State::Closed => self.record(heard, now, chance),
            State::Open { .. } => generation == self.generation && self.stay_open(now, chance),
            State::HalfOpen(_) | State::Isolated { .. } => false,
        }
    }

    /// Keeps an open circuit open: what was asked before any call still fails.
    pub fn stay_open(&mut self, now: Instant, chance: f64) -> bool {
        matches!(self.state, State::Open { .. } | State::HalfOpen(Trial::One)) && self.open(None, now, chance)
    }

    /// Takes the provider out, until then or until it is closed by hand. A shorter time never shortens a longer
    /// one.
    pub fn isolate(&mut self, until: Option<Instant>, now: Instant) -> bool {
        let longer = match (self.state, until) {
            (State::Isolated { until: None }, _) => false,
            (State::Isolated { until: Some(old) }, Some(new)) => new > old,
            _ => true,
        };
        longer && self.enter(State::Isolated { until }, now)
    }

    /// Closes it by hand, whatever it was.
    pub fn close(&mut self, now: Instant) -> bool {
        self.state != State::Closed && self.shut(now)
    }

    /// Takes back what was counted since then, because it was not the provider's fault. What was broken before
    /// stays so.
    pub fn pardon(&mut self, since: Instant, now: Instant) -> bool {
        match self.state {
            State::Closed => {
                self.rows = (0, 0);
                self.outcomes.clear();
                false
            }
            State::Open { .. } if self.broken_at.is_some_and(|at| at >= since) => {
                self.step = self.step.saturating_sub(1);
                self.shut(now)
            }
            _ => false,
        }
    }

    fn shut(&mut self, now: Instant) -> bool {
        self.closed_at = Some(now);
        self.rows = (0, 0);
        self.outcomes.clear();
        self.enter(State::Closed, now)
    }

    fn open(&mut self, hint: Option<Duration>, now: Instant, chance: f64) -> bool {
        self.forget_while_healthy(now);
        self.open_time = self.policy.open.delay(self.step, chance);
        self.step = self.policy.open.longer(self.step);
        let wait = self.open_time.max(hint.unwrap_or_default().min(LONGEST_HINT));
        self.enter(State::Open { until: now + wait }, now)
    }

    /// The open time shrinks again by one step for each open time that was spent closed.
    fn forget_while_healthy(&mut self, now: Instant) {
        let Some(since) = self.closed_at.take() else { return };
        let healthy = now.saturating_duration_since(since).as_millis();
        let steps = healthy / self.open_time.as_millis().max(1);
        self.step = self.step.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
    }

    fn enter(&mut self, state: State, now: Instant) -> bool {
        if self.state != state {
            self.since = Some(now);
        }
        self.broken_at = if state == State::Closed { None } else { self.broken_at.or(Some(now)) };
        self.state = state;
        self.trial = Tally::default();
        self.generation += 1;
        true
    }
}

#[cfg(test)]
#[path = "breaker_tests/mod.rs"]
mod tests;
