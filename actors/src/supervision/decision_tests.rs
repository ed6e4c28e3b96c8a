//! Proves what a supervisor decides: whom it restarts, when it gives up, and in which order it ends. Groups, types
//! of restart and operators are in `strategy_tests`, whatever else can happen in `model_tests`.

use proptest::{
    collection::vec,
    prelude::{prop_assert, proptest},
};

use super::*;
use crate::backoff::{Backoff, Jitter};

pub(super) const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);

/// Backoffs of 1, 2, 4 and then always 5 s, forgotten after 10 s; gives up at the fourth crash within 60 s.
pub(super) const POLICY: RestartPolicy = RestartPolicy {
    strategy: Strategy::OneForOne,
    restarts: 3,
    within: Duration::from_secs(60),
    backoff: Backoff { min: SECOND, max: Duration::from_secs(5), jitter: Jitter::Spread(0.0) },
    reset_after: Duration::from_secs(10),
    in_a_row: None,
    auto_shutdown: AutoShutdown::Never,
    stop_together: false,
};
pub(super) const PATIENT: RestartPolicy = RestartPolicy { restarts: usize::MAX, ..POLICY };

/// A supervisor and the time of its next event.
pub(super) struct Scene {
    pub(super) decision: Decision,
    pub(super) now: Instant,
    /// Those that were said to stay down.
    pub(super) down: Vec<Id>,
}

impl Scene {
    /// Its children are in life 1.
    pub(super) fn new(policy: RestartPolicy, children: usize) -> Self {
        Self::of(policy, &vec![Role::default(); children])
    }

    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    pub(super) fn of(policy: RestartPolicy, roles: &[Role]) -> Self {
        let (now, mut decision) = (Instant::now(), Decision::new(policy));
        for (n, role) in roles.iter().enumerate() {
            assert_eq!(decision.adopt(*role, 1, Some(now)), n as Id);
        }
        Self { decision, now, down: Vec::new() }
    }

    /// What is to be done, but for saying who stays down.
    pub(super) fn on(&mut self, event: Event) -> Vec<Action> {
        let (down, to_do) = self
            .decision
            .on(event, self.now, 0.5)
            .into_iter()
            .partition(|action| matches!(action, Action::StayDown { .. }));
        let down: Vec<Action> = down;
        self.down.extend(down.into_iter().map(|action| match action {
            Action::StayDown { child } => child,
            other => unreachable!("{other:?}"),
        }));
        to_do
    }

    pub(super) fn life(&self, child: Id) -> u64 {
        self.decision.incarnation(child).unwrap()
    }

    pub(super) fn ends(&mut self, child: Id, ending: Ending) -> Vec<Action> {
        self.on(Event::Exited { child, incarnation: self.life(child), ending })
    }

    fn is_gone(&self, child: Id) -> bool {
        self.down.contains(&child)
    }

    pub(super) fn exit(&mut self, child: Id) -> Vec<Action> {
        self.ends(child, Ending::Abnormal)
    }

    pub(super) fn started(&mut self, child: Id) -> Vec<Action> {
        self.on(Event::Started { child, incarnation: self.life(child) })
    }

    pub(super) fn overdue(&mut self, child: Id) -> Vec<Action> {
        self.on(Event::Overdue { child, incarnation: self.life(child) })
    }

    pub(super) fn backoff_over(&mut self, child: Id) -> Vec<Action> {
        self.on(Event::BackoffOver { child, incarnation: self.life(child) })
    }

    /// Lets a child crash and return at once; tells how long its backoff was to be.
    fn crash_and_return(&mut self, child: Id) -> Duration {
        let delay = match self.exit(child)[..] {
            [Action::AwaitBackoff { delay, .. }] => delay,
            ref other => panic!("no restart but {other:?}"),
        };
        self.backoff_over(child);
        assert_eq!(self.started(child), []);
        delay
    }

    fn whole(&self) -> String {
        format!("{:?}", self.decision)
    }
}

pub(super) fn stop(child: Id) -> Action {
    Action::Stop { child, incarnation: 1 }
}

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

#[test]
fn a_shutdown_stops_all_in_reverse_one_at_a_time() {
    let mut scene = Scene::new(POLICY, 3);
    assert_eq!(scene.on(Event::Shutdown), [stop(2)]);
    assert_eq!(scene.on(Event::Shutdown), [], "once is enough");
    assert_eq!([2, 1, 0].map(|child| scene.exit(child)), [[stop(1)], [stop(0)], [Action::Finish]]); // P5
    assert!([0, 1, 2].iter().all(|child| scene.is_gone(*child)));
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

fn exited(child: Id, incarnation: u64) -> Event {
    Event::Exited { child, incarnation, ending: Ending::Abnormal }
}

proptest! {
    #[test]
    fn no_window_holds_more_restarts_than_allowed(
        crashes in vec((0u64..3, 0u64..40_000), 1..60),
    ) {
        let mut scene = Scene::new(POLICY, 3);
        let mut restarts: Vec<Instant> = Vec::new();
        for (child, pause) in crashes {
            scene.now += Duration::from_millis(pause);
            if !matches!(scene.exit(child)[..], [Action::AwaitBackoff { .. }]) {
                break;
            }
            restarts.push(scene.now);
            scene.backoff_over(child);
            scene.started(child);
        }
        for many in restarts.windows(POLICY.restarts + 1) {
            prop_assert!(many[POLICY.restarts] - many[0] >= POLICY.within); // R1
        }
    }
}
