//! Proves the retry budget: what an outage may cost, that ordinary failures get their retry, and that a server
//! recovers from an overload that naive retries would keep alive for ever. Every run repeats itself from its seed.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use super::{super::agenda_tests::Agenda, *};

const SECOND: Duration = Duration::from_secs(1);
const RETRIES: u32 = 2;
const SEEDS: u64 = 5;

/// Who may try again: everybody, or who can pay.
enum Payer {
    Naive,
    Budget(RetryBudget),
}

impl Payer {
    fn budget(now: Instant) -> Self {
        Self::Budget(RetryBudget::new(BudgetPolicy::default(), now))
    }

    fn deposit(&mut self, now: Instant) {
        if let Self::Budget(budget) = self {
            budget.deposit(now);
        }
    }

    fn withdraw(&mut self, now: Instant) -> bool {
        match self {
            Self::Naive => true,
            Self::Budget(budget) => budget.withdraw(now).is_some(),
        }
    }
}

fn exponential(rate: f64, chance: &mut fastrand::Rng) -> Duration {
    Duration::from_secs_f64(-(1.0 - chance.f64()).ln() / rate)
}

/// Full jitter.
fn backoff(retry: u32, chance: &mut fastrand::Rng) -> Duration {
    Duration::from_secs_f64(0.5 * f64::from(1 << retry) * chance.f64())
}

#[derive(Default, Debug)]
struct Tally {
    calls: u64,
    attempts: u64,
    failed_first: u64,
    retried_first: u64,
}

impl Tally {
    fn amplification(&self) -> f64 {
        self.attempts as f64 / self.calls as f64
    }

    fn retried(&self) -> f64 {
        self.retried_first as f64 / self.failed_first as f64
    }
}

/// Calls at this rate, of which this share fails from a time on; every failure is tried again if it may be.
fn failing(rate: f64, share: f64, naive: bool, minutes: u32, seed: u64) -> Tally {
    let mut agenda = Agenda::new();
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut payer = if naive { Payer::Naive } else { Payer::budget(agenda.now()) };
    let mut tally = Tally::default();
    agenda.enter(Duration::ZERO, 0);
    while let Some(attempt) = agenda.next(minutes * WINDOW) {
        tally.attempts += 1;
        if attempt == 0 {
            tally.calls += 1;
            payer.deposit(agenda.now());
            agenda.enter(exponential(rate, &mut chance), 0);
        }
        let fails = chance.f64() < share;
        let retried = fails && attempt < RETRIES && payer.withdraw(agenda.now());
        if retried {
            agenda.enter(backoff(attempt, &mut chance), attempt + 1);
        }
        tally.failed_first += u64::from(fails && attempt == 0);
        tally.retried_first += u64::from(retried && attempt == 0);
    }
    tally
}

#[test]
fn a_total_outage_costs_a_tenth_more_at_every_rate() {
    for (rate, most) in [(1.0, 1.12), (5.0, 1.12), (50.0, 1.1), (500.0, 1.1)] {
        for seed in 0..SEEDS {
            let tally = failing(rate, 1.0, false, 10, seed);
            assert!(tally.amplification() <= most, "{rate} rps: {tally:?}"); // PC15
            assert!(tally.amplification() >= 1.09, "what is allowed is given: {tally:?}");
        }
        assert!(failing(rate, 1.0, true, 10, 0).amplification() > 2.9, "without a budget it is threefold");
    }
}

#[test]
fn ordinary_failures_get_their_retry() {
    for rate in [1.0, 5.0, 50.0] {
        let tallies: Vec<_> = (0..SEEDS).map(|seed| failing(rate, 0.05, false, 60, seed)).collect();
        let retried = tallies.iter().map(Tally::retried).sum::<f64>() / SEEDS as f64;
        assert!(retried >= 0.995, "{rate} rps: {tallies:?}"); // PC15
    }
    let tally = failing(5.0, 0.5, false, 60, 0);
    assert!(tally.retried() < 0.25, "half of all failing is not ordinary: {tally:?}");
}

