//! Proves of every chain and every way its targets may answer: the cap, the order, the lanes and the waits hold.

use proptest::{collection::vec, prelude::*};

use super::{
    tests::{policy, said},
    *,
};
use crate::error::ErrorKind::{
    Auth, BadRequest, ContentFiltered, ContextTooLong, NotFound, RateLimited, ServerError,
};
use Answer::{Fails, Refuses};
use Step::{GiveUp, Insist, Try, Wait};

/// How a target takes being asked.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Refuses {
        soft: bool,
    },
    /// It may say whether to come back, and when.
    Fails(Class, Option<Duration>),
}

fn answer() -> impl Strategy<Value = Answer> {
    let kind = prop_oneof![
        6 => prop::sample::select(vec![ServerError, RateLimited]),
        2 => prop::sample::select(vec![Auth, NotFound]),
        2 => prop::sample::select(vec![ContextTooLong, ContentFiltered]),
        1 => Just(BadRequest),
    ];
    let hint = prop::option::of((0u64..12_000).prop_map(Duration::from_millis));
    let retry = prop_oneof![5 => Just(None), 1 => any::<bool>().prop_map(Some)];
    prop_oneof![
        3 => any::<bool>().prop_map(|soft| Refuses { soft }),
        7 => (kind, retry, hint).prop_map(|(kind, retry, hint)| {
            Fails(retry.map_or(kind.class(), |retry| said(kind, retry)), hint)
        }),
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
                    (Try(target) | Insist(target), Fails(class, hint)) => plan.failed(target, class, hint),
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

    /// The failures, each with its place in the story and its target.
    fn failures(&self) -> Vec<(usize, usize, Class, Duration)> {
        let failure = |(at, (step, answer)): (usize, &(Step, Answer))| match (asks(*step), answer) {
            (Some(target), Fails(class, hint)) => Some((at, target, *class, hint.unwrap_or_default())),
            _ => None,
        };
        self.steps.iter().enumerate().filter_map(failure).collect()
    }

    /// Whom the call may ask when it takes this step: a lane, or one alone.
    fn meant_at(&self, at: usize) -> (Lane, Option<usize>) {
        let failures = self.failures().into_iter().take_while(|failure| failure.0 < at);
        failures.fold((Lane::Usual, None), |(lane, only), (_, target, class, _)| {
            let named = match class.fall_over {
                FallOver::Yes => return (lane, only),
                FallOver::No => None,
                FallOver::LargerContext => Some(Lane::LargerContext),
                FallOver::IfAllowed => Some(Lane::Filtered),
            };
            let named = named.filter(|named| lane == Lane::Usual && !self.of_lane(*named).is_empty());
            named.map_or((lane, Some(target)), |named| (named, None))
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
            let (lane, only) = story.meant_at(wait);
            let mut asked = tried(&story.steps[..wait]);
            asked.retain(|target| story.lanes[*target] == lane);
            asked.sort_unstable();
            prop_assert!(only.is_some() || asked == story.of_lane(lane), "{asked:?}");
        }
    }

    #[test]
    fn only_who_the_last_failure_left_to_ask_is_asked(story in story()) {
        for (at, (step, _)) in story.steps.iter().enumerate() {
            if let Some(target) = asks(*step) {
                let (lane, only) = story.meant_at(at);
                prop_assert!(only.map_or(story.lanes[target] == lane, |only| only == target)); // PC4
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
                let same = story.meant_at(at + later) == story.meant_at(at);
                prop_assert!(!matches!(step, Try(_)) || !same, "a turn came too late");
            }
        }
    }

    #[test]
    fn nobody_is_asked_too_early_or_after_it_failed_for_good(story in story()) {
        for (at, target, class, hint) in story.failures() {
            let later = &story.steps[at + 1..];
            if !class.retry && story.meant_at(at + 1).1.is_some() {
                prop_assert_eq!(later.first().map(|(step, _)| *step), Some(GiveUp)); // PC4
            }
            if let Some(again) = later.iter().position(|(step, _)| asks(*step) == Some(target)) {
                prop_assert!(class.retry, "{}", class.code);
                prop_assert!(Story::waited(&later[..again]) >= hint); // PC13
            }
        }
    }
}
