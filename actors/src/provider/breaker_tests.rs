//! Proves the circuit breaker: when it opens and for how long, what closes it, and that outcomes of an older
//! generation never matter. Calls run for a minute here while circuits open and close within seconds.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    error::ErrorKind,
    provider::{policy::SlowPolicy, window::Window},
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
        self.hear_of(self.breaker.generation(), verdict, chance)
    }

    fn hear_of(&mut self, generation: u64, verdict: Verdict, chance: f64) -> bool {
        self.breaker.record(Heard { generation, verdict, slow: false, hint: None }, self.now, chance)
    }

    fn hear_slow(&mut self) -> bool {
        self.breaker.record_slow(self.breaker.generation(), self.now, MIDDLE)
    }

    /// Ten calls of a share go well within two seconds; tells where that leads.
    fn step_up(&mut self) -> State {
        self.now += 2 * SECOND;
        (0..ENOUGH).for_each(|_| {
            self.hear(Healthy);
        });
        self.breaker.state()
    }

    /// Lets a half-open circuit close.
    fn recover(&mut self) {
        self.hear(Healthy);
        for _ in RAMP {
            self.step_up();
        }
        assert_eq!(self.breaker.state(), State::Closed);
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

/// Only failures in a row matter, and one probe is enough.
fn policy(failures: u32) -> BreakerPolicy {
    BreakerPolicy { failures, failing_share: None, slow: None, probes: 1, ..BreakerPolicy::default() }
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
    assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::One)); // PC9
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
fn three_healthy_probes_one_at_a_time_begin_a_ramp_that_closes_it() {
    let mut scene = Scene::new(BreakerPolicy { probes: 3, ..policy(3) });
    scene.break_down();
    scene.wait_until_half_open();
    for probe in 1..=3 {
        assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::One), "probe {probe}");
        let generation = scene.breaker.generation();
        assert!(scene.hear(Healthy), "probe {probe}");
        assert!(scene.breaker.generation() > generation, "its place is offered again");
    }
    assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::Share(5)));
    let steps = [(); 4].map(|()| scene.step_up());
    let share = |share| State::HalfOpen(Trial::Share(share));
    assert_eq!(steps, [share(10), share(25), share(50), State::Closed]); // PC9
    assert_eq!(scene.breaker.failures(), 0);
    assert!(!scene.hear(Failing) && !scene.hear(Failing) && scene.hear(Failing));
}

#[test]
fn a_step_takes_two_seconds_and_ten_outcomes_or_half_a_minute() {
    let ramp = || {
        let mut scene = half_open_scene();
        scene.hear(Healthy);
        scene
    };
    let mut hasty = ramp();
    (0..50).for_each(|_| assert!(!hasty.hear(Healthy), "no time has passed"));
    hasty.now += 2 * SECOND;
    assert!(hasty.hear(Healthy));
    let mut idle = ramp();
    idle.now += 30 * SECOND - INSTANT;
    assert!(!idle.hear(Healthy) && !idle.breaker.wake(idle.now), "one outcome is not enough");
    assert_eq!(idle.breaker.wakes_at(), Some(idle.now + INSTANT));
    idle.now += INSTANT;
    assert!(idle.breaker.wake(idle.now)); // PC9
    assert_eq!(idle.breaker.state(), State::HalfOpen(Trial::Share(10)));
}

#[test]
fn without_a_ramp_the_probes_alone_close_it() {
    let mut scene = Scene::new(BreakerPolicy { ramp: Duration::ZERO, ..policy(1) });
    scene.break_down();
    scene.wait_until_half_open();
    assert!(scene.hear(Healthy));
    assert_eq!(scene.breaker.state(), State::Closed);
}

#[test]
fn a_failing_step_opens_it_for_longer_and_one_failure_among_many_calls_does_not() {
    let mut scene = half_open_scene();
    scene.hear(Healthy);
    assert!(!scene.hear(Failing), "one may be chance");
    (0..3).for_each(|_| assert!(!scene.hear(Healthy)));
    assert!(!scene.hear(Failing), "two of five are less than half");
    assert!(scene.hear(Failing));
    assert_eq!(scene.open_time(), 10 * SECOND); // PC9
}

