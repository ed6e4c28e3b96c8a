//! The end of all: in reverse, one at a time, whatever comes between.

use super::*;
use crate::supervision::decision::looked_at::count;

#[test]
fn a_shutdown_stops_all_in_reverse_one_at_a_time() {
    let mut scene = Scene::new(POLICY, 3);
    assert_eq!(scene.on(Event::Shutdown), [stop(2)]);
    assert_eq!(scene.on(Event::Shutdown), [], "once is enough");
    assert_eq!([2, 1, 0].map(|child| scene.exit(child)), [[stop(1)], [stop(0)], [Action::Finish]]); // P5
    assert!([0, 1, 2].iter().all(|child| scene.is_gone(*child)));
}

#[test]
fn children_that_stop_together_are_all_asked_at_once() {
    let together = RestartPolicy { stop_together: true, ..POLICY };
    let mut scene = Scene::new(together, 3);
    assert_eq!(scene.on(Event::Shutdown), [stop(2), stop(1), stop(0)]); // P7
    assert_eq!([1, 2, 0].map(|child| scene.exit(child)), [vec![], vec![], vec![Action::Finish]]);
}

#[test]
fn a_supervisor_without_children_ends_at_once_when_asked_to() {
    assert_eq!(Scene::new(POLICY, 0).on(Event::Shutdown), [Action::Finish]); // S1
}

#[test]
fn a_child_that_waits_for_its_restart_goes_without_a_stop() {
    let mut scene = Scene::new(POLICY, 3);
    scene.exit(2);
    scene.exit(0);
    assert_eq!(scene.on(Event::Shutdown), [stop(1)]);
    assert_eq!([2, 0].map(|child| scene.backoff_over(child)), [[], []], "nobody returns"); // R10
    assert_eq!(scene.exit(1), [Action::Finish]);
    assert_eq!([2, 0].map(|child| scene.backoff_over(child)), [[], []]);
}

#[test]
fn a_child_that_is_being_started_is_stopped_once_it_runs() {
    let mut scene = Scene::new(POLICY, 2);
    scene.exit(1);
    scene.backoff_over(1);
    assert_eq!(scene.on(Event::Shutdown), [], "the start cannot be called back"); // R10
    assert_eq!(scene.started(1), [Action::Stop { child: 1, incarnation: 2 }]);
    assert_eq!([1, 0].map(|child| scene.exit(child)), [[stop(0)], [Action::Finish]]);
}

#[test]
fn a_start_that_fails_during_the_shutdown_does_not_stop_it() {
    let mut scene = Scene::new(POLICY, 2);
    scene.exit(1);
    scene.backoff_over(1);
    scene.on(Event::Shutdown);
    assert_eq!(scene.exit(1), [stop(0)]); // R10
}

#[test]
fn who_does_not_end_in_time_is_killed_and_at_last_left_behind() {
    let mut scene = Scene::new(POLICY, 2);
    scene.on(Event::Shutdown);
    assert_eq!(scene.overdue(1), [Action::Kill { child: 1, incarnation: 1 }]); // P2
    assert_eq!(scene.overdue(1), [Action::Abandon { child: 1 }, stop(0)]); // B9
    assert!(scene.is_gone(1));
    assert_eq!(scene.overdue(1), []);
    assert_eq!(scene.overdue(0), [Action::Kill { child: 0, incarnation: 1 }]);
    assert_eq!(scene.exit(0), [Action::Finish]);
    assert_eq!(scene.exit(1), [], "even if it comes to its end after all");
}

#[test]
fn a_crash_during_the_shutdown_restarts_nobody() {
    let mut scene = Scene::new(RestartPolicy { restarts: 0, ..POLICY }, 3);
    scene.on(Event::Shutdown);
    assert_eq!(scene.exit(0), [], "the last one is still ending"); // P4
    assert_eq!(scene.exit(2), [stop(1)]);
    assert_eq!(scene.exit(1), [Action::Finish]);
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

/// How many looks at children it takes to decide on the end of so many, the last one first.
fn looks(children: usize, stop_together: bool) -> usize {
    let mut scene = Scene::new(RestartPolicy { stop_together, ..POLICY }, children);
    count::during(|| {
        let mut asked = scene.on(Event::Shutdown).len();
        for child in (0..children as Id).rev() {
            asked += scene.exit(child).len();
        }
        assert_eq!(asked, children + 1, "each is asked once, and then it is finished");
    })
}

#[test]
fn what_it_takes_to_end_a_child_does_not_grow_with_the_number_of_its_siblings() {
    for stop_together in [true, false] {
        let (few, many) = (looks(50, stop_together), looks(5000, stop_together));
        assert!(few >= 50, "nobody was looked at");
        assert!(many <= 100 * few, "from 50 to 5000: {few} looks, then {many}"); // A4
    }
}

#[test]
fn a_child_that_starts_while_all_stop_together_is_asked_as_soon_as_it_runs() {
    let together = RestartPolicy { stop_together: true, ..PATIENT };
    let mut scene = Scene::new(together, 3);
    scene.exit(0);
    scene.backoff_over(0);
    assert_eq!(scene.on(Event::Shutdown), [stop(2), stop(1)]);
    assert_eq!(scene.started(0), [Action::Stop { child: 0, incarnation: 2 }]); // P7, R10
    assert_eq!([2, 0, 1].map(|child| scene.exit(child)), [vec![], vec![], vec![Action::Finish]]);
}
