//! The way back: a growing share of calls passes.

use super::*;

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
