//! Proves the adaptive limit: what moves it and what does not, and that it finds what a stand-in for a provider can
//! carry, stays there with few refusals, and follows it.

use proptest::{collection::vec, prelude::*};

use super::{super::agenda_tests::Agenda, *};
use ErrorKind::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: u64 = 5;

/// A limit and the time.
struct Scene {
    limit: AdaptiveLimit,
    now: Instant,
}

impl Scene {
    fn new(start: usize) -> Self {
        let now = Agenda::<()>::new().now();
        let policy = AdaptivePolicy { start, ..AdaptivePolicy::default() };
        policy.check().unwrap();
        Self { limit: AdaptiveLimit::new(policy, now), now }
    }

    /// A call of a second ends with so many in flight.
    fn ended(&mut self, failure: Option<ErrorKind>, in_flight: usize) {
        let started = self.now;
        self.now += SECOND;
        self.limit.record(failure, started, in_flight, self.now);
    }

    fn succeed(&mut self, times: usize) {
        (0..times).for_each(|_| self.ended(None, self.limit.limit()));
    }
}

#[test]
fn it_doubles_with_every_round_trip_until_it_is_hit_for_the_first_time() {
    let mut scene = Scene::new(16);
    for limit in [32, 64, 128, 256, 256] {
        scene.succeed(scene.limit.limit());
        assert_eq!(scene.limit.limit(), limit);
    }
}

#[test]
fn what_says_too_much_cuts_it_and_nothing_else_does() {
    for kind in ErrorKind::ALL {
        let mut scene = Scene::new(100);
        scene.ended(Some(kind), 100);
        let cuts = [RateLimited, Overloaded, ConnectTimeout, FirstTokenTimeout, IdleTimeout, TotalTimeout];
        assert_eq!(scene.limit.limit(), if cuts.contains(&kind) { 70 } else { 100 }, "{kind}");
    }
}

#[test]
fn the_calls_of_one_round_trip_cut_it_once() {
    let mut scene = Scene::new(100);
    let started = scene.now;
    scene.now += SECOND;
    (0..50).for_each(|_| scene.limit.record(Some(Overloaded), started, 100, scene.now));
    assert_eq!(scene.limit.limit(), 70);
    scene.ended(Some(Overloaded), 70);
    assert_eq!(scene.limit.limit(), 49);
}

#[test]
fn well_below_the_limit_that_was_hit_it_grows_fast_and_near_it_slowly() {
    let mut scene = Scene::new(8);
    scene.ended(Some(Overloaded), 8);
    assert_eq!(scene.limit.limit(), 5);
    scene.succeed(11);
    assert_eq!(scene.limit.limit(), 7, "by one for as many successes as it is");
    scene.succeed(80);
    assert_eq!(scene.limit.limit(), 7, "by one for a hundred");
    scene.succeed(30);
    assert_eq!(scene.limit.limit(), 8);
    scene.succeed(200);
    assert!(scene.limit.limit() > 50, "the old limit has proven wrong");
}

#[test]
fn what_is_not_half_used_does_not_grow() {
    let mut scene = Scene::new(100);
    (0..1000).for_each(|_| scene.ended(None, 49));
    assert_eq!(scene.limit.limit(), 100);
    scene.ended(None, 50);
    assert_eq!(scene.limit.limit(), 101);
}

#[test]
fn other_bounds_come_into_force_at_once() {
    let mut scene = Scene::new(100);
    let bounds = |min, max| AdaptivePolicy { min, max, start: min };
    scene.limit.configure(bounds(1, 40));
    assert_eq!(scene.limit.limit(), 40); // GW8
    scene.limit.configure(bounds(60, 80));
    assert_eq!(scene.limit.limit(), 60);
}

#[test]
fn settings_out_of_their_range_are_named() {
    let check = |min, max, start| AdaptivePolicy { min, max, start }.check();
    assert!(check(1, 100_000, 1).is_ok() && AdaptivePolicy::default().check().is_ok());
    for (min, max, start) in [(0, 10, 1), (5, 4, 5), (1, 100_001, 1), (5, 10, 4), (5, 10, 11)] {
        assert!(check(min, max, start).is_err(), "{min} {max} {start}");
    }
}

proptest! {
    #[test]
    fn it_never_leaves_its_bounds(
        (min, max) in (1usize..50, 50usize..200),
        events in vec((0..ErrorKind::ALL.len() * 2, 0usize..300, 0u64..3), 0..500),
    ) {
        let mut scene = Scene::new(16);
        scene.limit.configure(AdaptivePolicy { min, max, start: min });
        for (kind, in_flight, age) in events {
            let started = scene.now;
            scene.now += SECOND;
            let failure = ErrorKind::ALL.get(kind).copied();
            scene.limit.record(failure, started - age.min(1) as u32 * SECOND, in_flight, scene.now);
            prop_assert!((min..=max).contains(&scene.limit.limit()));
        }
    }
}

