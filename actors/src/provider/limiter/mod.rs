//! How fast a provider may be asked: its rate limits, kept before they are hit.
//!
//! A call reserves a request and its estimated tokens in all dimensions together or in none, and is put right
//! when its real usage is known. Limits come from the operator, from the provider's headers, and, where neither
//! says anything, from refusals (AIMD). Nobody waits here: whoever does not pass is told for how long.

mod dimension;
mod policy;

use std::time::{Duration, Instant};

use serde::Serialize;

use self::dimension::{Dimension, MOST, Told};
pub use self::policy::{Demand, LimitPolicy};
use super::sliding::{Nanos, Timeline, nanos};
use crate::{
    backoff::{Backoff, Jitter},
    call::{Allowance, Allowances, Usage},
};

const MINUTE: Duration = Duration::from_secs(60);
/// A provider cannot keep us away for longer than this; what asks for more is no matter of speed.
const LONGEST_BLOCK: Duration = Duration::from_secs(5 * 60);
/// A refusal that nothing explains cuts the limits to this share of themselves...
const CUT: f64 = 0.7;
/// ...and one that says which limit was hit cuts that: the provider may count it otherwise than we do.
const EXPLAINED_CUT: f64 = 0.95;
/// How long nobody asks after refusals that do not say it.
const BACKOFF: Backoff =
    Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60), jitter: Jitter::Spread(0.0) };

/// One of each dimension.
type Amounts = [u64; Limiter::DIMENSIONS];
type Chosen = [bool; Limiter::DIMENSIONS];

/// Why a call must wait, and for how long; nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Until then nothing is known to be in the way.
    pub time: Duration,
    /// `calls`, `requests`, `input_tokens`, `output_tokens`, `tokens`, or `blocked` by the provider.
    pub dimension: &'static str,
}

/// One dimension as people and metrics see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LimitUse {
    /// Its name, as in [`Wait`].
    pub dimension: &'static str,
    /// The limit that holds now, for a period; nothing, if none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What was used of it in the last period.
    pub used: u64,
}

/// What a call has taken for itself. One that is dropped stands as it was estimated.
#[derive(Debug)]
#[must_use = "settle, cancel or refuse it, or its estimate stands"]
pub struct Reservation {
    at: Nanos,
    demand: Amounts,
    charged: Amounts,
    /// What was owed before it.
    owed: [f64; Limiter::DIMENSIONS],
}

/// The limits of one provider and what is used of them; plain data, so that one life of its actor can leave it
/// to the next.
#[derive(Clone, Debug)]
pub struct Limiter {
    dimensions: [Dimension; Self::DIMENSIONS],
    timeline: Timeline,
    blocked_until: Nanos,
    last_refusal: Nanos,
    /// In a row, as far as they count.
    refusals: u32,
}

impl Limiter {
    const DIMENSIONS: usize = 5;
    /// The first dimension is the operator's alone; the provider's limits come after it.
    const PROVIDERS: usize = 1;

    /// Nothing used yet.
    pub fn new(policy: LimitPolicy, now: Instant) -> Self {
        let spread = |name| Dimension::spread(name, MINUTE);
        let dimensions = [
            Dimension::at_once("calls", MINUTE),
            spread("requests"),
            spread("input_tokens"),
            spread("output_tokens"),
            spread("tokens"),
        ];
        let mut limiter =
            Self { dimensions, timeline: Timeline::new(now), blocked_until: 0, last_refusal: 0, refusals: 0 };
        limiter.configure(policy);
        limiter
    }

    /// Puts other limits in force; what was used and learnt stays.
    pub fn configure(&mut self, policy: LimitPolicy) {
        let LimitPolicy { requests, input_tokens, output_tokens, tokens } = policy;
        let [calls, _, input, output, total] = &mut self.dimensions;
        calls.configure(requests.map(|(calls, _)| calls.into()));
        calls.set_period(requests.map_or(MINUTE, |(_, period)| period));
        input.configure(input_tokens);
        output.configure(output_tokens);
        total.configure(tokens);
    }

    /// Takes what a call needs in all dimensions, or nothing at all.
    pub fn reserve(&mut self, demand: Demand, now: Instant) -> Result<Reservation, Wait> {
        let now = self.timeline.at(now);
        let demand = amounts(1, demand.input_tokens, demand.output_tokens);
        let mut longest = (self.blocked_until.saturating_sub(now), "blocked");
        for (dimension, demand) in self.dimensions.iter_mut().zip(demand) {
            let wait = dimension.wait(demand, now);
            if wait > longest.0 {
                longest = (wait, dimension.name);
            }
        }
        match longest {
            (0, _) => Ok(self.take(demand, now)),
            (wait, dimension) => Err(Wait { time: Duration::from_nanos(wait), dimension }),
        }
    }

