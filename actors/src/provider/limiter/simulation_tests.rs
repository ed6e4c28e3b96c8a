//! Proves PC19 on stand-ins for providers: how many calls they refuse, and how much of the limit is used. A
//! backlog of calls of 200 to 8000 tokens never ends; what they take is known only when they are answered.

use std::collections::VecDeque;

use super::{super::agenda_tests::Agenda, *};

const SEEDS: u64 = 4;
const SECOND: Duration = Duration::from_secs(1);
const REFUSAL_AFTER: Duration = Duration::from_millis(100);
const HEADERS_AFTER: Duration = Duration::from_millis(600);
const REQUESTS: f64 = 60.0;
const TOKENS: f64 = 60_000.0;

/// How a provider counts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Counting {
    /// Refilled continuously, a minute's worth at most.
    Bucket,
    /// The same with a sixth of it: sixty a minute are ten in ten seconds.
    SmallBucket,
    /// No 60 seconds may hold more.
    AnyMinute,
    /// No minute of the clock may hold more.
    ClockMinute,
}

struct Fake {
    counting: Counting,
    /// Requests and tokens a minute.
    limits: [f64; 2],
    owed: [f64; 2],
    taken: VecDeque<(Duration, [f64; 2])>,
    drained: Duration,
}

impl Fake {
    fn new(counting: Counting) -> Self {
        let (limits, drained) = ([REQUESTS, TOKENS], Duration::ZERO);
        Self { counting, limits, owed: [0.0; 2], taken: VecDeque::new(), drained }
    }

    fn capacity(&self, i: usize) -> f64 {
        if self.counting == Counting::SmallBucket { self.limits[i] / 6.0 } else { self.limits[i] }
    }

    fn forward(&mut self, now: Duration) {
        match self.counting {
            Counting::Bucket | Counting::SmallBucket => {
                let minutes = (now - self.drained).as_secs_f64() / 60.0;
                for (owed, limit) in self.owed.iter_mut().zip(self.limits) {
                    *owed = (*owed - limit * minutes).max(0.0);
                }
            }
            Counting::ClockMinute if now.as_secs() / 60 != self.drained.as_secs() / 60 => {
                self.owed = [0.0; 2]
            }
            Counting::ClockMinute => {}
            Counting::AnyMinute => {
                while let Some((at, amounts)) = self.taken.front().copied()
                    && at + MINUTE <= now
                {
                    self.taken.pop_front();
                    (0..2).for_each(|i| self.owed[i] -= amounts[i]);
                }
            }
        }
        self.drained = now;
    }

    fn accepts(&mut self, tokens: u64, now: Duration) -> bool {
        self.forward(now);
        let call = [1.0, tokens as f64];
        let fits = |i: usize| self.owed[i] + call[i] <= self.capacity(i) || self.owed[i] <= 0.0;
        let accepts = fits(0) && fits(1);
        if accepts {
            (0..2).for_each(|i| self.owed[i] += call[i]);
            self.taken.push_back((now, call));
        }
        accepts
    }

    fn headers(&self) -> Allowances {
        let allowance = |i: usize| Allowance {
            limit: Some(self.limits[i] as u64),
            remaining: Some((self.capacity(i) - self.owed[i]).max(0.0) as u64),
            reset: None,
        };
        Allowances { requests: allowance(0), tokens: allowance(1), ..Allowances::default() }
    }
}

/// A call: what is known of it before, and what it takes.
#[derive(Clone, Copy, Debug)]
struct Call {
    demand: Demand,
    usage: Usage,
}

impl Call {
    fn draw(longest: f64, chance: &mut fastrand::Rng) -> Self {
        let tokens = 200.0 * (longest / 200.0).powf(chance.f64());
        let usage = Usage { input_tokens: (tokens * 0.7) as u64, output_tokens: (tokens * 0.3) as u64 };
        let bytes = usage.input_tokens as f64 * (3.0 + 2.0 * chance.f64());
        let max_tokens = (usage.output_tokens as f64 * (1.0 + 2.0 * chance.f64())) as u64;
        let demand = Demand::estimate(bytes as usize, chance.bool().then_some(max_tokens));
        Self { demand, usage }
    }

    fn tokens(&self) -> u64 {
        self.usage.input_tokens + self.usage.output_tokens
    }
}