#[test]
fn after_ten_thousand_successes_a_window_of_a_hundred_opens_within_fifty_failures() {
    let window = BreakerPolicy {
        failures: 1000,
        window: Window::Calls(100),
        failing_share: Some(0.5),
        ..policy(1000)
    };
    let mut scene = Scene::new(window);
    (0..10_000).for_each(|_| assert!(!scene.hear(Healthy)));
    let failures = (1..=1000).find(|_| scene.hear(Failing));
    assert_eq!(failures, Some(50)); // PC7
    let mut row = Scene::new(BreakerPolicy { failures: 5, ..window });
    (0..10_000).for_each(|_| assert!(!row.hear(Healthy)));
    assert_eq!((1..=1000).find(|_| row.hear(Failing)), Some(5)); // PC7
}

#[test]
fn shares_say_nothing_before_enough_calls_and_forget_what_is_too_old() {
    let shares = BreakerPolicy { failing_share: Some(0.5), ..policy(1000) };
    let mut scene = Scene::new(shares);
    (0..9).for_each(|_| assert!(!scene.hear(Failing)));
    scene.now += 67 * SECOND;
    (0..9).for_each(|_| assert!(!scene.hear(Failing), "the nine before are too old"));
    assert!(scene.hear(Failing)); // PC7
}

#[test]
fn slow_calls_open_it_by_their_share_or_in_a_row_and_count_once() {
    let slow = BreakerPolicy { slow: Some(SlowPolicy::default()), ..policy(1000) };
    let mut row = Scene::new(slow);
    (0..300).for_each(|_| assert!(!row.hear(Healthy)));
    assert_eq!((1..).find(|_| row.hear_slow()), Some(10)); // PC8
    let mut share = Scene::new(slow);
    for _ in 0..8 {
        assert!(!share.hear_slow());
        let (generation, verdict) = (share.breaker.generation(), Healthy);
        let end = Heard { generation, verdict, slow: true, hint: None };
        assert!(!share.breaker.record(end, share.now, MIDDLE), "its end is no further call");
    }
    assert!(!share.hear(Healthy) && !share.hear(Healthy) && share.breaker.slow() == 0);
    assert!(share.hear_slow(), "9 of 11 are four fifths and more"); // PC8
}

#[test]
fn a_slow_probe_opens_it_again() {
    let mut scene = half_open_scene();
    assert!(scene.hear_slow());
    assert_eq!(scene.open_time(), 10 * SECOND); // PC8
}

#[test]
fn the_wait_that_a_provider_asks_for_holds_if_it_is_longer_up_to_five_minutes() {
    for (hint, seconds) in [(1, 5), (30, 30), (3600, 300)] {
        let mut scene = Scene::new(policy(1));
        let heard = Heard {
            generation: scene.breaker.generation(),
            verdict: Failing,
            slow: false,
            hint: Some(hint * SECOND),
        };
        assert!(scene.breaker.record(heard, scene.now, MIDDLE));
        assert_eq!(scene.open_time(), seconds * SECOND); // PC11
    }
}

#[test]
fn what_is_taken_out_hears_nothing_until_its_time_or_an_operator() {
    for mut scene in [Scene::new(policy(1)), open_scene(), half_open_scene()] {
        let until = scene.now + 900 * SECOND;
        assert!(scene.breaker.isolate(Some(until), scene.now));
        assert!(!scene.breaker.isolate(Some(scene.now), scene.now), "a shorter time shortens nothing");
        for verdict in [Failing, Healthy, Neutral] {
            assert!(!scene.hear(verdict));
        }
        assert!(!scene.breaker.wake(until - INSTANT));
        assert!(scene.breaker.wake(until)); // PC12
        assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::One));
        assert!(scene.breaker.isolate(None, until));
        assert!(!scene.breaker.isolate(Some(until), until));
        assert_eq!(scene.breaker.wakes_at(), None);
        assert!(matches!(scene.breaker.afresh().state(), State::Isolated { until: None }));
        assert!(scene.breaker.close(until) && !scene.breaker.close(until));
        assert_eq!(scene.breaker.state(), State::Closed);
    }
}

