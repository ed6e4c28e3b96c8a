//! Whatever happens in whatever order, a circuit does what a second description of it does.

use proptest::{collection::vec, prelude::*};

use super::*;

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
}