enum Event {
    /// Somebody has waited long enough.
    Waited,
    Headers(Reservation, Call, Allowances),
    Answered(Reservation, Call),
    Refused(Reservation, Call, Option<Allowances>),
    Halved,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    counting: Counting,
    policy: LimitPolicy,
    headers: bool,
    retry_after: Option<Duration>,
    concurrent: usize,
    longest: f64,
    halved: Option<Duration>,
    minutes: u32,
}

const CONFIGURED: LimitPolicy = LimitPolicy {
    requests: Some((REQUESTS as u32, MINUTE)),
    tokens: Some(TOKENS as u64),
    input_tokens: None,
    output_tokens: None,
};

impl Setting {
    fn new(counting: Counting) -> Self {
        Self {
            counting,
            policy: CONFIGURED,
            headers: false,
            retry_after: None,
            concurrent: 100,
            longest: 8_000.0,
            halved: None,
            minutes: 30,
        }
    }
}

#[derive(Default)]
struct Outcome {
    answered: Vec<(Duration, u64)>,
    refused: Vec<Duration>,
}

impl Outcome {
    fn refusals(&self) -> f64 {
        self.refused.len() as f64 / (self.refused.len() + self.answered.len()) as f64
    }

    /// The use of the dimension that is used most.
    fn used(&self, setting: Setting) -> f64 {
        let tokens = self.answered.iter().map(|(_, tokens)| *tokens as f64).sum::<f64>();
        (tokens / TOKENS).max(self.answered.len() as f64 / REQUESTS) / f64::from(setting.minutes)
    }

    fn refused_in(&self, minute: u32) -> usize {
        self.refused.iter().filter(|at| (minute * MINUTE..(minute + 1) * MINUTE).contains(at)).count()
    }

    /// The most that any 60 seconds held.
    fn most_in_a_minute(&self) -> (usize, u64) {
        let ends = self.answered.iter().map(|(end, _)| {
            let within = self.answered.iter().filter(|(at, _)| at <= end && *at + MINUTE > *end);
            (within.clone().count(), within.map(|(_, tokens)| tokens).sum())
        });
        ends.fold((0, 0), |most, (calls, tokens)| (most.0.max(calls), most.1.max(tokens)))
    }
}

struct Simulation {
    setting: Setting,
    agenda: Agenda<Event>,
    limiter: Limiter,
    fake: Fake,
    chance: fastrand::Rng,
    /// Refused ones; behind them the backlog has no end.
    again: VecDeque<Call>,
    next: Call,
    waits_until: Option<Instant>,
    in_flight: usize,
    outcome: Outcome,
}

impl Simulation {
    fn run(setting: Setting, seed: u64) -> Outcome {
        let agenda = Agenda::new();
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut it = Self {
            limiter: Limiter::new(setting.policy, agenda.now()),
            fake: Fake::new(setting.counting),
            next: Call::draw(setting.longest, &mut chance),
            agenda,
            setting,
            chance,
            again: VecDeque::new(),
            waits_until: None,
            in_flight: 0,
            outcome: Outcome::default(),
        };
        if let Some(at) = setting.halved {
            it.agenda.enter(at, Event::Halved);
        }
        it.sends();
        while let Some(event) = it.agenda.next(setting.minutes * MINUTE) {
            it.happens(event);
        }
        it.outcome
    }

    fn happens(&mut self, event: Event) {
        let now = self.agenda.now();
        match event {
            Event::Waited if self.waits_until != Some(now) => return,
            Event::Waited => {}
            Event::Halved => self.fake.limits = [REQUESTS / 2.0, TOKENS / 2.0],
            Event::Headers(reservation, call, told) => {
                self.limiter.learn(&reservation, &told, now);
                let rest = Duration::from_secs_f64(1.0 + 8.0 * self.chance.f64());
                self.agenda.enter(rest, Event::Answered(reservation, call));
            }
            Event::Answered(reservation, call) => {
                self.in_flight -= 1;
                self.limiter.settle(reservation, call.usage, now);
            }
            Event::Refused(reservation, call, told) => {
                self.in_flight -= 1;
                self.again.push_back(call);
                self.limiter.refused(reservation, told.as_ref(), self.setting.retry_after, now);
            }
        }
        self.sends();
    }

    /// Sends as many calls as may go, the one that waits longest first.
    fn sends(&mut self) {
        let now = self.agenda.now();
        while self.in_flight < self.setting.concurrent {
            match self.limiter.reserve(self.next.demand, now) {
                Ok(reservation) => self.send(reservation),
                Err(wait) => {
                    self.waits_until = Some(now + wait.time);
                    return self.agenda.enter(wait.time, Event::Waited);
                }
            }
        }
    }

