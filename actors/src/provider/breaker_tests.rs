//! Proves the circuit breaker: when it opens and for how long, what closes it, and that outcomes of an older
//! generation never matter. Calls run for a minute here while circuits open and close within seconds.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    error::ErrorKind,
};
use Verdict::{Failing, Healthy, Neutral};

const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);
/// The chance that leaves a jittered delay as it is.
const MIDDLE: f64 = 0.5;

/// A circuit and the time of its next event.
struct Scene {
    breaker: Breaker,
    now: Instant,
}

impl Scene {
    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    fn new(policy: BreakerPolicy) -> Self {
        Self { breaker: Breaker::new(policy), now: Instant::now() }
    }

    fn hear(&mut self, verdict: Verdict) -> bool {
        self.hear_with(verdict, MIDDLE)
    }

    fn hear_with(&mut self, verdict: Verdict, chance: f64) -> bool {
        self.breaker.record(self.breaker.generation(), verdict, self.now, chance)
    }

    /// Fails a closed circuit until it is open; tells for how long.
    fn break_down(&mut self) -> Duration {
        while self.breaker.state() == State::Closed {
            self.hear(Failing);
        }
        self.open_time()
    }

    fn open_time(&self) -> Duration {
        match self.breaker.state() {
            State::Open { until } => until - self.now,
            state => panic!("not open but {}", state.name()),
        }
    }

    fn wait_until_half_open(&mut self) {
        self.now += self.open_time();
        assert!(self.breaker.wake(self.now));
    }

    /// Everything there is to know about it.
    fn whole(&self) -> String {
        format!("{:?}", self.breaker)
    }
}

fn policy(failures: u32) -> BreakerPolicy {
    BreakerPolicy { failures, ..BreakerPolicy::default() }
}

fn open_scene() -> Scene {
    let mut scene = Scene::new(policy(3));
    scene.break_down();
    scene
}

fn half_open_scene() -> Scene {
    let mut scene = open_scene();
    scene.wait_until_half_open();
    scene
}

#[test]
fn it_opens_at_exactly_the_configured_failure_in_a_row() {
    for failures in [1, 2, 5, 100] {
        let mut scene = Scene::new(policy(failures));
        for _ in 1..failures {
            assert!(!scene.hear(Failing), "{failures}");
            assert_eq!(scene.breaker.state(), State::Closed, "{failures}");
        }
        assert!(scene.hear(Failing), "{failures}"); // PC7
        assert_eq!(scene.open_time(), 5 * SECOND, "{failures}");
    }
}

#[test]
fn a_healthy_outcome_in_between_begins_the_row_anew() {
    let mut scene = Scene::new(policy(3));
    for verdict in [Failing, Failing, Healthy, Failing, Failing, Healthy, Failing, Failing] {
        assert!(!scene.hear(verdict));
    }
    assert!(scene.hear(Failing));
}

#[test]
fn a_thousand_local_refusals_change_nothing() {
    for refusal in [ErrorKind::Busy, ErrorKind::CircuitOpen, ErrorKind::Local, ErrorKind::Cancelled] {
        let mut scene = Scene::new(policy(2));
        scene.hear(Failing);
        let before = scene.whole();
        for _ in 0..1000 {
            assert!(!scene.hear(refusal.class().verdict));
        }
        assert_eq!(scene.whole(), before, "{refusal}"); // PC5
        assert!(scene.hear(Failing), "neither do they interrupt a row");
    }
}

#[test]
fn a_wrong_request_never_opens_it() {
    let mut scene = Scene::new(policy(1));
    for kind in [ErrorKind::BadRequest, ErrorKind::ContextTooLong, ErrorKind::ContentFiltered] {
        assert!(!scene.hear(kind.class().verdict), "{kind}"); // PC4
    }
}

#[test]
fn an_open_circuit_lets_a_probe_through_at_its_time_and_not_an_instant_before() {
    let mut scene = open_scene();
    let until = scene.now + scene.open_time();
    let before = scene.whole();
    for too_early in [scene.now, until - INSTANT] {
        assert!(!scene.breaker.wake(too_early));
        assert_eq!(scene.whole(), before);
    }
    assert!(scene.breaker.wake(until));
    assert_eq!(scene.breaker.state(), State::HalfOpen); // PC9
}

#[test]
fn only_an_open_circuit_can_be_woken() {
    for mut scene in [Scene::new(policy(3)), half_open_scene()] {
        let before = scene.whole();
        assert!(!scene.breaker.wake(scene.now + 3600 * SECOND));
        assert_eq!(scene.whole(), before);
    }
}

#[test]
fn an_open_circuit_hears_nothing() {
    let mut scene = open_scene();
    let before = scene.whole();
    for verdict in [Failing, Healthy, Neutral] {
        assert!(!scene.hear(verdict));
    }
    assert_eq!(scene.whole(), before);
}

#[test]
fn a_healthy_probe_closes_it_and_forgets_the_failures() {
    let mut scene = half_open_scene();
    assert!(scene.hear(Healthy));
    assert_eq!(scene.breaker.state(), State::Closed);
    assert_eq!(scene.breaker.failures(), 0);
    assert!(!scene.hear(Failing) && !scene.hear(Failing) && scene.hear(Failing));
}

