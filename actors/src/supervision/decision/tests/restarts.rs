//! Who comes back, and how long it stays down.

use super::*;

#[test]
fn only_the_child_that_crashed_is_restarted() {
    let mut scene = Scene::new(POLICY, 3);
    let wait = Action::AwaitBackoff { child: 1, incarnation: 2, attempt: 1, delay: SECOND };
    assert_eq!(scene.exit(1), [wait]);
    assert_eq!(scene.backoff_over(1), [Action::Start { child: 1, incarnation: 2 }]);
    assert_eq!(scene.started(1), []);
    assert_eq!([0, 1, 2].map(|child| scene.life(child)), [1, 2, 1]); // R1
    assert!([0, 1, 2].iter().all(|child| !scene.is_gone(*child)));
}

#[test]
fn who_is_restarted_follows_from_how_it_ended() {
    let table = [
        (PERMANENT, Ending::Normal, true),
        (PERMANENT, Ending::Abnormal, true), // T1
        (TRANSIENT, Ending::Normal, false),
        (TRANSIENT, Ending::Abnormal, true), // T2
        (TEMPORARY, Ending::Normal, false),
        (TEMPORARY, Ending::Abnormal, false), // T3
    ];
    for (role, ending, again) in table {
        let mut scene = Scene::of(POLICY, &[role, PERMANENT]);
        let actions = scene.ends(0, ending);
        assert_eq!(matches!(actions[..], [Action::AwaitBackoff { .. }]), again, "{role:?} {ending:?}");
        let kept = scene.decision.standing(0).is_some();
        assert_eq!(kept, role.restart != Restart::Temporary, "{role:?}");
        assert_eq!(scene.decision.standing(1), Some(Standing::Running));
    }
}

#[test]
fn backoffs_double_up_to_the_longest_and_attempts_are_counted() {
    let mut scene = Scene::new(PATIENT, 1);
    let backoffs = [1, 2, 3, 4, 5, 6].map(|attempt| {
        let actions = scene.exit(0);
        scene.backoff_over(0);
        scene.started(0);
        (attempt, actions)
    });
    for ((attempt, actions), seconds) in backoffs.into_iter().zip([1, 2, 4, 5, 5, 5]) {
        let (incarnation, delay) = (u64::from(attempt) + 1, seconds * SECOND);
        assert_eq!(actions, [Action::AwaitBackoff { child: 0, incarnation, attempt, delay }]); // B1
    }
}

#[test]
fn chance_spreads_a_backoff_within_its_share() {
    for (chance, millis) in [(0.0, 800), (0.25, 900), (0.5, 1000), (0.75, 1100)] {
        let backoff = Backoff { jitter: Jitter::Spread(0.2), ..POLICY.backoff };
        let mut scene = Scene::new(RestartPolicy { backoff, ..POLICY }, 1);
        let crash = exited(0, 1);
        let delay = Duration::from_millis(millis);
        let expected = Action::AwaitBackoff { child: 0, incarnation: 2, attempt: 1, delay };
        assert_eq!(scene.decision.on(crash, scene.now, chance), [expected]); // B1
    }
}

#[test]
fn a_life_that_was_long_enough_makes_the_next_restart_fast_again() {
    for (lived, seconds) in [(10 * SECOND - INSTANT, 4), (10 * SECOND, 1), (3600 * SECOND, 1)] {
        let mut scene = Scene::new(PATIENT, 1);
        scene.crash_and_return(0);
        scene.crash_and_return(0);
        scene.now += lived;
        assert_eq!(scene.crash_and_return(0), seconds * SECOND, "{lived:?}"); // B2
    }
}

#[test]
fn time_spent_down_is_no_healthy_life() {
    let mut scene = Scene::new(PATIENT, 1);
    scene.exit(0);
    scene.now += 3600 * SECOND;
    scene.backoff_over(0);
    scene.now += 3600 * SECOND;
    scene.started(0);
    assert_eq!(scene.crash_and_return(0), 2 * SECOND); // B2
}

#[test]
fn each_child_has_its_own_backoff() {
    let mut scene = Scene::new(PATIENT, 2);
    assert_eq!([0, 0, 1, 0].map(|child| scene.crash_and_return(child).as_secs()), [1, 2, 1, 4]);
}

#[test]
fn ten_thousand_temporary_children_leave_nothing_behind() {
    let mut scene = Scene::new(POLICY, 1);
    for _ in 0..10_000 {
        let (child, _) = scene.decision.add(TEMPORARY, 1);
        scene.started(child);
        assert_eq!(scene.ends(child, Ending::Abnormal), [Action::Forget { child }]);
    }
    assert_eq!(scene.decision.children.len(), 1); // T6
    assert!(scene.decision.recent.is_empty());
}
