//! Children that an operator adds, ends, revives and deletes.

use super::*;

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
