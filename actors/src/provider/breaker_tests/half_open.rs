//! One call at a time tries an open circuit, and a probe may come before it.

use super::*;

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
fn one_failing_probe_reopens_it_for_twice_as_long() {
    let mut scene = half_open_scene();
    assert!(scene.hear(Failing));
    assert_eq!(scene.open_time(), 10 * SECOND); // PC9
    assert_eq!(scene.breaker.failures(), 4);
}

#[test]
fn a_slow_probe_opens_it_again() {
    let mut scene = half_open_scene();
    assert!(scene.hear_slow());
    assert_eq!(scene.open_time(), 10 * SECOND); // PC8
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
