//! Proves the circuit breaker: when it opens and for how long, what closes it, and that outcomes of an older
//! generation never matter. Calls run for a minute here while circuits open and close within seconds.

mod half_open;
mod isolation;
mod model;
mod open_time;
mod opening;
mod ramp;

use super::*;
use crate::backoff::{Backoff, Jitter};
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
