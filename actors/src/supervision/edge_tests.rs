//! Decisions in rare circumstances: each of these cases was found wrong by the random schedules of `model_tests`.

use super::{
    tests::{PATIENT, SECOND, Scene, stop},
    *,
};

const ALL: RestartPolicy = RestartPolicy { strategy: Strategy::OneForAll, ..PATIENT };
const PERMANENT: Role = Role { restart: Restart::Permanent, significant: false };

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