#[test]
fn one_failing_probe_reopens_it_for_twice_as_long() {
    let mut scene = half_open_scene();
    assert!(scene.hear(Failing));
    assert_eq!(scene.open_time(), 10 * SECOND); // PC9
    assert_eq!(scene.breaker.failures(), 4);
}

#[test]
fn a_probe_that_told_nothing_leaves_it_half_open() {
    let mut scene = half_open_scene();
    let before = scene.whole();
    assert!(!scene.hear(Neutral));
    assert_eq!(scene.whole(), before);
}

#[test]
fn a_renewed_probe_decides_and_the_old_one_does_not() {
    for late in [Healthy, Failing] {
        let mut scene = half_open_scene();
        let lost = scene.breaker.generation();
        scene.breaker.renew_probe();
        assert_eq!(scene.breaker.state(), State::HalfOpen);
        let renewed = scene.whole();
        assert!(!scene.breaker.record(lost, late, scene.now, MIDDLE));
        assert_eq!(scene.whole(), renewed); // PC9, PC10
        assert!(scene.hear(Healthy));
        assert_eq!(scene.breaker.state(), State::Closed);
    }
}

#[test]
fn only_a_half_open_circuit_offers_another_probe() {
    for mut scene in [Scene::new(policy(3)), open_scene()] {
        let before = scene.whole();
        scene.breaker.renew_probe();
        assert_eq!(scene.whole(), before);
    }
}

#[test]
fn open_times_double_up_to_the_cap() {
    let mut scene = open_scene();
    let times = [5, 10, 20, 40, 80, 120, 120, 120].map(|seconds| {
        let open_time = scene.open_time();
        scene.wait_until_half_open();
        scene.hear(Failing);
        (open_time.as_secs(), seconds)
    });
    times.iter().for_each(|(is, should)| assert_eq!(is, should, "{times:?}")); // PC11
}

/// How long a circuit opens that failed this many times in a row and was then healthy for a while.
fn open_time_after(openings: u32, healthy: Duration) -> Duration {
    let mut scene = open_scene();
    for _ in 1..openings {
        scene.wait_until_half_open();
        scene.hear(Failing);
    }
    scene.wait_until_half_open();
    scene.hear(Healthy);
    scene.now += healthy;
    scene.break_down()
}

#[test]
fn open_times_shrink_by_one_step_for_each_healthy_open_time() {
    // Opened for 5, 10 and 20 s: the next time would be 40 s.
    let table = [
        (Duration::ZERO, 40),
        (20 * SECOND - Duration::from_millis(1), 40),
        (20 * SECOND, 20),
        (39 * SECOND, 20),
        (40 * SECOND, 10),
        (60 * SECOND, 5),
        (24 * 3600 * SECOND, 5),
    ];
    for (healthy, seconds) in table {
        assert_eq!(open_time_after(3, healthy), seconds * SECOND, "{healthy:?}"); // PC11
    }
}

#[test]
fn a_long_outage_is_forgotten_as_fast_as_one_that_just_reached_the_cap() {
    for openings in [6, 7, 500] {
        for (healthy, seconds) in [(119, 120), (120, 80), (240, 40), (360, 20), (480, 10), (600, 5)] {
            let open_time = open_time_after(openings, healthy * SECOND);
            assert_eq!(open_time, seconds * SECOND, "{openings} openings, {healthy} s"); // PC11
        }
    }
}

#[test]
fn health_is_counted_once() {
    let mut scene = half_open_scene();
    scene.hear(Failing);
    scene.wait_until_half_open();
    scene.hear(Healthy);
    scene.now += 20 * SECOND;
    assert_eq!(scene.break_down(), 5 * SECOND);
    scene.wait_until_half_open();
    scene.now += 3600 * SECOND;
    scene.hear(Failing);
    assert_eq!(scene.open_time(), 10 * SECOND, "a slow probe is no health");
}

/// How many probes a provider gets that is down for half an hour and fails each at once.
fn probes_in_half_an_hour(chances: impl IntoIterator<Item = f64>) -> usize {
    let mut scene = Scene::new(policy(1));
    let end = scene.now + 1800 * SECOND;
    let mut probes = 0;
    for chance in chances {
        scene.hear_with(Failing, chance);
        scene.now += scene.open_time();
        if scene.now > end {
            return probes;
        }
        scene.breaker.wake(scene.now);
        probes += 1;
    }
    panic!("{probes} probes and no end");
}

#[test]
fn the_most_impatient_chance_still_probes_at_most_22_times_in_half_an_hour() {
    assert_eq!(probes_in_half_an_hour([0.0; 30]), 22); // PC11
}

/// What may happen to a circuit.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// An outcome comes in, of a generation this much older than the present one.
    Outcome {
        age: u64,
        verdict: Verdict,
    },
    Passing(u64),
    Wake,
    Renewal,
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![4 => Just(Failing), 2 => Just(Healthy), 1 => Just(Neutral)]
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let age = prop_oneof![4 => Just(0u64), 1 => 1u64..4];
    let happening = prop_oneof![
        6 => (age, verdict()).prop_map(|(age, verdict)| Happening::Outcome { age, verdict }),
        2 => (0u64..6000).prop_map(Happening::Passing),
        3 => Just(Happening::Wake),
        1 => Just(Happening::Renewal),
    ];
    vec(happening, 0..150)
}

