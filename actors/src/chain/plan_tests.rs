//! Proves whom a call asks, how often and in which order, and what it waits for: cap, retries, hints and
//! refusals together decide how much load an outage makes.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    error::ErrorKind,
};
use Answer::{Fails, Refuses};
use ErrorKind::{Auth, BadRequest, ContentFiltered, ContextTooLong, NotFound, RateLimited, ServerError};
use Step::{GiveUp, Insist, Try, Wait};

const SECOND: Duration = Duration::from_secs(1);

/// Waits 1, 2, 4 and then always 8 s.
fn policy(retries: u32, max_attempts: u32) -> ChainPolicy {
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
    fn step(&mut self) -> Step {
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

/// How a target takes being asked.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Refuses {
        soft: bool,
    },
    /// It may say when to come back.
    Fails(ErrorKind, Option<Duration>),
}

fn answer() -> impl Strategy<Value = Answer> {
    let kind = prop_oneof![
        6 => prop::sample::select(vec![ServerError, RateLimited]),
        2 => prop::sample::select(vec![Auth, NotFound]),
        2 => prop::sample::select(vec![ContextTooLong, ContentFiltered]),
        1 => Just(BadRequest),
    ];
    let hint = prop::option::of((0u64..12_000).prop_map(Duration::from_millis));
    prop_oneof![
        3 => any::<bool>().prop_map(|soft| Refuses { soft }),
        7 => (kind, hint).prop_map(|(kind, hint)| Fails(kind, hint)),
    ]
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![3 => Just(Lane::Usual), 1 => Just(Lane::LargerContext), 1 => Just(Lane::Filtered)]
}

/// Everything that was ever decided in one call, and what it led to.
#[derive(Debug)]
struct Story {
    policy: ChainPolicy,
    lanes: Vec<Lane>,
    first: Option<usize>,
    steps: Vec<(Step, Answer)>,
}

/// Each step is answered by the next of `answers`, beginning anew when they are over.
fn story() -> impl Strategy<Value = Story> {
    let first = prop::option::of(any::<prop::sample::Index>());
    (0u32..5, 1u32..12, vec(lane(), 0..7), first, vec(answer(), 1..40)).prop_map(
        |(retries, max_attempts, lanes, first, answers)| {
            let usual: Vec<_> = (0..lanes.len()).filter(|target| lanes[*target] == Lane::Usual).collect();
            let first = first.filter(|_| !usual.is_empty()).map(|index| *index.get(&usual));
            let policy = policy(retries, max_attempts);
            let mut plan = Plan::new(policy, lanes.iter().copied()).first(first);
            let mut steps = Vec::new();
            for answer in answers.iter().cycle() {
                let step = plan.step();
                steps.push((step, *answer));
                match (step, *answer) {
                    (GiveUp, _) => break,
                    (Try(target) | Insist(target), Fails(kind, hint)) => {
                        plan.failed(target, kind.class(), hint)
                    }
                    (Try(target) | Insist(target), Refuses { soft }) => plan.refused(target, soft),
                    (Wait(_), _) => {}
                }
                assert!(steps.len() < 1000, "a call without an end: {steps:?}");
            }
            Story { policy, lanes, first, steps }
        },
    )
}

/// Whom a step asks.
fn asks(step: Step) -> Option<usize> {
    if let Try(target) | Insist(target) = step { Some(target) } else { None }
}

impl Story {
    fn waits(&self) -> usize {
        self.steps.iter().filter(|(step, _)| matches!(step, Wait(_))).count()
    }

    /// The failures, each with its target and its place in the story.
    fn failures(&self) -> Vec<(usize, usize, ErrorKind, Duration)> {
        let failure = |(at, (step, answer)): (usize, &(Step, Answer))| match (asks(*step), answer) {
            (Some(target), Fails(kind, hint)) => Some((at, target, *kind, hint.unwrap_or_default())),
            _ => None,
        };
        self.steps.iter().enumerate().filter_map(failure).collect()
    }

    /// In which lane the call is when it takes this step.
    fn lane_at(&self, at: usize) -> Lane {
        let failures = self.failures().into_iter().take_while(|failure| failure.0 < at);
        failures.fold(Lane::Usual, |lane, (_, _, kind, _)| match kind {
            ContextTooLong => Lane::LargerContext,
            ContentFiltered => Lane::Filtered,
            _ => lane,
        })
    }

    fn of_lane(&self, lane: Lane) -> Vec<usize> {
        (0..self.lanes.len()).filter(|target| self.lanes[*target] == lane).collect()
    }