#[test]
fn a_short_hiccup_of_a_busy_provider_is_retried_whole() {
    let mut agenda = Agenda::<()>::new();
    let mut budget = RetryBudget::new(BudgetPolicy::default(), agenda.now());
    for _ in 0..60 * 50 {
        agenda.enter(SECOND / 50, ());
        agenda.next(1000 * SECOND);
        budget.deposit(agenda.now());
    }
    let granted = (0..1000).take_while(|_| budget.withdraw(agenda.now()).is_some()).count();
    assert!((299..=300).contains(&granted), "{granted}: a tenth of a minute's calls");
}

#[test]
fn what_was_earned_is_forgotten_with_the_window() {
    let agenda = Agenda::<()>::new();
    let mut budget = RetryBudget::new(BudgetPolicy { burst: 0, ..BudgetPolicy::default() }, agenda.now());
    (0..100).for_each(|_| budget.deposit(agenda.now()));
    assert_eq!(budget.left(agenda.now() + WINDOW - SECOND), 10);
    assert_eq!(budget.left(agenda.now() + WINDOW), 0);
}

#[test]
fn a_provider_that_is_hardly_ever_asked_gets_its_retries_from_the_floor() {
    let agenda = Agenda::<()>::new();
    let (start, mut budget) = (agenda.now(), RetryBudget::new(BudgetPolicy::default(), agenda.now()));
    let granted =
        |budget: &mut RetryBudget, at| (0..10).take_while(|_| budget.withdraw(at).is_some()).count();
    assert_eq!(granted(&mut budget, start), 3);
    assert_eq!(granted(&mut budget, start + 9 * SECOND), 0);
    assert_eq!(granted(&mut budget, start + 11 * SECOND), 1);
    assert_eq!(granted(&mut budget, start + 3600 * SECOND), 3);
}

#[test]
fn a_share_of_nothing_and_no_floor_mean_no_retries() {
    let agenda = Agenda::<()>::new();
    let policy = BudgetPolicy { share: 0.0, floor: 0.0, burst: 0 };
    let mut budget = RetryBudget::new(policy, agenda.now());
    (0..1000).for_each(|_| budget.deposit(agenda.now()));
    assert!(budget.withdraw(agenda.now() + SECOND).is_none());
}

#[test]
fn settings_out_of_their_range_are_named() {
    let default = BudgetPolicy::default();
    assert!(default.check().is_ok());
    for share in [-0.1, 1.1, f64::NAN] {
        assert!(BudgetPolicy { share, ..default }.check().is_err(), "{share}");
    }
    assert!(BudgetPolicy { floor: f64::INFINITY, ..default }.check().is_err());
    assert!(BudgetPolicy { burst: 1001, ..default }.check().is_err());
}

proptest! {
    #[test]
    fn no_stretch_of_time_gives_more_than_its_share_and_its_floor(
        share in 0.0..=1.0f64,
        burst in 0u32..5,
        steps in vec((0u64..3_000, 0u32..4, 0u32..4), 1..150),
    ) {
        let agenda = Agenda::<()>::new();
        let policy = BudgetPolicy { share, floor: 0.1, burst };
        let (mut now, mut budget) = (agenda.now(), RetryBudget::new(policy, agenda.now()));
        let (mut firsts, mut extras) = (Vec::new(), Vec::new());
        for (ms, deposits, wanted) in steps {
            now += Duration::from_millis(ms);
            (0..deposits).for_each(|_| { budget.deposit(now); firsts.push(now); });
            for _ in 0..wanted {
                let last = extras.last().is_some_and(|last| *last + 11 * SECOND > now);
                match budget.withdraw(now) {
                    Some(_) => extras.push(now),
                    None => prop_assert!(last || burst == 0 || extras.is_empty(), "the floor is given"),
                }
            }
        }
        for (i, from) in extras.iter().enumerate() {
            let firsts = firsts.iter().filter(|at| **at + WINDOW + SECOND > *from).count() as f64;
            let floor = 0.1 * (now - *from).as_secs_f64() + f64::from(burst);
            let given = (extras.len() - i) as f64;
            prop_assert!(given <= share * firsts + floor + 1e-6, "{given} of {firsts}"); // PC15
        }
    }
}

/// A server that works through its line at 100 calls a second; who has hung up costs it nothing.
#[derive(Default)]
struct Server {
    line: VecDeque<Attempt>,
    busy: bool,
}