/// Two failures in a row open it, for 1, 2, 4 and then always 5 s.
fn small_scene() -> Scene {
    let open = Backoff { min: SECOND, max: 5 * SECOND, jitter: Jitter::Spread(0.0) };
    Scene::new(BreakerPolicy { failures: 2, open })
}

impl Scene {
    /// True if the circuit says that its state changed.
    fn happens(&mut self, happening: Happening) -> bool {
        match happening {
            Happening::Outcome { age, verdict } => {
                let generation = self.breaker.generation().saturating_sub(age);
                self.breaker.record(generation, verdict, self.now, MIDDLE)
            }
            Happening::Passing(ms) => {
                self.now += Duration::from_millis(ms);
                false
            }
            Happening::Wake => self.breaker.wake(self.now),
            Happening::Renewal => {
                self.breaker.renew_probe();
                false
            }
        }
    }
}

/// The same circuit told another way: in plain milliseconds, with its open times in a table.
#[derive(Default)]
struct Model {
    now: u64,
    row: u32,
    open_until: Option<u64>,
    half_open: bool,
    next: usize,
    last: u64,
    closed_at: Option<u64>,
}

impl Model {
    const TABLE: [u64; 4] = [1000, 2000, 4000, 5000];

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Passing(ms) => self.now += ms,
            Happening::Wake if self.open_until.is_some_and(|until| until <= self.now) => {
                (self.open_until, self.half_open) = (None, true);
            }
            Happening::Outcome { age: 0, verdict } if self.open_until.is_none() => self.hears(verdict),
            _ => {}
        }
    }

    fn hears(&mut self, verdict: Verdict) {
        match verdict {
            Neutral => {}
            Healthy if self.half_open => {
                (self.half_open, self.row, self.closed_at) = (false, 0, Some(self.now));
            }
            Healthy => self.row = 0,
            Failing => {
                self.row += 1;
                if self.half_open || self.row == 2 {
                    self.opens();
                }
            }
        }
    }

    fn opens(&mut self) {
        if !self.half_open
            && let Some(closed_at) = self.closed_at
        {
            self.next = self.next.saturating_sub(((self.now - closed_at) / self.last) as usize);
        }
        self.last = Self::TABLE[self.next];
        self.next = (self.next + 1).min(3);
        (self.half_open, self.open_until) = (false, Some(self.now + self.last));
    }

    fn state(&self, start: Instant) -> State {
        match self.open_until {
            Some(until) => State::Open { until: start + Duration::from_millis(until) },
            None if self.half_open => State::HalfOpen,
            None => State::Closed,
        }
    }
}

proptest! {
    #[test]
    fn a_late_outcome_never_moves_the_breaker(
        past in happenings(),
        verdict in verdict(),
        of in any::<prop::sample::Index>(),
    ) {
        let mut scene = small_scene();
        past.into_iter().for_each(|happening| { scene.happens(happening); });
        let before = scene.whole();
        let generation = of.index(scene.breaker.generation() as usize) as u64;
        prop_assert!(!scene.breaker.record(generation, verdict, scene.now, MIDDLE));
        prop_assert_eq!(scene.whole(), before); // PC10
    }

    #[test]
    fn it_does_what_its_model_does_and_begins_a_generation_with_each_change(events in happenings()) {
        let (mut scene, mut model) = (small_scene(), Model::default());
        let start = scene.now;
        for event in events {
            let (state, generation) = (scene.breaker.state(), scene.breaker.generation());
            let said = scene.happens(event);
            model.happens(event);
            prop_assert_eq!(scene.breaker.state(), model.state(start), "{:?}", event);
            prop_assert_eq!(scene.breaker.failures(), model.row, "{:?}", event);
            prop_assert_eq!(said, scene.breaker.state() != state, "{:?}", event);
            let renewed = matches!(event, Happening::Renewal) && state == State::HalfOpen;
            let raised = scene.breaker.generation() - generation;
            prop_assert_eq!(raised, u64::from(said || renewed), "{:?}", event); // PC10
        }
    }

    #[test]
    fn jitter_keeps_every_open_time_within_its_share(chances in vec(0.0..1.0f64, 1..12)) {
        let mut scene = Scene::new(policy(1));
        for (opening, chance) in chances.into_iter().enumerate() {
            let full = [5, 10, 20, 40, 80, 120][opening.min(5)] * SECOND;
            scene.hear_with(Failing, chance);
            let open_time = scene.open_time();
            prop_assert!(full.mul_f64(0.8) <= open_time && open_time <= full.mul_f64(1.2)); // PC11
            scene.wait_until_half_open();
        }
    }

    #[test]
    fn no_chance_probes_more_than_22_times_in_half_an_hour(chances in vec(0.0..1.0f64, 30)) {
        prop_assert!(probes_in_half_an_hour(chances) <= 22); // PC11
    }
}
