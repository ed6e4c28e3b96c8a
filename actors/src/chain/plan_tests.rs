//! Proves whom a call asks, how often and in which order, and what it waits for: cap, retries, hints and
//! refusals together decide how much load an outage makes.

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    error::ErrorKind,
};
use ErrorKind::{Auth, BadRequest, ContentFiltered, ContextTooLong, RateLimited, ServerError};
use Step::{GiveUp, Insist, Try, Wait};

const SECOND: Duration = Duration::from_secs(1);

/// Waits 1, 2, 4 and then always 8 s.
pub(super) fn policy(retries: u32, max_attempts: u32) -> ChainPolicy {
    let backoff = Backoff { min: SECOND, max: 8 * SECOND, jitter: Jitter::Spread(0.0) };
    ChainPolicy { retries, backoff, max_attempts }
}

/// So many targets, each asked whenever those before it failed.
fn lanes(targets: usize) -> Vec<Lane> {
    vec![Lane::Usual; targets]
}

fn plan(retries: u32, max_attempts: u32, targets: usize) -> Plan {
    Plan::new(policy(retries, max_attempts), lanes(targets))
}

impl Plan {
    pub(super) fn step(&mut self) -> Step {
        self.next(|| 0.5)
    }

    /// The next step, and if it is to ask someone, this is how it ends.
    fn step_failing(&mut self, kind: ErrorKind) -> Step {
        let step = self.step();
        if let Try(target) = step {
            self.failed(target, kind.class(), None);
        }
        step
    }

    /// All steps of a call whose attempts all fail like this.
    fn steps_failing(&mut self, kind: ErrorKind) -> Vec<Step> {
        let mut steps = vec![self.step_failing(kind)];
        while steps.last() != Some(&GiveUp) {
            assert!(steps.len() < 1000, "a call without an end");
            steps.push(self.step_failing(kind));
        }
        steps
    }
}

#[test]
fn targets_are_asked_in_order_and_each_once_before_any_wait() {
    let steps = plan(1, 100, 3).steps_failing(ServerError);
    assert_eq!(steps, [Try(0), Try(1), Try(2), Wait(SECOND), Try(0), Try(1), Try(2), GiveUp]);
}

#[test]
fn failing_over_draws_no_chance_and_never_waits() {
    let mut plan = plan(2, 100, 5);
    for target in 0..5 {
        let step = plan.next(|| panic!("a delay was drawn"));
        assert_eq!(step, Try(target)); // RS1
        plan.failed(target, ServerError.class(), Some(SECOND));
    }
}

#[test]
fn a_failure_that_nobody_else_could_help_ends_the_call() {
    for kind in ErrorKind::ALL {
        let mut plan = plan(2, 100, 2);
        assert_eq!(plan.step_failing(kind), Try(0));
        let next = if kind.class().fall_over == FallOver::Yes { Try(1) } else { GiveUp };
        assert_eq!(plan.step(), next, "{kind}"); // PC4
    }
}

#[test]
fn only_what_may_be_retried_is_asked_again() {
    for kind in ErrorKind::ALL {
        let steps = plan(1, 100, 1).steps_failing(kind);
        let retried = [Try(0), Wait(SECOND), Try(0), GiveUp];
        let expected = if kind.class().retry { &retried[..] } else { &[Try(0), GiveUp] };
        assert_eq!(steps, expected, "{kind}");
    }
}

/// What a failure means, if the provider says whether to try again.
pub(super) fn said(kind: ErrorKind, retry: bool) -> Class {
    Class { retry, ..kind.class() }
}

#[test]
fn who_asks_to_be_asked_again_is_whatever_the_failure_and_as_often_as_the_chain_lets_it() {
    for kind in ErrorKind::ALL {
        for (retries, max_attempts) in [(0, 9), (1, 9), (3, 9), (9, 1), (9, 3)] {
            let mut plan = plan(retries, max_attempts, 1);
            let mut attempts = 0;
            while plan.step() == Try(0) {
                plan.failed(0, said(kind, true), None);
                attempts += 1;
                let waits = attempts <= retries && attempts < max_attempts;
                assert_eq!(matches!(plan.step(), Wait(_)), waits, "{kind}");
            }
            assert_eq!(attempts, max_attempts.min(retries + 1), "{kind}"); // PC13, PC14
        }
    }
}

