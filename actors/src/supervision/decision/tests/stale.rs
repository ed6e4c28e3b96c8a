//! News that come too late, or from another life, change nothing.

use super::*;

#[test]
fn news_of_another_life_change_nothing() {
    let up = Scene::new(POLICY, 2);
    let mut waiting = Scene::new(POLICY, 2);
    waiting.exit(1);
    let mut starting = Scene::new(POLICY, 2);
    starting.exit(1);
    starting.backoff_over(1);
    let mut stopping = Scene::new(POLICY, 2);
    stopping.on(Event::Shutdown);
    for mut scene in [up, waiting, starting, stopping] {
        let before = scene.whole();
        let current = scene.life(1);
        for incarnation in [current - 1, current + 1] {
            for event in [
                Event::Started { child: 1, incarnation },
                Event::Exited { child: 1, incarnation, ending: Ending::Abnormal },
                Event::BackoffOver { child: 1, incarnation },
                Event::Overdue { child: 1, incarnation },
            ] {
                assert_eq!(scene.on(event), [], "{event:?}"); // R12
                assert_eq!(scene.whole(), before, "{event:?}");
            }
        }
    }
}

#[test]
fn a_wait_that_nobody_is_in_any_more_changes_nothing() {
    let mut scene = Scene::new(POLICY, 1);
    assert_eq!((scene.backoff_over(0), scene.overdue(0)), (vec![], vec![]));
    scene.exit(0);
    scene.backoff_over(0);
    assert_eq!((scene.backoff_over(0), scene.overdue(0)), (vec![], vec![]), "it starts already"); // R12
}
