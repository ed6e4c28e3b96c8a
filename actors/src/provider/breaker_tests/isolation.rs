//! What is decided outside: a circuit is taken out, or what was held against it is taken back.

use super::*;

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
