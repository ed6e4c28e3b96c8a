//! Groups that are restarted together.

use super::*;

const REST: RestartPolicy = RestartPolicy { strategy: Strategy::RestForOne, ..PATIENT };

fn held(child: Id) -> Action {
    Action::HoldBack { child, attempt: 1, delay: SECOND }
}

fn lives(scene: &Scene, children: Id) -> Vec<u64> {
    (0..children).map(|child| scene.life(child)).collect()
}

#[test]
fn one_for_all_stops_the_others_in_reverse_waits_once_and_starts_all_in_order() {
    let mut scene = Scene::new(ALL, 3);
    assert_eq!(scene.exit(1), [stop(2)]);
    assert_eq!(scene.exit(2), [stop(0)]);
    assert_eq!(scene.exit(0), [wait(1, 2, 1, SECOND), held(0), held(2)]);
    assert_eq!(scene.backoff_over(1), [start(0, 2)]);
    assert_eq!(scene.started(0), [start(1, 2)]);
    assert_eq!(scene.started(1), [start(2, 2)]);
    assert_eq!(scene.started(2), []);
    assert_eq!(lives(&scene, 3), [2, 2, 2]); // R3
}

#[test]
fn rest_for_one_leaves_those_alone_that_were_started_before() {
    let mut scene = Scene::new(REST, 3);
    assert_eq!(scene.exit(1), [stop(2)]);
    assert_eq!(scene.exit(2), [wait(1, 2, 1, SECOND), held(2)]);
    assert_eq!(scene.backoff_over(1), [start(1, 2)]);
    assert_eq!(scene.started(1), [start(2, 2)]);
    scene.started(2);
    assert_eq!(lives(&scene, 3), [1, 2, 2]); // R4, P5
}

#[test]
fn a_member_that_fails_to_start_sends_the_group_back_to_its_beginning() {
    for (policy, first) in [(ALL, 0), (REST, 1)] {
        let mut scene = Scene::new(policy, 3);
        scene.exit(first);
        (first + 1..3).rev().for_each(|child| drop(scene.exit(child)));
        scene.backoff_over(first);
        scene.started(first);
        // The next one does not start: the restarted one is stopped again, then both start.
        let back = scene.exit(first + 1);
        assert_eq!(back, [Action::Stop { child: first, incarnation: 2 }], "{policy:?}"); // R6, R7
        assert_eq!(scene.exit(first)[0], wait(first + 1, 3, 1, SECOND), "{policy:?}");
        assert_eq!(scene.backoff_over(first + 1), [start(first, 3)]);
        assert_eq!(scene.started(first), [start(first + 1, 3)]);
        assert_eq!(scene.life(0), if first == 0 { 3 } else { 1 }, "{policy:?}");
    }
}

#[test]
fn two_members_that_crash_together_cause_one_restart_that_counts_once() {
    let once = RestartPolicy { strategy: Strategy::OneForAll, restarts: 1, ..POLICY };
    let mut scene = Scene::new(once, 2);
    assert_eq!(scene.exit(0), [stop(1)]);
    assert_eq!(scene.exit(1), [wait(0, 2, 1, SECOND), held(1)]); // R11
    scene.backoff_over(0);
    scene.started(0);
    assert_eq!(scene.started(1), []);
    assert!(matches!(scene.exit(0)[..], [Action::GiveUp { child: 0 }, Action::Stop { child: 1, .. }]));
}

#[test]
fn a_temporary_bystander_is_stopped_and_not_restarted() {
    let mut scene = Scene::of(ALL, &[PERMANENT, TEMPORARY, PERMANENT]);
    assert_eq!(scene.exit(0), [stop(2)]);
    assert_eq!(scene.exit(2), [stop(1)]);
    let gone = scene.exit(1);
    assert_eq!(gone, [Action::Forget { child: 1 }, wait(0, 2, 1, SECOND), held(2)]); // T4
    scene.backoff_over(0);
    assert_eq!(scene.started(0), [start(2, 2)]);
}

#[test]
fn a_group_goes_on_without_the_member_that_an_operator_took_out() {
    let mut scene = Scene::new(ALL, 2);
    scene.exit(0);
    assert_eq!(scene.exit(1), [wait(0, 2, 1, SECOND), held(1)]);
    assert_eq!(scene.on(Event::Terminate { child: 0 }), [start(1, 2)]); // R10
    assert_eq!(scene.started(1), []);
    assert_eq!(scene.decision.standing(0), Some(Standing::Stopped));
}