    fn take(&mut self, demand: Amounts, now: Nanos) -> Reservation {
        let owed = self.dimensions.each_ref().map(Dimension::owed);
        let mut charged = demand;
        for (dimension, amount) in self.dimensions.iter_mut().zip(&mut charged) {
            *amount = dimension.take(*amount, now);
        }
        Reservation { at: now, demand, charged, owed }
    }

    /// Puts an answered call's estimate right.
    pub fn settle(&mut self, reservation: Reservation, usage: Usage, now: Instant) {
        let actual = amounts(1, usage.input_tokens, usage.output_tokens);
        let now = self.timeline.at(now);
        self.correct(&reservation, actual, now);
        self.accepted(&reservation);
    }

    /// Gives everything back: nothing has reached the provider.
    pub fn cancel(&mut self, reservation: Reservation, now: Instant) {
        let now = self.timeline.at(now);
        self.correct(&reservation, [0; Self::DIMENSIONS], now);
    }

    fn correct(&mut self, reservation: &Reservation, actual: Amounts, now: Nanos) {
        for (i, dimension) in self.dimensions.iter_mut().enumerate() {
            dimension.correct(reservation.charged[i], actual[i], reservation.at, now);
        }
    }

    /// Takes in what the provider said about its limits when it answered this call; what cannot be is ignored.
    pub fn learn(&mut self, reservation: &Reservation, told: &Allowances, now: Instant) {
        let now = self.timeline.at(now);
        self.hear(reservation, told, reservation.charged, now);
        self.accepted(reservation);
    }

    fn accepted(&mut self, call: &Reservation) {
        if call.at >= self.last_refusal {
            self.refusals = 0;
        }
    }

    /// In which dimensions that explains a refusal.
    fn hear(&mut self, call: &Reservation, told: &Allowances, counted: Amounts, now: Nanos) -> Chosen {
        let mut explains = [false; Self::DIMENSIONS];
        for (i, allowance) in by_dimension(told).into_iter().enumerate().skip(Self::PROVIDERS) {
            let told = Told::new(allowance, counted[i]);
            self.dimensions[i].learn(told, call.owed[i], call.at, now);
            explains[i] = told.explains(call.demand[i]);
        }
        explains
    }

    /// The provider refused the call for its speed: it counts as a request without tokens. Where the provider
    /// says which limit was hit, that is cut a little, else all known ones are cut, once for the calls of one
    /// round trip; where it does not say for how long, further refusals double the time in which nobody asks.
    pub fn refused(
        &mut self,
        reservation: Reservation,
        told: Option<&Allowances>,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let now = self.timeline.at(now);
        let retry_after = retry_after.filter(|time| !time.is_zero());
        self.correct(&reservation, amounts(1, 0, 0), now);
        let told = told.copied().unwrap_or_default();
        let explained = self.hear(&reservation, &told, [0; Self::DIMENSIONS], now);
        if reservation.at >= self.last_refusal {
            self.last_refusal = now;
            self.cut(explained, &reservation.demand, now);
            self.block(retry_after.unwrap_or(BACKOFF.delay(self.refusals, 0.0)), now);
            self.refusals = BACKOFF.longer(self.refusals);
        } else {
            self.block(retry_after.unwrap_or_default(), now);
        }
    }

    fn block(&mut self, time: Duration, now: Nanos) {
        self.blocked_until = self.blocked_until.max(now + nanos(time.min(LONGEST_BLOCK)));
    }

    fn cut(&mut self, explained: Chosen, refused: &Amounts, now: Nanos) {
        let is_explained = explained.contains(&true);
        let chosen = if is_explained { explained } else { self.suspects(now) };
        for (i, dimension) in self.dimensions.iter_mut().enumerate().filter(|(i, _)| chosen[*i]) {
            dimension.cut(if is_explained { EXPLAINED_CUT } else { CUT }, now);
            if !is_explained {
                dimension.empty(refused[i], now);
            }
        }
    }

    /// All known limits; where there are none, it must be the requests.
    fn suspects(&self, now: Nanos) -> Chosen {
        let mut known = self.dimensions.each_ref().map(|dimension| dimension.limit(now).is_some());
        known[Self::PROVIDERS] |= !known.contains(&true);
        known
    }

    /// How much of each dimension is used, for people and metrics.
    pub fn usage(&mut self, now: Instant) -> [LimitUse; Self::DIMENSIONS] {
        let now = self.timeline.at(now);
        self.dimensions.each_mut().map(|dimension| LimitUse {
            dimension: dimension.name,
            limit: dimension.limit(now).map(|limit| limit as u64),
            used: dimension.used(now),
        })
    }
}

fn amounts(calls: u64, input: u64, output: u64) -> Amounts {
    let [input, output] = [input, output].map(|tokens| tokens.min(MOST));
    [calls, calls, input, output, input + output]
}

fn by_dimension(told: &Allowances) -> [Allowance; Limiter::DIMENSIONS] {
    [Allowance::default(), told.requests, told.input_tokens, told.output_tokens, told.tokens]
}

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod tests;