#[test]
fn another_policy_holds_from_now_on_and_nothing_else_changes() {
    let mut scene = Scene::new(policy(5));
    (0..3).for_each(|_| assert!(!scene.hear(Failing)));
    scene.breaker.adapt(policy(4));
    assert_eq!((scene.breaker.failures(), scene.breaker.generation()), (3, 1)); // GW8
    assert!(scene.hear(Failing));
}

#[test]
fn one_failing_probe_reopens_it_for_twice_as_long() {
    let mut scene = half_open_scene();
    assert!(scene.hear(Failing));
    assert_eq!(scene.open_time(), 10 * SECOND); // PC9
    assert_eq!(scene.breaker.failures(), 4);
}

#[test]
fn a_probe_that_told_nothing_makes_room_for_another() {
    let mut scene = half_open_scene();
    let generation = scene.breaker.generation();
    assert!(scene.hear(Neutral));
    assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::One));
    assert!(scene.breaker.generation() > generation);
}

#[test]
fn a_renewed_probe_decides_and_the_old_one_does_not() {
    for late in [Healthy, Failing] {
        let mut scene = half_open_scene();
        let lost = scene.breaker.generation();
        assert!(scene.breaker.renew_probe());
        assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::One));
        let renewed = scene.whole();
        assert!(!scene.hear_of(lost, late, MIDDLE));
        assert_eq!(scene.whole(), renewed); // PC9, PC10
        assert!(scene.hear(Healthy));
        assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::Share(5)));
    }
}

