//! Significant children, whose own end may be the end of all.

use super::*;

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