    fn send(&mut self, reservation: Reservation) {
        self.in_flight += 1;
        let (call, passed) = (self.next, self.agenda.passed());
        self.next =
            self.again.pop_front().unwrap_or_else(|| Call::draw(self.setting.longest, &mut self.chance));
        if self.fake.accepts(call.tokens(), passed) {
            self.outcome.answered.push((passed, call.tokens()));
            let told = if self.setting.headers { self.fake.headers() } else { Allowances::default() };
            self.agenda.enter(HEADERS_AFTER, Event::Headers(reservation, call, told));
        } else {
            self.outcome.refused.push(passed);
            let told = self.setting.headers.then(|| self.fake.headers());
            self.agenda.enter(REFUSAL_AFTER, Event::Refused(reservation, call, told));
        }
    }
}

fn every_run(setting: Setting, holds: impl Fn(&Outcome) -> bool) {
    for seed in 0..SEEDS {
        let outcome = Simulation::run(setting, seed);
        let (refused, used) = (100.0 * outcome.refusals(), 100.0 * outcome.used(setting));
        assert!(
            holds(&outcome),
            "{setting:?}, seed {seed}: {refused:.2} % refused, {used:.1} % used, at {:?}",
            outcome.refused
        );
    }
}

/// Nothing is known before the provider speaks; the bulkhead keeps the first burst small.
fn learning(counting: Counting) -> Setting {
    Setting { policy: LimitPolicy::default(), concurrent: 20, ..Setting::new(counting) }
}

#[test]
fn a_known_limit_is_used_up_and_hardly_ever_hit() {
    let known = Setting::new(Counting::Bucket);
    let few_tokens = Setting { longest: 1_500.0, ..known };
    for setting in [known, few_tokens, Setting { headers: true, ..known }] {
        every_run(setting, |it| it.refusals() <= 0.005 && it.used(setting) >= 0.95); // PC19
    }
}

#[test]
fn a_limit_that_only_the_provider_tells_is_used_as_well() {
    let told = Setting { headers: true, ..learning(Counting::Bucket) };
    for setting in [told, Setting { longest: 1_500.0, ..told }] {
        every_run(setting, |it| it.refusals() <= 0.005 && it.used(setting) >= 0.95); // PC19
    }
}

#[test]
fn counting_requests_alone_would_be_refused_again_and_again() {
    let policy = LimitPolicy { tokens: None, ..CONFIGURED };
    every_run(Setting { policy, ..Setting::new(Counting::Bucket) }, |it| it.refusals() > 0.02);
}

#[test]
fn no_minute_holds_more_than_the_limit_its_burst_and_one_request() {
    let setting = Setting::new(Counting::Bucket);
    every_run(setting, |it| {
        let (calls, tokens) = it.most_in_a_minute();
        calls <= REQUESTS as usize && tokens as f64 <= TOKENS * 7.0 / 6.0 + setting.longest // PC19
    });
}

#[test]
fn a_limit_that_is_halved_without_a_word_is_found_after_a_few_refusals() {
    for counting in [Counting::Bucket, Counting::AnyMinute, Counting::ClockMinute] {
        let halved = Setting { halved: Some(10 * MINUTE), ..Setting::new(counting) };
        for setting in [halved, Setting { retry_after: Some(2 * SECOND), ..halved }] {
            every_run(setting, |it| {
                let mut minutes = (10..setting.minutes).map(|minute| it.refused_in(minute));
                minutes.all(|refused| refused <= 4) // PC19: the one that tells it and three further
            });
        }
    }
}

#[test]
fn without_settings_and_headers_the_limit_is_found_by_refusals() {
    let setting = Setting { minutes: 60, ..learning(Counting::Bucket) };
    for setting in [setting, Setting { retry_after: Some(2 * SECOND), ..setting }] {
        every_run(setting, |it| it.refusals() <= 0.02 && it.used(setting) >= 0.85);
    }
}

#[test]
fn a_provider_that_counts_in_another_way_costs_use_and_no_storm_of_refusals() {
    for counting in [Counting::SmallBucket, Counting::AnyMinute, Counting::ClockMinute] {
        let known = Setting::new(counting);
        for setting in [known, Setting { headers: true, ..known }] {
            every_run(setting, |it| it.refusals() <= 0.025 && it.used(setting) >= 0.65);
        }
    }
}