enum Event {
    Answered { started: Instant },
    Refused { started: Instant },
    Capacity(usize),
}

/// More callers than can be served, and a provider that refuses what is too much.
struct Rush {
    agenda: Agenda<Event>,
    chance: fastrand::Rng,
    limit: AdaptiveLimit,
    capacity: usize,
    active: usize,
    in_flight: usize,
    /// Of each minute: the limit over time, calls, refusals.
    minutes: Vec<(f64, u64, u64)>,
    since: Duration,
}

impl Rush {
    const MINUTES: u32 = 12;

    fn run(capacity: usize, later: Option<usize>, policy: AdaptivePolicy, seed: u64) -> Self {
        let agenda = Agenda::new();
        let limit = AdaptiveLimit::new(policy, agenda.now());
        let minutes = vec![(0.0, 0, 0); Self::MINUTES as usize];
        let (chance, since) = (fastrand::Rng::with_seed(seed), Duration::ZERO);
        let mut it = Self { agenda, chance, limit, capacity, active: 0, in_flight: 0, minutes, since };
        if let Some(capacity) = later {
            it.agenda.enter(6 * 60 * SECOND, Event::Capacity(capacity));
        }
        it.send();
        while let Some(event) = it.agenda.next(Self::MINUTES * 60 * SECOND) {
            it.happens(event);
        }
        it
    }

    fn happens(&mut self, event: Event) {
        let now = self.agenda.now();
        self.minute().0 += self.limit.limit() as f64 * (self.agenda.passed() - self.since).as_secs_f64();
        self.since = self.agenda.passed();
        match event {
            Event::Capacity(capacity) => self.capacity = capacity,
            Event::Answered { started } => {
                self.active -= 1;
                self.limit.record(None, started, self.in_flight, now);
                self.in_flight -= 1;
            }
            Event::Refused { started } => {
                self.limit.record(Some(Overloaded), started, self.in_flight, now);
                self.in_flight -= 1;
            }
        }
        self.send();
    }

    fn minute(&mut self) -> &mut (f64, u64, u64) {
        let minute = self.agenda.passed().as_secs() / 60;
        &mut self.minutes[minute as usize]
    }

    fn send(&mut self) {
        let started = self.agenda.now();
        while self.in_flight < self.limit.limit() {
            self.in_flight += 1;
            self.minute().1 += 1;
            if self.active < self.capacity {
                self.active += 1;
                let time = Duration::from_secs_f64(1.0 + 4.0 * self.chance.f64());
                self.agenda.enter(time, Event::Answered { started });
            } else {
                self.minute().2 += 1;
                self.agenda.enter(Duration::from_millis(50), Event::Refused { started });
            }
        }
    }

    /// How far the limit is from the capacity in the worst of these minutes, and how many calls are refused in
    /// all of them, as shares.
    fn errors(&self, minutes: std::ops::Range<usize>, capacity: usize) -> (f64, f64) {
        let minutes = &self.minutes[minutes];
        let off = minutes.iter().map(|(limit, ..)| (limit / 60.0 / capacity as f64 - 1.0).abs());
        let (calls, refused) = minutes.iter().fold((0, 0), |sum, it| (sum.0 + it.1, sum.1 + it.2));
        (off.fold(0.0, f64::max), refused as f64 / calls as f64)
    }

    fn assert_steady(&self, minutes: std::ops::Range<usize>, capacity: usize, seed: u64) {
        let (off, refused) = self.errors(minutes, capacity);
        assert!(off <= 0.15, "{capacity}, seed {seed}: {off:.2} off: {:?}", self.minutes);
        assert!(refused <= 0.02, "{capacity}, seed {seed}: {refused:.3} refused: {:?}", self.minutes);
    }
}

#[test]
fn within_a_minute_it_finds_what_a_provider_can_carry_and_stays_there() {
    for capacity in [2, 5, 10, 20, 50, 120, 200] {
        for seed in 0..SEEDS {
            let rush = Rush::run(capacity, None, AdaptivePolicy::default(), seed);
            rush.assert_steady(1..12, capacity, seed);
        }
    }
}

#[test]
fn it_follows_a_provider_that_can_carry_less_or_more() {
    for (before, after) in [(100, 25), (40, 20), (20, 40), (25, 100)] {
        for seed in 0..SEEDS {
            let rush = Rush::run(before, Some(after), AdaptivePolicy::default(), seed);
            rush.assert_steady(1..6, before, seed);
            rush.assert_steady(8..12, after, seed);
        }
    }
}

#[test]
fn a_fixed_limit_is_refused_by_a_weaker_provider_and_wastes_a_stronger_one() {
    let fixed = AdaptivePolicy { min: 25, max: 25, start: 25 };
    let (_, refused) = Rush::run(10, None, fixed, 0).errors(1..12, 10);
    let (off, _) = Rush::run(100, None, fixed, 0).errors(1..12, 100);
    assert!(refused > 0.5 && off > 0.5, "{refused}, {off}");
}
