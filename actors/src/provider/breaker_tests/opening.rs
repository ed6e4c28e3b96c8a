//! What opens a circuit, and what never does.

use super::*;
use crate::{
    error::ErrorKind,
    provider::{policy::SlowPolicy, window::Window},
};

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
fn another_policy_holds_from_now_on_and_nothing_else_changes() {
    let mut scene = Scene::new(policy(5));
    (0..3).for_each(|_| assert!(!scene.hear(Failing)));
    scene.breaker.adapt(policy(4));
    assert_eq!((scene.breaker.failures(), scene.breaker.generation()), (3, 1)); // GW8
    assert!(scene.hear(Failing));
}
