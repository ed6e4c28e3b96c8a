//! What failing over costs, and who is asked when a prompt is too long or was refused: real actors on virtual time.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    backoff::{Backoff, Jitter},
    error::FallOver,
    provider::policy::{BreakerPolicy, ProviderPolicy},
    system::{Aim, Supervised, SystemBuilder},
    testing::{Act, FakeProvider, VirtualClock, World, request, settle},
};
use ErrorKind::{BadRequest, ContentFiltered, ContextTooLong, ServerError, TooLarge};
use Lane::{Filtered, LargerContext, Usual};

const SECOND: Duration = Duration::from_secs(1);
pub(super) const ONCE: ChainPolicy = ChainPolicy { retries: 0, backoff: RETRY, max_attempts: 9 };
const AGAIN: ChainPolicy = ChainPolicy { retries: 2, ..ONCE };
const RETRY: Backoff = Backoff { min: Duration::from_millis(1), max: SECOND, jitter: Jitter::Full };

/// Providers `a`, `b`, … in one chain, each in its lane.
pub(super) struct Lanes {
    pub(super) tree: Supervised,
    pub(super) fakes: Vec<Arc<FakeProvider>>,
}

impl Lanes {
    pub(super) async fn start(lanes: &[Lane], policy: ProviderPolicy, chain: ChainPolicy) -> Self {
        let mut builder = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
        let fakes: Vec<Arc<FakeProvider>> = lanes.iter().map(|_| Arc::default()).collect();
        for (name, fake) in NAMES.iter().zip(&fakes) {
            builder.provider(name, fake.clone(), policy).unwrap();
        }
        let aim = |(provider, lane): (&&'static str, &Lane)| Aim { provider, model: "m", lane: *lane };
        builder.chain("chat", NAMES.iter().zip(lanes).map(aim), chain).unwrap();
        Self { tree: builder.start(|_| Ok(Vec::new())).await.unwrap(), fakes }
    }

    async fn call(&self) -> Result<String, CallError> {
        let answer = self.tree.system().chain("chat").unwrap().call(request()).await;
        answer.map(|reply| reply.story.provider.to_string())
    }

    pub(super) fn asked(&self) -> Vec<u64> {
        self.fakes.iter().map(|fake| fake.calls()).collect()
    }

    fn fail(&self, kinds: &[ErrorKind]) {
        self.fakes.iter().zip(kinds).for_each(|(fake, kind)| fake.set(Act::Fail(*kind)));
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

async fn four_lanes() -> Lanes {
    Lanes::start(&[Usual, Usual, LargerContext, Filtered], ProviderPolicy::default(), ONCE).await
}

#[tokio::test(start_paused = true)]
async fn while_a_is_known_to_be_out_a_call_reaches_b_at_the_same_instant() {
    type Breaks = fn(&World);
    let ways: [(ErrorKind, Breaks); 4] = [
        (ErrorKind::CircuitOpen, |world| world.fakes[0].set(Act::Fail(ServerError))),
        (ErrorKind::CircuitOpen, |world| world.fakes[0].set(Act::Fail(ErrorKind::Connect))),
        (ErrorKind::Isolated, |world| world.desk(0).isolate(None, "the test wants it")),
        (ErrorKind::Isolated, |world| world.fakes[0].set(Act::Fail(ErrorKind::Auth))),
    ];
    for (kind, breaks) in ways {
        let world = World::start(1, 2, ProviderPolicy::default(), ONCE).await.unwrap();
        breaks(&world);
        settle().await;
        for _ in 0..5 {
            world.chat().call(request()).await.unwrap();
            settle().await;
        }
        assert!(!world.desk(0).is_usable(), "{kind}");
        let (since, asked) = (world.system().commons().now(), world.fakes[0].calls());
        let story = world.chat().call(request()).await.unwrap().story;
        let stream = world.chat().stream(request()).await.unwrap();
        assert_eq!(world.system().commons().now(), since, "{kind}"); // RS1
        assert_eq!((&*story.provider, &*stream.story.provider), ("b", "b"));
        assert_eq!((story.failed[0].kind, world.fakes[0].calls()), (kind, asked));
    }
}

#[tokio::test(start_paused = true)]
async fn the_declared_classes_go_to_their_own_targets_and_to_nobody_else() {
    let table = [(ContextTooLong, "c", [1, 0, 1, 0]), (ContentFiltered, "d", [1, 0, 0, 1])];
    for (kind, by, asked) in table {
        let lanes = four_lanes().await;
        lanes.fail(&[kind]);
        assert_eq!((lanes.call().await.unwrap().as_str(), lanes.asked()), (by, asked.to_vec()), "{kind}"); // PC4
    }
}

#[tokio::test(start_paused = true)]
async fn no_other_failure_reaches_the_targets_of_the_declared_classes() {
    for kind in ErrorKind::ALL {
        let lanes = four_lanes().await;
        lanes.fail(&[kind, kind]);
        let (answer, asked) = (lanes.call().await, lanes.asked());
        match kind.class().fall_over {
            FallOver::Yes => assert_eq!((answer.unwrap_err().kind, asked), (kind, vec![1, 1, 0, 0])),
            FallOver::No => assert_eq!((answer.unwrap_err().kind, asked), (kind, vec![1, 0, 0, 0])),
            FallOver::LargerContext => assert_eq!(asked, [1, 0, 1, 0]),
            FallOver::IfAllowed => assert_eq!(asked, [1, 0, 0, 1]), // PC4
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_targets_of_its_own_a_declared_class_ends_with_the_provider_s_answer() {
    for kind in [ContextTooLong, ContentFiltered, BadRequest, TooLarge] {
        let lanes = Lanes::start(&[Usual, Usual], ProviderPolicy::default(), ONCE).await;
        for fake in &lanes.fakes {
            fake.set(Act::Fail(kind));
        }
        for _ in 0..10 {
            let error = lanes.call().await.unwrap_err();
            let own = error.upstream.as_ref().map(|own| own.kind);
            assert_eq!((error.kind, own, error.attempts_made()), (kind, Some(kind), 1)); // PC4
        }
        settle().await;
        assert_eq!(lanes.asked(), [10, 0], "{kind}");
        assert!(lanes.tree.system().provider("a").unwrap().is_usable(), "{kind} blames nobody"); // PC4
    }
}

#[tokio::test(start_paused = true)]
async fn whether_to_ask_again_is_what_the_provider_says() {
    use ErrorKind::{Conflict, ServerError as Failed, Unsupported};
    let table = [
        (BadRequest, true, "a", [2, 0]),
        (ContextTooLong, true, "a", [2, 0]),
        (TooLarge, true, "a", [2, 0]),
        (Failed, false, "b", [1, 1]),
        (Conflict, false, "b", [1, 1]),
        (Unsupported, true, "b", [1, 1]),
    ];
    for (kind, retry, by, asked) in table {
        let lanes = Lanes::start(&[Usual, Usual], ProviderPolicy::default(), AGAIN).await;
        lanes.fakes[0].next([Act::Advise(kind, retry)]);
        assert_eq!((lanes.call().await.unwrap().as_str(), lanes.asked()), (by, asked.to_vec()), "{kind}"); // PC13
    }
    for (retry, attempts) in [(true, 3), (false, 1)] {
        let lanes = Lanes::start(&[Usual], ProviderPolicy::default(), AGAIN).await;
        lanes.fakes[0].set(Act::Advise(BadRequest, retry));
        let error = lanes.call().await.unwrap_err();
        assert_eq!(
            (error.kind, error.attempts_made(), lanes.asked()),
            (BadRequest, attempts, vec![attempts as u64])
        );
        assert!(error.upstream.is_some(), "it is the provider's own verdict all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_be_asked_again_waits_for_no_one_s_deadline_and_spends_no_more_than_the_budget() {
    let lanes = Lanes::start(&[Usual], ProviderPolicy::default(), AGAIN).await;
    lanes.fakes[0].set(Act::Advise(BadRequest, true));
    let retries = |calls: u64| lanes.asked()[0] - calls;
    for calls in 1..=10 {
        lanes.call().await.unwrap_err();
        assert!(retries(calls) <= 4, "{calls} calls"); // PC15
    }
    assert!(retries(10) >= 3, "what the budget gives is used");

    let slow = Backoff { min: SECOND, max: SECOND, jitter: Jitter::Spread(0.0) };
    let lanes =
        Lanes::start(&[Usual], ProviderPolicy::default(), ChainPolicy { backoff: slow, ..AGAIN }).await;
    lanes.fakes[0].set(Act::Advise(BadRequest, true));
    let chat = lanes.tree.system().chain("chat").unwrap();
    chat.call(request().timeout(SECOND / 2)).await.unwrap_err();
    assert_eq!(lanes.asked(), [1], "nobody waits for a retry that comes too late"); // PC16
}

#[tokio::test(start_paused = true)]
async fn in_their_own_targets_calls_fail_over_and_never_go_back_or_to_another_lane() {
    let larger = [Usual, LargerContext, LargerContext, Filtered];
    let table = [
        ([ContextTooLong, ServerError, ServerError, ServerError], ServerError, [1, 1, 1, 0]),
        ([ContextTooLong, ContextTooLong, ServerError, ServerError], ContextTooLong, [1, 1, 0, 0]),
        ([ContextTooLong, ContentFiltered, ServerError, ServerError], ContentFiltered, [1, 1, 0, 0]),
    ];
    for (kinds, ends, asked) in table {
        let lanes = Lanes::start(&larger, ProviderPolicy::default(), ONCE).await;
        lanes.fail(&kinds);
        assert_eq!((lanes.call().await.unwrap_err().kind, lanes.asked()), (ends, asked.to_vec())); // PC4
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_over_all_lanes() {
    for max_attempts in 1..=8 {
        let policy = ChainPolicy { retries: 9, max_attempts, ..ONCE };
        let free = ProviderPolicy { breaker: None, budget: None, ..ProviderPolicy::default() };
        let lanes = Lanes::start(&[Usual, Usual, LargerContext, LargerContext], free, policy).await;
        lanes.fail(&[ServerError, ContextTooLong, ServerError, ErrorKind::Reset]);
        let error = lanes.call().await.unwrap_err();
        let asked: u64 = lanes.asked().iter().sum();
        assert_eq!((asked, error.attempts_made() as u64), (max_attempts.into(), max_attempts.into())); // PC14
    }
}

#[tokio::test(start_paused = true)]
async fn who_insists_in_vain_ends_at_once_although_the_provider_would_give_in_later() {
    let slow = crate::provider::limiter::LimitPolicy {
        requests: Some((1, SECOND)),
        ..crate::provider::limiter::LimitPolicy::default()
    };
    let breaker = BreakerPolicy { slow: None, ..BreakerPolicy::default() };
    let policy = ProviderPolicy { limits: Some(slow), breaker: Some(breaker), ..ProviderPolicy::default() };
    let world = World::start(1, 1, policy, ONCE).await.unwrap();
    world.chat().call(request()).await.unwrap();
    let since = world.system().commons().now();
    let hurried = request().timeout(SECOND / 2);
    assert_eq!(world.chat().call(hurried).await.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(world.system().commons().now(), since);
    world.chat().call(request()).await.unwrap();
    assert_eq!(world.fakes[0].calls(), 2, "who has the time waits");
}