#[test]
fn what_others_would_answer_alike_is_asked_again_of_its_own_target_alone() {
    for kind in [BadRequest, ContextTooLong, ContentFiltered] {
        let mut plan = plan(2, 100, 3);
        assert_eq!(plan.step(), Try(0));
        plan.failed(0, said(kind, true), None);
        assert_eq!([plan.step(), plan.step()], [Wait(SECOND), Try(0)], "{kind}"); // PC4, PC13
        plan.failed(0, ServerError.class(), None);
        assert_eq!([plan.step(), plan.step()], [Wait(2 * SECOND), Try(0)], "{kind}");
    }
}

#[test]
fn a_lane_of_its_own_is_asked_before_anybody_is_asked_again() {
    let mut plan = Plan::new(policy(1, 100), [Lane::Usual, Lane::Filtered]);
    assert_eq!(plan.step(), Try(0));
    plan.failed(0, said(ContentFiltered, true), None);
    assert_eq!(plan.step(), Try(1)); // PC4
}

#[test]
fn who_asks_not_to_be_asked_again_is_not_and_the_next_one_is() {
    for kind in ErrorKind::ALL.into_iter().filter(|kind| kind.class().fall_over == FallOver::Yes) {
        let mut plan = plan(2, 100, 2);
        assert_eq!(plan.step(), Try(0));
        plan.failed(0, said(kind, false), None);
        let steps = [(); 4].map(|()| plan.step_failing(ServerError));
        assert_eq!(steps, [Try(1), Wait(SECOND), Try(1), Wait(2 * SECOND)], "{kind}"); // PC13
    }
}

#[test]
fn a_retry_that_fails_for_good_is_the_last_one_of_its_target() {
    let mut plan = plan(5, 100, 2);
    let steps = [ServerError, ServerError, ServerError, Auth, ServerError, ServerError, ServerError]
        .map(|kind| plan.step_failing(kind));
    assert_eq!(steps, [Try(0), Try(1), Wait(SECOND), Try(0), Try(1), Wait(2 * SECOND), Try(1)]);
}

#[test]
fn waits_double_up_to_the_longest_and_there_is_one_for_each_retry() {
    let steps = plan(5, 100, 1).steps_failing(ServerError);
    let waits: Vec<_> = steps.into_iter().filter(|step| matches!(step, Wait(_))).collect();
    assert_eq!(waits, [1, 2, 4, 8, 8].map(|seconds| Wait(seconds * SECOND)));
}

#[test]
fn chance_spreads_a_wait() {
    for (chance, millis) in [(0.0, 0), (0.25, 250), (0.5, 500)] {
        let backoff = Backoff { jitter: Jitter::Full, ..policy(1, 4).backoff };
        let mut plan = Plan::new(ChainPolicy { backoff, ..policy(1, 4) }, lanes(1));
        plan.step_failing(ServerError);
        assert_eq!(plan.next(|| chance), Wait(Duration::from_millis(millis)));
    }
}

#[test]
fn the_cap_holds_at_every_size_and_nobody_waits_for_an_attempt_beyond_it() {
    for cap in 1..10 {
        let steps = plan(100, cap, 3).steps_failing(ServerError);
        let attempts = steps.iter().filter(|step| matches!(step, Try(_))).count();
        assert_eq!(attempts, cap as usize); // PC14
        assert!(matches!(steps[..], [.., Try(_), GiveUp]), "{steps:?}");
    }
}

#[test]
fn a_call_makes_at_most_four_attempts_by_default() {
    let steps = Plan::new(ChainPolicy::default(), lanes(3)).steps_failing(ServerError);
    assert_eq!(steps.iter().filter(|step| matches!(step, Try(_))).count(), 4); // PC14
}

#[test]
fn who_refuses_costs_no_attempt_and_is_not_waited_for() {
    let mut plan = plan(2, 1, 3);
    // Nobody is said to have failed: all three refused.
    assert_eq!([(); 4].map(|()| plan.step()), [Try(0), Try(1), Try(2), GiveUp]);
}

#[test]
fn who_refused_has_its_turn_again_once_another_was_waited_for() {
    let mut plan = plan(1, 100, 2);
    assert_eq!(plan.step(), Try(0));
    assert_eq!([(); 4].map(|()| plan.step_failing(ServerError)), [Try(1), Wait(SECOND), Try(0), Try(1)]);
}