#[test]
fn only_a_half_open_circuit_offers_another_probe() {
    for mut scene in [Scene::new(policy(3)), open_scene()] {
        let before = scene.whole();
        assert!(!scene.breaker.renew_probe());
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
    scene.recover();
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
    scene.recover();
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
    Scene::new(BreakerPolicy { open, ..policy(2) })
}

impl Scene {
    /// True if the circuit says that its state changed.
    fn happens(&mut self, happening: Happening) -> bool {
        match happening {
            Happening::Outcome { age, verdict } => {
                let generation = self.breaker.generation().saturating_sub(age);
                self.hear_of(generation, verdict, MIDDLE)
            }
            Happening::Passing(ms) => {
                self.now += Duration::from_millis(ms);
                false
            }
            Happening::Wake => self.breaker.wake(self.now),
            Happening::Renewal => self.breaker.renew_probe(),
        }
    }
}

/// A step of the way back: 0 lets one call at a time through, the others a share.
#[derive(Clone, Copy, Default)]
struct Step {
    number: usize,
    since: u64,
    good: u32,
    bad: u32,
}

/// The same circuit told another way: in plain milliseconds, with its open times in a table.
#[derive(Default)]
struct Model {
    now: u64,
    row: u32,
    open_until: Option<u64>,
    half_open: Option<Step>,
    next: usize,
    last: u64,
    closed_at: Option<u64>,
}

impl Model {
    const TABLE: [u64; 4] = [1000, 2000, 4000, 5000];

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Passing(ms) => self.now += ms,
            Happening::Wake if self.open_until.is_some_and(|until| until <= self.now) => self.steps(0),
            Happening::Wake => {
                let long = |step: &Step| step.number > 0 && self.now - step.since >= 30_000;
                if let Some(step) = self.half_open.filter(long) {
                    self.steps(step.number + 1);
                }
            }
            Happening::Outcome { age: 0, verdict } if self.open_until.is_none() => self.hears(verdict),
            _ => {}
        }
    }

    fn steps(&mut self, number: usize) {
        self.open_until = None;
        self.half_open = (number < 5).then_some(Step { number, since: self.now, ..Step::default() });
        if number == 5 {
            (self.row, self.closed_at) = (0, Some(self.now));
        }
    }

    fn hears(&mut self, verdict: Verdict) {
        match (verdict, self.half_open.as_mut()) {
            (Neutral, _) => {}
            (Healthy, step) => {
                self.row = 0;
                let Some(step) = step else { return };
                step.good += 1;
                if step.number == 0 || step.good + step.bad >= 10 && self.now - step.since >= 2000 {
                    let next = step.number + 1;
                    self.steps(next);
                }
            }
            (Failing, step) => {
                self.row += 1;
                let opens = step.map_or(self.row == 2, |step| {
                    step.bad += 1;
                    step.number == 0 || step.bad >= 2 && step.bad >= step.good
                });
                if opens {
                    self.opens();
                }
            }
        }
    }

    fn opens(&mut self) {
        if self.half_open.is_none()
            && let Some(closed_at) = self.closed_at
        {
            self.next = self.next.saturating_sub(((self.now - closed_at) / self.last) as usize);
        }
        self.last = Self::TABLE[self.next];
        self.next = (self.next + 1).min(3);
        (self.half_open, self.open_until) = (None, Some(self.now + self.last));
    }

    fn state(&self, start: Instant) -> State {
        match self.open_until {
            Some(until) => State::Open { until: start + Duration::from_millis(until) },
            None => self.half_open.map_or(State::Closed, |step| {
                State::HalfOpen(
                    [Trial::One].into_iter().chain(RAMP.map(Trial::Share)).collect::<Vec<_>>()[step.number],
                )
            }),
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
        prop_assert!(!scene.hear_of(generation, verdict, MIDDLE));
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
            let changed = scene.breaker.state() != state;
            let offered = scene.breaker.state() == State::HalfOpen(Trial::One);
            prop_assert!(said == changed || said && offered, "{:?}", event);
            let raised = scene.breaker.generation() - generation;
            prop_assert_eq!(raised, u64::from(said), "{:?}", event); // PC10
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

#[test]
fn a_probe_that_fails_counts_while_closed_prolongs_an_open_time_and_leaves_a_trial_to_its_calls() {
    let policy = BreakerPolicy::default();
    let mut scene = Scene::new(policy);
    let probe_failed =
        |scene: &mut Scene, generation| scene.breaker.probe_failed(generation, scene.now, MIDDLE);
    for left in (0..policy.failures).rev() {
        let generation = scene.breaker.generation();
        assert_eq!(probe_failed(&mut scene, generation), left == 0);
    }
    assert_eq!(scene.open_time(), 5 * SECOND);
    scene.now += 5 * SECOND;
    assert!(scene.breaker.is_due(scene.now));
    let generation = scene.breaker.generation();
    assert!(!probe_failed(&mut scene, generation - 1), "an older one says nothing"); // PC10
    assert!(probe_failed(&mut scene, generation));
    assert_eq!(scene.open_time(), 10 * SECOND);
    scene.now += 10 * SECOND;
    scene.breaker.wake(scene.now);
    let generation = scene.breaker.generation();
    assert!(!probe_failed(&mut scene, generation));
    assert_eq!(scene.breaker.state(), State::HalfOpen(Trial::One)); // PC21
}

#[test]
fn a_pardon_takes_back_what_was_counted_since_and_no_older_break() {
    let mut scene = Scene::new(BreakerPolicy::default());
    let since = scene.now;
    for _ in 0..4 {
        scene.hear(Failing);
    }
    assert!(!scene.breaker.pardon(since, scene.now));
    assert_eq!((scene.breaker.failures(), scene.hear(Failing)), (0, false));
    scene.break_down();
    scene.now += SECOND;
    assert!(!scene.breaker.pardon(scene.now, scene.now), "it broke before");
    assert!(scene.breaker.pardon(since, scene.now));
    assert_eq!(scene.breaker.state(), State::Closed); // PC21
    assert_eq!(scene.break_down(), 5 * SECOND, "nothing is left of it");
    scene.now += 5 * SECOND;
    scene.breaker.wake(scene.now);
    let again = scene.now;
    scene.hear(Failing);
    assert!(!scene.breaker.pardon(again, scene.now), "it has been broken all the time");
}
