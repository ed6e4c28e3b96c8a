//! Decisions in rare circumstances: each of these cases was found wrong by the random schedules of `model`.

use super::*;

fn hung(scene: &mut Scene, child: Id) -> Vec<Action> {
    scene.on(Event::Hung { child, incarnation: scene.life(child) })
}

#[test]
fn a_significant_child_that_hangs_has_ended_by_itself() {
    let any = RestartPolicy { auto_shutdown: AutoShutdown::AnySignificant, ..PATIENT };
    let mut scene = Scene::of(any, &[PERMANENT, Role { restart: Restart::Temporary, significant: true }]);
    hung(&mut scene, 1);
    assert_eq!(scene.exit(1), [Action::Forget { child: 1 }, stop(0)]); // G2, T2
}

#[test]
fn a_long_life_ends_the_row_also_if_it_hung_or_was_stopped_with_its_group() {
    let attempt_after = |end: fn(&mut Scene)| {
        let mut scene = Scene::new(ALL, 2);
        let crash = |scene: &mut Scene| {
            scene.exit(0);
            scene.exit(1);
            scene.backoff_over(0);
            scene.started(0);
            scene.started(1);
        };
        crash(&mut scene);
        crash(&mut scene);
        scene.now += 10 * SECOND;
        end(&mut scene);
        match scene.exit(1)[..] {
            [Action::AwaitBackoff { child: 0, attempt, .. }, ..] => attempt,
            ref other => panic!("{other:?}"),
        }
    };
    let hangs = |scene: &mut Scene| {
        hung(scene, 0);
        scene.exit(0);
    };
    let goes_along = |scene: &mut Scene| {
        scene.exit(1);
        scene.exit(0);
        scene.backoff_over(1);
        scene.started(0);
        scene.started(1);
        scene.exit(0);
    };
    assert_eq!([attempt_after(hangs), attempt_after(goes_along)], [1, 1]); // B2
}

#[test]
fn of_a_child_that_an_operator_ended_it_is_said_even_if_it_blocks_one_thread_too_many() {
    let mut scene = Scene::new(PATIENT, 1);
    for _ in 0..ZOMBIES {
        hung(&mut scene, 0);
        scene.overdue(0);
        scene.backoff_over(0);
        scene.started(0);
    }
    scene.on(Event::Terminate { child: 0 });
    scene.overdue(0);
    let ends = [Action::Abandon { child: 0 }, Action::GiveUp { child: 0 }, Action::Finish];
    assert_eq!((scene.overdue(0), scene.down), (ends.to_vec(), vec![0])); // B9, A1
}

#[test]
fn whoever_returns_without_a_wait_has_a_new_life_all_the_same() {
    let mut scene = Scene::new(ALL, 2);
    scene.exit(0);
    scene.on(Event::Terminate { child: 0 });
    assert_eq!(scene.exit(1), [Action::Start { child: 1, incarnation: 2 }]);
    scene.started(1);
    scene.on(Event::Shutdown);
    assert_eq!(scene.on(Event::Overdue { child: 1, incarnation: 1 }), [], "that was for its last life"); // R12
}

#[test]
fn an_operator_changes_nothing_in_the_order_of_a_shutdown() {
    let mut scene = Scene::new(PATIENT, 3);
    scene.on(Event::Shutdown);
    assert_eq!(scene.on(Event::Terminate { child: 0 }), []);
    assert_eq!(scene.exit(2), [stop(1)]); // P5
}

#[test]
fn a_leader_that_was_revived_while_its_group_stops_still_waits_as_its_crash_asked_for() {
    let mut scene = Scene::new(ALL, 2);
    scene.exit(0);
    scene.on(Event::Terminate { child: 0 });
    scene.on(Event::Revive { child: 0 });
    scene.exit(1);
    scene.started(0);
    let held = Action::HoldBack { child: 1, attempt: 1, delay: SECOND };
    let wait = Action::AwaitBackoff { child: 0, incarnation: 3, attempt: 1, delay: SECOND };
    assert_eq!(scene.exit(0), [wait, held]); // B1
}

#[test]
fn the_wait_of_a_former_leader_starts_nobody_while_its_group_stops_again() {
    let mut scene = Scene::new(ALL, 1);
    scene.exit(0);
    let [(first, _), (second, _)] = [0, 1].map(|_| scene.decision.add(PERMANENT, 1));
    scene.started(first);
    scene.started(second);
    assert_eq!(scene.exit(first), [stop(second)]);
    assert_eq!(scene.backoff_over(0), [], "it waits with the new leader"); // R11
    assert!(matches!(scene.exit(second)[0], Action::AwaitBackoff { child: 1, .. }));
}