#[test]
fn who_failed_first_and_now_refuses_is_not_waited_for_either() {
    let mut plan = plan(2, 100, 1);
    assert_eq!(plan.step_failing(ServerError), Try(0));
    assert_eq!(plan.step(), Wait(SECOND));
    assert_eq!(plan.step(), Try(0));
    assert_eq!(plan.step(), GiveUp);
}

#[test]
fn a_wait_is_never_shorter_than_the_hint() {
    let table = [(0, 1), (1, 1), (3, 3), (8, 8)];
    for (hint, seconds) in table {
        let mut plan = plan(1, 100, 1);
        assert_eq!(plan.step(), Try(0));
        plan.failed(0, RateLimited.class(), Some(hint * SECOND));
        assert_eq!(plan.step(), Wait(seconds * SECOND), "{hint} s"); // PC13
    }
}

#[test]
fn who_asks_for_more_than_the_longest_wait_is_left_to_the_next_call() {
    let mut alone = plan(1, 100, 1);
    alone.step();
    alone.failed(0, RateLimited.class(), Some(8 * SECOND + Duration::from_nanos(1)));
    assert_eq!(alone.step(), GiveUp);

    let mut two = plan(1, 100, 2);
    two.step();
    two.failed(0, RateLimited.class(), Some(60 * SECOND));
    assert_eq!([(); 4].map(|()| two.step_failing(ServerError)), [Try(1), Wait(SECOND), Try(1), GiveUp]);
}

#[test]
fn nobody_is_asked_again_before_its_own_hint_is_over() {
    let mut plan = plan(2, 100, 2);
    plan.step();
    plan.failed(0, RateLimited.class(), Some(5 * SECOND));
    let steps = [(); 8].map(|()| plan.step_failing(ServerError));
    // The other one is asked after 1 s and after another 2 s; the 2 s left of the hint are less than the
    // backoff by then.
    let (first, second, third) = (Wait(SECOND), Wait(2 * SECOND), Wait(4 * SECOND));
    assert_eq!(steps, [Try(1), first, Try(1), second, Try(1), third, Try(0), Wait(8 * SECOND)]); // PC13
}

#[test]
fn the_first_one_is_asked_before_all_others_and_once() {
    let mut plan = plan(1, 100, 3).first(Some(1));
    let steps = plan.steps_failing(ServerError);
    assert_eq!(steps, [Try(1), Try(0), Try(2), Wait(SECOND), Try(0), Try(1), Try(2), GiveUp]);
}

#[test]
fn without_targets_there_is_nobody_to_ask() {
    assert_eq!(plan(2, 4, 0).step(), GiveUp);
}

#[test]
fn who_may_give_in_is_asked_insistently_once_after_all_turns_and_before_any_wait() {
    let mut plan = plan(1, 100, 3);
    assert_eq!(plan.step(), Try(0));
    plan.refused(0, true);
    assert_eq!(plan.step_failing(ServerError), Try(1));
    assert_eq!(plan.step(), Try(2));
    plan.refused(2, false);
    assert_eq!(plan.step(), Insist(0));
    plan.refused(0, true);
    assert_eq!(plan.step(), Wait(SECOND));
    assert_eq!(plan.step(), Try(0));
    plan.refused(0, true);
    assert_eq!([(); 3].map(|()| plan.step_failing(ServerError)), [Try(1), Try(2), Wait(2 * SECOND)]);
}

#[test]
fn who_gave_in_and_failed_is_tried_again_like_any_other() {
    let mut plan = plan(1, 100, 1);
    assert_eq!(plan.step(), Try(0));
    plan.refused(0, true);
    assert_eq!(plan.step(), Insist(0));
    plan.failed(0, ServerError.class(), None);
    assert_eq!([(); 3].map(|()| plan.step_failing(ServerError)), [Wait(SECOND), Try(0), GiveUp]);
}

#[test]
fn nobody_insists_beyond_the_cap_or_in_a_lane_that_was_left() {
    let mut capped = plan(0, 1, 2);
    assert_eq!(capped.step(), Try(0));
    capped.refused(0, true);
    assert_eq!([(); 2].map(|()| capped.step_failing(ServerError)), [Try(1), GiveUp]); // PC14

    let mut left = Plan::new(policy(0, 100), [Lane::Usual, Lane::Usual, Lane::Filtered]);
    assert_eq!(left.step(), Try(0));
    left.refused(0, true);
    assert_eq!(left.step_failing(ContentFiltered), Try(1));
    assert_eq!([(); 2].map(|()| left.step_failing(ServerError)), [Try(2), GiveUp]); // PC4
}