#[derive(Clone, Copy)]
struct Attempt {
    call: usize,
    retry: u32,
    deadline: Instant,
}

enum Event {
    Call,
    Retry(Attempt),
    Served(Attempt),
    TimedOut(Attempt),
}

struct Outage {
    agenda: Agenda<Event>,
    chance: fastrand::Rng,
    payer: Payer,
    server: Server,
    /// When each call came, and whether it was answered.
    calls: Vec<(Duration, bool)>,
}

impl Outage {
    const OFFERED: f64 = 85.0;
    const TRIGGER: std::ops::Range<Duration> = Duration::from_secs(60)..Duration::from_secs(70);
    const END: Duration = Duration::from_secs(240);

    fn run(naive: bool, seed: u64) -> Self {
        let agenda = Agenda::new();
        let payer = if naive { Payer::Naive } else { Payer::budget(agenda.now()) };
        let (chance, server) = (fastrand::Rng::with_seed(seed), Server::default());
        let mut it = Self { agenda, chance, payer, server, calls: Vec::new() };
        it.agenda.enter(Duration::ZERO, Event::Call);
        while let Some(event) = it.agenda.next(Self::END) {
            it.happens(event);
        }
        it
    }

    fn happens(&mut self, event: Event) {
        let now = self.agenda.now();
        match event {
            Event::Call => {
                self.payer.deposit(now);
                self.calls.push((self.agenda.passed(), false));
                self.ask(self.calls.len() - 1, 0);
                self.agenda.enter(exponential(Self::OFFERED, &mut self.chance), Event::Call);
            }
            Event::Retry(Attempt { call, retry, .. }) => self.ask(call, retry),
            Event::Served(attempt) => {
                self.calls[attempt.call].1 |= now <= attempt.deadline;
                self.server.busy = false;
                self.serve();
            }
            Event::TimedOut(attempt) => {
                let unanswered = !self.calls[attempt.call].1;
                if unanswered && attempt.retry < RETRIES && self.payer.withdraw(now) {
                    let after = backoff(attempt.retry, &mut self.chance);
                    self.agenda.enter(after, Event::Retry(Attempt { retry: attempt.retry + 1, ..attempt }));
                }
            }
        }
    }

    fn ask(&mut self, call: usize, retry: u32) {
        let attempt = Attempt { call, retry, deadline: self.agenda.now() + SECOND };
        self.agenda.enter(SECOND, Event::TimedOut(attempt));
        self.server.line.push_back(attempt);
        self.serve();
    }

    fn serve(&mut self) {
        let now = self.agenda.now();
        while !self.server.busy
            && let Some(attempt) = self.server.line.pop_front()
        {
            if now < attempt.deadline {
                self.server.busy = true;
                let slow = Self::TRIGGER.contains(&self.agenda.passed());
                let time = Duration::from_millis(if slow { 50 } else { 10 });
                self.agenda.enter(time, Event::Served(attempt));
            }
        }
    }

    /// The share of the calls of this time that were answered.
    fn goodput(&self, from: Duration, to: Duration) -> f64 {
        let mut calls = self.calls.iter().filter(|(at, _)| (from..to).contains(at)).peekable();
        assert!(calls.peek().is_some());
        let (all, answered) = calls.fold((0, 0), |(all, ok), (_, is_ok)| (all + 1, ok + u32::from(*is_ok)));
        f64::from(answered) / f64::from(all)
    }
}

#[test]
fn an_overload_ends_with_its_trigger_and_naive_retries_would_keep_it_alive() {
    let (before, after) = (Outage::TRIGGER.start, Outage::TRIGGER.end + 15 * SECOND);
    let end = Outage::END - 10 * SECOND;
    for seed in 0..SEEDS {
        for naive in [false, true] {
            let outage = Outage::run(naive, seed);
            let healthy = outage.goodput(Duration::ZERO, before);
            assert!(healthy >= 0.99, "seed {seed}: {healthy} before the trigger");
            let recovered = outage.goodput(after, end);
            let holds = if naive { recovered < 0.5 } else { recovered >= 0.99 };
            assert!(holds, "seed {seed}, naive {naive}: {recovered}"); // PC17
        }
    }
}