    /// How long the call waits in these steps.
    fn waited(steps: &[(Step, Answer)]) -> Duration {
        steps.iter().map(|(step, _)| if let Wait(delay) = step { *delay } else { Duration::ZERO }).sum()
    }
}

fn tried(steps: &[(Step, Answer)]) -> Vec<usize> {
    steps.iter().filter_map(|(step, _)| if let Try(target) = step { Some(*target) } else { None }).collect()
}

proptest! {
    #[test]
    fn whatever_the_chain_and_its_answers_the_cap_and_the_retries_hold(story in story()) {
        let failures = story.failures();
        prop_assert!(failures.len() <= story.policy.max_attempts as usize); // PC14
        for target in 0..story.lanes.len() {
            let attempts = failures.iter().filter(|failure| failure.1 == target).count();
            prop_assert!(attempts <= 1 + story.policy.retries as usize);
        }
    }

    #[test]
    fn without_retries_nothing_is_waited_for_and_otherwise_less_often_than_asked(story in story()) {
        prop_assert!(story.policy.retries > 0 || story.waits() == 0);
        prop_assert!(story.waits() <= story.failures().len());
    }

    #[test]
    fn every_round_asks_each_lane_in_order_each_target_at_most_once_and_the_first_one_first(story in story()) {
        let rounds = story.steps.split(|(step, _)| matches!(step, Wait(_)));
        for (round, steps) in rounds.enumerate() {
            let tried = tried(steps);
            let (first, others) = match story.first {
                Some(first) if round == 0 => (Some(first), tried.get(1..).unwrap_or_default()),
                _ => (None, &tried[..]),
            };
            prop_assert!(first.is_none() || tried.first() == first.as_ref());
            prop_assert!(first.is_none_or(|first| !others.contains(&first)), "{:?}", tried);
            for lane in [Lane::Usual, Lane::LargerContext, Lane::Filtered] {
                let of_lane = others.iter().filter(|target| story.lanes[**target] == lane);
                prop_assert!(of_lane.is_sorted_by(|a, b| a < b), "{:?}", tried);
            }
        }
    }

    #[test]
    fn everybody_of_the_lane_has_been_asked_before_the_first_wait(story in story()) {
        if let Some(wait) = story.steps.iter().position(|(step, _)| matches!(step, Wait(_))) {
            let lane = story.lane_at(wait);
            let mut asked = tried(&story.steps[..wait]);
            asked.retain(|target| story.lanes[*target] == lane);
            asked.sort_unstable();
            prop_assert_eq!(asked, story.of_lane(lane));
        }
    }

    #[test]
    fn only_the_lane_that_the_last_declared_failure_named_is_asked(story in story()) {
        for (at, (step, _)) in story.steps.iter().enumerate() {
            if let Some(target) = asks(*step) {
                prop_assert_eq!(story.lanes[target], story.lane_at(at)); // PC4
            }
        }
    }

    #[test]
    fn who_gives_in_is_insisted_on_once_in_a_call_after_its_refusal_and_all_turns(story in story()) {
        let mut insisted = Vec::new();
        for (at, (step, _)) in story.steps.iter().enumerate() {
            let Insist(target) = *step else { continue };
            prop_assert!(!insisted.contains(&target));
            insisted.push(target);
            let mut before = story.steps[..at].iter().rev().take_while(|(step, _)| !matches!(step, Wait(_)));
            let answer = before.find(|(step, _)| *step == Try(target)).map(|(_, answer)| *answer);
            prop_assert!(matches!(answer, Some(Refuses { soft: true })), "{:?}", answer);
            let after = story.steps[at..].iter().enumerate();
            let after = after.take_while(|(_, (step, _))| !matches!(step, Wait(_)));
            for (later, (step, _)) in after {
                let same_lane = story.lane_at(at + later) == story.lane_at(at);
                prop_assert!(!matches!(step, Try(_)) || !same_lane, "a turn came too late");
            }
        }
    }

    #[test]
    fn nobody_is_asked_too_early_or_after_it_failed_for_good(story in story()) {
        for (at, target, kind, hint) in story.failures() {
            let later = &story.steps[at + 1..];
            let ends = match kind.class().fall_over {
                FallOver::Yes => false,
                FallOver::No => true,
                FallOver::LargerContext | FallOver::IfAllowed => story.lane_at(at) != Lane::Usual,
            };
            if ends {
                prop_assert_eq!(later.first().map(|(step, _)| *step), Some(GiveUp)); // PC4
            }
            if let Some(again) = later.iter().position(|(step, _)| asks(*step) == Some(target)) {
                prop_assert!(kind.class().retry, "{}", kind);
                prop_assert!(Story::waited(&later[..again]) >= hint); // PC13
            }
        }
    }
}
