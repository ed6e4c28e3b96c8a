//! When a supervisor gives up, and when it goes on for ever.

use super::*;

#[test]
fn one_crash_too_many_stops_the_others_in_reverse_one_at_a_time_and_ends() {
    let mut scene = Scene::new(POLICY, 4);
    for child in [1, 2, 1] {
        scene.crash_and_return(child);
    }
    scene.now += 60 * SECOND - INSTANT;
    assert_eq!(scene.exit(1), [Action::GiveUp { child: 1 }, stop(3)]); // R1
    assert!(scene.is_gone(1));
    assert_eq!(scene.exit(3), [Action::Stop { child: 2, incarnation: 2 }]);
    assert_eq!(scene.exit(2), [stop(0)]);
    assert_eq!(scene.exit(0), [Action::Finish]);
}

#[test]
fn the_last_child_that_crashes_too_often_ends_it_at_once() {
    let mut scene = Scene::new(RestartPolicy { restarts: 0, ..POLICY }, 1);
    assert_eq!(scene.exit(0), [Action::GiveUp { child: 0 }, Action::Finish]); // R1
}

#[test]
fn who_crashes_slowly_enough_lives_for_ever() {
    let mut scene = Scene::new(POLICY, 1);
    for _ in 0..10_000 {
        scene.crash_and_return(0); // R2
        scene.now += 20 * SECOND;
    }
    assert!(scene.decision.recent.len() <= 3, "and what is too old is forgotten");
}

#[test]
fn a_start_that_fails_is_a_crash_like_any_other() {
    let mut scene = Scene::new(POLICY, 1);
    for (attempt, seconds) in [(1, 1), (2, 2), (3, 4)] {
        let (incarnation, delay) = (u64::from(attempt) + 1, seconds * SECOND);
        assert_eq!(scene.exit(0), [Action::AwaitBackoff { child: 0, incarnation, attempt, delay }]);
        assert_eq!(scene.backoff_over(0), [Action::Start { child: 0, incarnation }]);
    }
    assert_eq!(scene.exit(0), [Action::GiveUp { child: 0 }, Action::Finish]); // R5
}

#[test]
fn a_child_that_crashes_too_often_in_a_row_is_left_down_and_the_others_go_on() {
    let policy = RestartPolicy { in_a_row: Some(2), ..PATIENT };
    let mut scene = Scene::new(policy, 2);
    for _ in 0..2 {
        assert!(matches!(scene.exit(0)[..], [Action::AwaitBackoff { .. }]));
        scene.backoff_over(0);
    }
    assert_eq!((scene.exit(0), scene.down.as_slice()), (vec![], &[0][..])); // B3
    assert_eq!(scene.decision.standing(0), Some(Standing::Stopped));
    assert_eq!(scene.decision.standing(1), Some(Standing::Running));
    let mut group = Scene::new(RestartPolicy { in_a_row: Some(1), ..ALL }, 1);
    group.exit(0);
    group.backoff_over(0);
    assert!(matches!(group.exit(0)[..], [Action::GiveUp { child: 0 }, Action::Finish]));
}

#[test]
fn a_hung_child_is_killed_and_restarted_and_replaced_if_it_cannot_be_killed() {
    let hung = |scene: &mut Scene| scene.on(Event::Hung { child: 0, incarnation: scene.life(0) });
    let mut scene = Scene::new(PATIENT, 1);
    assert_eq!(hung(&mut scene), [Action::Kill { child: 0, incarnation: 1 }]);
    assert!(matches!(scene.exit(0)[..], [Action::AwaitBackoff { .. }])); // B8
    for life in 1..=ZOMBIES {
        scene.backoff_over(0);
        scene.started(0);
        hung(&mut scene);
        let replaced = scene.overdue(0);
        assert!(matches!(replaced[..], [Action::Abandon { .. }, Action::AwaitBackoff { .. }]), "{life}"); // B9
    }
    scene.backoff_over(0);
    scene.started(0);
    hung(&mut scene);
    let ends = [Action::Abandon { child: 0 }, Action::GiveUp { child: 0 }, Action::Finish];
    assert_eq!(scene.overdue(0), ends, "one too many blocks a thread, and nobody waits for it");
}
