//! For how long a circuit is open: longer each time, shorter again with health, and as long as it is asked for.

use proptest::{collection::vec, prelude::*};

use super::*;

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

proptest! {
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
