//! Groups that are restarted together, children that are not restarted, significant ones, and operators: the
//! cases of Erlang/OTP's own suite, as far as they are decisions.

use super::{
    tests::{PATIENT, POLICY, SECOND, Scene, stop},
    *,
};

const ALL: RestartPolicy = RestartPolicy { strategy: Strategy::OneForAll, ..PATIENT };
const REST: RestartPolicy = RestartPolicy { strategy: Strategy::RestForOne, ..PATIENT };

const TEMPORARY: Role = Role { restart: Restart::Temporary, significant: false };
const TRANSIENT: Role = Role { restart: Restart::Transient, significant: false };
const PERMANENT: Role = Role { restart: Restart::Permanent, significant: false };

fn start(child: Id, incarnation: u64) -> Action {
    Action::Start { child, incarnation }
}

fn wait(child: Id, incarnation: u64, attempt: u32, delay: Duration) -> Action {
    Action::AwaitBackoff { child, incarnation, attempt, delay }
}

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

fn significant(restart: Restart) -> Role {
    Role { restart, significant: true }
}

#[test]
fn only_the_own_end_of_a_significant_child_ends_its_supervisor() {
    let any = RestartPolicy { auto_shutdown: AutoShutdown::AnySignificant, ..PATIENT };
    let roles = [significant(Restart::Temporary), significant(Restart::Transient), PERMANENT, TEMPORARY];
    let mut scene = Scene::of(any, &roles);
    assert_eq!(scene.exit(3), [Action::Forget { child: 3 }]); // G1
    assert!(
        matches!(scene.exit(1)[..], [Action::AwaitBackoff { .. }]),
        "a crash of a transient one restarts"
    ); // G3
    let mut terminated = Scene::of(any, &roles);
    terminated.on(Event::Terminate { child: 0 });
    assert_eq!(terminated.exit(0), [Action::Forget { child: 0 }], "it was stopped"); // G2
    let mut ended = Scene::of(any, &roles);
    assert_eq!(ended.exit(0), [Action::Forget { child: 0 }, stop(3)]); // G2
    let mut normal = Scene::of(any, &roles);
    assert_eq!(normal.ends(1, Ending::Normal), [stop(3)]); // G3
    let mut never = Scene::of(PATIENT, &roles);
    assert_eq!(never.exit(0), [Action::Forget { child: 0 }]);
}

#[test]
fn with_all_significant_only_the_end_of_the_last_one_counts() {
    let all = RestartPolicy { auto_shutdown: AutoShutdown::AllSignificant, ..PATIENT };
    let mut scene = Scene::of(all, &[significant(Restart::Temporary); 2]);
    assert_eq!(scene.exit(1), [Action::Forget { child: 1 }]);
    assert_eq!(scene.exit(0), [Action::Forget { child: 0 }, Action::Finish]); // G2
}

#[test]
fn a_significant_bystander_does_not_count() {
    let any = RestartPolicy { auto_shutdown: AutoShutdown::AnySignificant, ..ALL };
    let mut scene = Scene::of(any, &[PERMANENT, significant(Restart::Temporary)]);
    assert_eq!(scene.exit(0), [stop(1)]);
    assert_eq!(scene.exit(1), [Action::Forget { child: 1 }, wait(0, 2, 1, SECOND)]); // G4
}

#[test]
fn a_child_that_was_added_and_does_not_start_leaves_nothing_and_counts_for_nothing() {
    let mut scene = Scene::new(RestartPolicy { restarts: 0, ..POLICY }, 1);
    let (child, action) = scene.decision.add(PERMANENT, 1);
    assert_eq!(action, start(child, 1));
    assert_eq!(scene.exit(child), [Action::Forget { child }]); // S6
    assert!(scene.decision.recent.is_empty());
}

#[test]
fn a_child_that_skips_its_start_is_kept_unless_it_is_temporary() {
    let mut scene = Scene::new(POLICY, 0);
    let (kept, _) = scene.decision.add(PERMANENT, 1);
    let (lost, _) = scene.decision.add(TEMPORARY, 1);
    scene.ends(kept, Ending::Skipped);
    scene.ends(lost, Ending::Skipped);
    assert_eq!(scene.decision.standing(kept), Some(Standing::Stopped)); // S2
    assert_eq!(scene.decision.standing(lost), None); // S3
}

#[test]
fn an_operator_ends_revives_and_deletes() {
    let mut scene = Scene::new(POLICY, 2);
    assert!(!scene.decision.delete(0), "it runs");
    assert_eq!(scene.on(Event::Revive { child: 0 }), [], "it runs");
    assert_eq!(scene.on(Event::Terminate { child: 0 }), [stop(0)]);
    assert_eq!(scene.on(Event::Terminate { child: 0 }), [], "once is enough");
    assert_eq!((scene.ends(0, Ending::Normal), scene.down.as_slice()), (vec![], &[0][..]));
    assert_eq!(scene.on(Event::Revive { child: 0 }), [start(0, 2)]); // A1
    assert_eq!(scene.exit(0), [], "a revival that fails is not repeated"); // S7
    assert_eq!(scene.decision.standing(0), Some(Standing::Stopped));
    assert!(scene.decision.delete(0));
    assert_eq!(scene.decision.standing(0), None);
    assert_eq!(scene.on(Event::Terminate { child: 0 }), []);
}

#[test]
fn an_operator_cancels_a_restart_and_a_start_that_is_under_way() {
    let mut waiting = Scene::new(POLICY, 1);
    waiting.exit(0);
    assert_eq!(waiting.on(Event::Terminate { child: 0 }), []); // R10
    assert_eq!((waiting.backoff_over(0), waiting.down.as_slice()), (vec![], &[0][..]));
    let mut starting = Scene::new(POLICY, 1);
    starting.exit(0);
    starting.backoff_over(0);
    assert_eq!(starting.on(Event::Terminate { child: 0 }), []);
    assert_eq!(starting.started(0), [Action::Stop { child: 0, incarnation: 2 }]);
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

#[test]
fn a_shutdown_in_every_stage_of_a_group_ends_all_of_it() {
    for stage in 0..6 {
        let mut scene = Scene::new(ALL, 2);
        let steps: [fn(&mut Scene) -> Vec<Action>; 5] = [
            |scene| scene.exit(0),
            |scene| scene.exit(1),
            |scene| scene.backoff_over(0),
            |scene| scene.started(0),
            |scene| scene.started(1),
        ];
        steps[..stage].iter().for_each(|step| drop(step(&mut scene)));
        let mut actions = scene.on(Event::Shutdown);
        for child in [1, 0, 1, 0] {
            actions.extend(scene.started(child));
            actions.extend(scene.exit(child));
        }
        let ends = actions.iter().filter(|action| **action == Action::Finish).count();
        assert_eq!(ends, 1, "in stage {stage}: {actions:?}"); // R10
        assert_eq!(scene.backoff_over(0), [], "in stage {stage}");
    }
}

#[test]
fn children_that_stop_together_are_all_asked_at_once() {
    let together = RestartPolicy { stop_together: true, ..POLICY };
    let mut scene = Scene::new(together, 3);
    assert_eq!(scene.on(Event::Shutdown), [stop(2), stop(1), stop(0)]); // P7
    assert_eq!([1, 2, 0].map(|child| scene.exit(child)), [vec![], vec![], vec![Action::Finish]]);
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
