//! Proves the limits: that no period ever holds more than they allow, that a call takes all or nothing, and what
//! is learnt from a provider and what is not.

use proptest::{collection::vec, prelude::*};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);
/// How late an amount may leave a minute.
const GRAIN: Duration = Duration::from_millis(938);
/// So many cuts leave every limit of the model above its largest call.
const REFUSALS: usize = 5;

/// A limiter and the time.
struct Scene {
    limiter: Limiter,
    start: Instant,
    now: Instant,
}

impl Scene {
    #[expect(clippy::disallowed_methods, reason = "a point to count from: the rule reads no clock")]
    fn new(policy: LimitPolicy) -> Self {
        policy.check().unwrap();
        let start = Instant::now();
        Self { limiter: Limiter::new(policy, start), start, now: start }
    }

    fn reserve(&mut self, input_tokens: u64, output_tokens: u64) -> Result<Reservation, Wait> {
        self.limiter.reserve(Demand { input_tokens, output_tokens }, self.now)
    }

    /// How many calls without tokens pass at once.
    fn calls(&mut self) -> usize {
        (0..10_000).take_while(|_| self.reserve(0, 0).is_ok()).count()
    }

    fn refused(&mut self, reservation: Reservation, told: Option<Allowances>, retry_after: Option<Duration>) {
        self.limiter.refused(reservation, told.as_ref(), retry_after, self.now);
    }

    fn blocked(&mut self) -> Duration {
        let now = self.limiter.timeline.at(self.now);
        Duration::from_nanos(self.limiter.blocked_until - now)
    }

    fn limit(&mut self, dimension: &str) -> Option<u64> {
        self.limiter.usage(self.now).iter().find(|it| it.dimension == dimension).unwrap().limit
    }

    fn used(&mut self, dimension: &str) -> u64 {
        self.limiter.usage(self.now).iter().find(|it| it.dimension == dimension).unwrap().used
    }
}

fn calls(calls: u32, per: Duration) -> LimitPolicy {
    LimitPolicy { requests: Some((calls, per)), ..LimitPolicy::default() }
}

fn tokens(tokens: u64) -> LimitPolicy {
    LimitPolicy { tokens: Some(tokens), ..LimitPolicy::default() }
}

fn allowance(limit: u64, remaining: u64) -> Allowance {
    Allowance { limit: Some(limit), remaining: Some(remaining), reset: None }
}

#[test]
fn a_hundred_calls_pass_at_once_and_the_next_hundred_a_minute_later() {
    let mut scene = Scene::new(calls(100, 60 * SECOND)); // PC23
    assert_eq!(scene.calls(), 100);
    let wait = scene.reserve(0, 0).unwrap_err();
    assert_eq!((wait.dimension, wait.time), ("calls", 60 * SECOND));
    scene.now += 60 * SECOND - INSTANT;
    assert_eq!(scene.calls(), 0);
    scene.now += INSTANT;
    assert_eq!(scene.calls(), 100);
}

#[test]
fn without_a_limit_everything_passes() {
    let mut scene = Scene::new(LimitPolicy::default()); // PC1
    assert_eq!(scene.calls(), 10_000);
    assert!(scene.reserve(u64::MAX, u64::MAX).is_ok());
    assert!(scene.reserve(u64::MAX, u64::MAX).is_ok());
}

#[test]
fn a_call_takes_all_or_nothing() {
    let policy = LimitPolicy { output_tokens: Some(6_000), ..calls(10, 60 * SECOND) };
    let mut scene = Scene::new(policy);
    let _taken = scene.reserve(10, 1_000).unwrap();
    let before = format!("{:?}", scene.limiter.usage(scene.now));
    assert_eq!(scene.reserve(10, 1).unwrap_err().dimension, "output_tokens");
    assert_eq!(format!("{:?}", scene.limiter.usage(scene.now)), before); // PC19
    assert!(scene.reserve(10, 0).is_ok(), "who needs none of it is not kept waiting for it");
}

#[test]
fn tokens_are_spread_over_the_minute_and_a_sixth_of_them_may_come_at_once() {
    let mut scene = Scene::new(tokens(60_000));
    assert!(scene.reserve(6_000, 4_000).is_ok());
    let wait = scene.reserve(1_000, 0).unwrap_err().time;
    assert!(SECOND <= wait && wait < SECOND + Duration::from_millis(1), "{wait:?}");
}

#[test]
fn a_call_larger_than_the_limit_passes_alone_and_is_paid_for_afterwards() {
    let mut scene = Scene::new(tokens(1_000));
    assert!(scene.reserve(1_000_000, 1_000_000).is_ok());
    let wait = scene.reserve(1_000_000, 0).unwrap_err().time;
    assert!(60 * SECOND <= wait && wait < 61 * SECOND, "{wait:?}");
    scene.now += wait;
    assert!(scene.reserve(1_000_000, 0).is_ok());
}

#[test]
fn an_estimate_that_was_too_high_is_given_back_and_one_that_was_too_low_is_owed() {
    let mut scene = Scene::new(tokens(60_000));
    let reservation = scene.reserve(5_000, 5_000).unwrap();
    assert!(scene.reserve(9_000, 0).is_err());
    scene.limiter.settle(reservation, Usage { input_tokens: 600, output_tokens: 400 }, scene.now);
    assert_eq!(scene.used("tokens"), 1_000); // PC19
    let reservation = scene.reserve(9_000, 0).unwrap();
    scene.limiter.settle(reservation, Usage { input_tokens: 9_000, output_tokens: 30_000 }, scene.now);
    assert_eq!(scene.used("tokens"), 40_000);
    let wait = scene.reserve(1_000, 0).unwrap_err().time;
    assert!(31 * SECOND <= wait && wait < 32 * SECOND, "{wait:?}");
}

#[test]
fn a_call_that_never_reached_the_provider_leaves_no_trace() {
    let mut scene = Scene::new(LimitPolicy { tokens: Some(60_000), ..calls(1, 60 * SECOND) });
    let reservation = scene.reserve(5_000, 5_000).unwrap();
    assert!(scene.reserve(0, 0).is_err());
    scene.limiter.cancel(reservation, scene.now);
    assert!(scene.reserve(5_000, 5_000).is_ok());
}

#[test]
fn no_usage_a_provider_may_claim_locks_it_up_for_more_than_a_minute() {
    let mut scene = Scene::new(tokens(1_000));
    let reservation = scene.reserve(1, 1).unwrap();
    let claimed = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX };
    scene.limiter.settle(reservation, claimed, scene.now);
    assert!(scene.reserve(1, 0).unwrap_err().time <= 60 * SECOND);
    scene.now += 60 * SECOND;
    assert!(scene.reserve(1, 0).is_ok());
}

#[test]
fn limits_are_learnt_from_what_the_provider_says() {
    let mut scene = Scene::new(LimitPolicy::default());
    let reservation = scene.reserve(100, 100).unwrap();
    let told = Allowances {
        requests: allowance(60, 59),
        input_tokens: allowance(30_000, 29_900),
        output_tokens: allowance(8_000, 7_900),
        ..Allowances::default()
    };
    scene.limiter.learn(&reservation, &told, scene.now);
    let limits = ["calls", "requests", "input_tokens", "output_tokens", "tokens"].map(|d| scene.limit(d));
    assert_eq!(limits, [None, Some(60), Some(30_000), Some(8_000), None]);
    assert_eq!(scene.calls(), 9, "a sixth of a minute at once, the first included");
}

#[test]
fn what_others_use_of_the_same_limit_is_left_to_them_and_refills_evenly() {
    let mut scene = Scene::new(tokens(60_000));
    let reservation = scene.reserve(1_000, 0).unwrap();
    let told = Allowances { tokens: allowance(60_000, 0), ..Allowances::default() };
    scene.limiter.learn(&reservation, &told, scene.now);
    let wait = scene.reserve(5_900, 0).unwrap_err().time;
    assert!((5_900..5_910).contains(&wait.as_millis()), "a thousand a second: {wait:?}");
    scene.now += wait;
    assert!(scene.reserve(5_900, 0).is_ok());
}

#[test]
fn our_own_use_is_not_taken_for_that_of_others() {
    let mut scene = Scene::new(tokens(60_000));
    let first = scene.reserve(4_000, 0).unwrap();
    let second = scene.reserve(2_000, 0).unwrap();
    let told = |remaining| Allowances { tokens: allowance(60_000, remaining), ..Allowances::default() };
    scene.limiter.learn(&first, &told(6_000), scene.now);
    scene.limiter.learn(&second, &told(4_000), scene.now);
    assert!(scene.reserve(4_000, 0).is_ok());
}

#[test]
fn the_calls_of_one_round_trip_teach_once_what_others_use() {
    let mut scene = Scene::new(tokens(60_000));
    let reservations: Vec<_> = (0..10).map(|_| scene.reserve(100, 0).unwrap()).collect();
    scene.now += Duration::from_millis(500);
    let told = Allowances { tokens: allowance(60_000, 0), ..Allowances::default() };
    reservations.iter().for_each(|it| scene.limiter.learn(it, &told, scene.now));
    let wait = scene.reserve(1_000, 0).unwrap_err().time;
    assert!(wait < 2 * SECOND, "{wait:?}");
}

#[test]
fn what_a_provider_says_never_raises_a_limit_of_the_operator() {
    let mut scene = Scene::new(LimitPolicy { tokens: Some(6_000), ..calls(5, 60 * SECOND) });
    let reservation = scene.reserve(0, 0).unwrap();
    let told = Allowances {
        requests: allowance(10_000, 9_999),
        tokens: allowance(1_000_000, 1_000_000),
        ..Allowances::default()
    };
    scene.limiter.learn(&reservation, &told, scene.now);
    assert_eq!(scene.limit("tokens"), Some(6_000));
    assert_eq!(scene.calls(), 4);
    let told = Allowances { tokens: allowance(3_000, 3_000), ..Allowances::default() };
    scene.limiter.learn(&reservation, &told, scene.now);
    assert_eq!(scene.limit("tokens"), Some(3_000), "but it may lower one");
}

#[test]
fn absurd_claims_are_ignored() {
    let day = Some(24 * 3600 * SECOND);
    let absurd = [
        allowance(0, 0),
        allowance(u64::MAX, 1),
        allowance(100, 201),
        Allowance { remaining: Some(0), ..Allowance::default() },
        Allowance { reset: day, ..allowance(10_000, 9_999) },
        Allowance { reset: day, ..allowance(10, 0) },
    ];
    for told in absurd {
        let mut scene = Scene::new(LimitPolicy::default());
        let reservation = scene.reserve(1, 1).unwrap();
        let told = Allowances { requests: told, tokens: told, input_tokens: told, output_tokens: told };
        scene.limiter.learn(&reservation, &told, scene.now);
        assert_eq!(scene.calls(), 10_000, "{told:?}"); // PC19
    }
}

#[test]
fn a_retry_after_keeps_everybody_away_until_then_but_for_five_minutes_at_most() {
    for (told, kept) in [(7 * SECOND, 7 * SECOND), (3 * 3600 * SECOND, 300 * SECOND)] {
        let mut scene = Scene::new(LimitPolicy::default());
        let reservation = scene.reserve(1, 1).unwrap();
        scene.refused(reservation, None, Some(told));
        assert_eq!(scene.reserve(0, 0).unwrap_err(), Wait { time: kept, dimension: "blocked" }); // PC13
        scene.now += kept;
        assert!(scene.reserve(0, 0).is_ok());
    }
}

#[test]
fn a_refusal_that_explains_itself_cuts_that_limit_by_a_twentieth() {
    let mut scene = Scene::new(LimitPolicy { tokens: Some(60_000), ..calls(60, 60 * SECOND) });
    let reservation = scene.reserve(5_000, 0).unwrap();
    let told = Allowances { tokens: allowance(60_000, 3_000), ..Allowances::default() };
    scene.refused(reservation, Some(told), None);
    assert_eq!(["calls", "tokens"].map(|d| scene.limit(d)), [Some(60), Some(57_000)]);
    let wait = scene.reserve(5_000, 0).unwrap_err().time;
    assert!((2 * SECOND..3 * SECOND).contains(&wait), "until the missing 2000 are there: {wait:?}");
}

#[test]
fn a_refusal_without_an_explanation_cuts_every_known_limit_once_for_a_round_trip() {
    let mut scene = Scene::new(LimitPolicy { tokens: Some(60_000), ..calls(60, 60 * SECOND) });
    let [first, second] = [1_000, 1_000].map(|tokens| scene.reserve(tokens, 0).unwrap());
    scene.now += SECOND;
    scene.refused(first, None, None);
    scene.refused(second, None, None);
    assert_eq!(["calls", "tokens"].map(|d| scene.limit(d)), [Some(42), Some(42_000)]);
    assert_eq!(scene.limit("requests"), None);
    assert_eq!((scene.used("calls"), scene.used("tokens")), (2, 0), "a refusal is a request without tokens");
}

#[test]
fn refusals_in_a_row_that_do_not_say_for_how_long_double_the_wait() {
    let mut scene = Scene::new(LimitPolicy::default());
    let mut waits = Vec::new();
    let before_all = scene.reserve(0, 0).unwrap();
    scene.now += SECOND;
    for _ in 0..7 {
        let reservation = scene.reserve(0, 0).unwrap();
        scene.refused(reservation, None, None);
        waits.push(scene.blocked().as_secs());
        scene.now += 120 * SECOND;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
    scene.limiter.settle(before_all, Usage::default(), scene.now);
    let refused = scene.reserve(0, 0).unwrap();
    scene.refused(refused, None, None);
    assert_eq!(scene.blocked(), 60 * SECOND, "an older call tells nothing new");
    scene.now += 120 * SECOND;
    let answered = scene.reserve(0, 0).unwrap();
    scene.limiter.settle(answered, Usage::default(), scene.now);
    scene.now += 120 * SECOND;
    let refused = scene.reserve(0, 0).unwrap();
    scene.refused(refused, None, None);
    assert_eq!(scene.blocked(), SECOND);
}

#[test]
fn a_cut_limit_grows_back_by_a_twentieth_a_minute_and_not_beyond_what_it_was() {
    let mut scene = Scene::new(tokens(60_000));
    let reservation = scene.reserve(1, 0).unwrap();
    scene.refused(reservation, None, None);
    for (minutes, limit) in [(0, 42_000), (1, 45_000), (3, 51_000), (6, 60_000), (60, 60_000)] {
        scene.now = scene.start + minutes * 60 * SECOND;
        assert!(scene.limit("tokens").unwrap().abs_diff(limit) <= 1, "{minutes}");
    }
}

#[test]
fn without_any_limit_a_refusal_cuts_the_pace_of_requests_that_led_to_it() {
    let mut scene = Scene::new(LimitPolicy::default());
    for _ in 0..19 {
        let _taken = scene.reserve(100, 100).unwrap();
    }
    let reservation = scene.reserve(100, 100).unwrap();
    scene.refused(reservation, None, None);
    assert_eq!(scene.limit("requests"), Some(84)); // 0.7 of 20 in a sixth of a minute.
    assert_eq!(scene.limit("tokens"), None);
}

#[test]
fn a_call_a_minute_always_passes_whatever_was_refused() {
    let mut scene = Scene::new(tokens(10));
    for _ in 0..100 {
        let reservation = scene.reserve(1_000, 1_000).unwrap();
        scene.refused(reservation, None, None);
        scene.now += 60 * SECOND;
    }
}

#[test]
fn other_limits_come_into_force_without_forgetting_what_was_used_and_learnt() {
    let mut scene = Scene::new(calls(100, 60 * SECOND));
    let reservation = scene.reserve(0, 0).unwrap();
    let told = Allowances { tokens: allowance(60_000, 60_000), ..Allowances::default() };
    scene.limiter.learn(&reservation, &told, scene.now);
    assert_eq!(scene.calls(), 99);
    scene.limiter.configure(calls(150, 60 * SECOND)); // GW8
    assert_eq!(scene.calls(), 50);
    assert_eq!(scene.limit("tokens"), Some(60_000));
}

#[test]
fn a_time_out_of_order_does_no_harm() {
    let mut scene = Scene::new(calls(2, 60 * SECOND));
    scene.now += 10 * SECOND;
    let late = scene.reserve(0, 0).unwrap();
    scene.now -= SECOND;
    let early = scene.reserve(0, 0).unwrap();
    assert!(scene.reserve(0, 0).is_err());
    scene.limiter.cancel(late, scene.now);
    scene.limiter.cancel(early, scene.now);
    assert_eq!(scene.calls(), 2);
}

#[test]
fn the_estimate_is_a_token_for_four_bytes_and_the_longest_answer() {
    let estimate = |bytes, max| {
        let Demand { input_tokens, output_tokens } = Demand::estimate(bytes, max);
        (input_tokens, output_tokens)
    };
    assert_eq!(estimate(4_000, Some(256)), (1_000, 256));
    assert_eq!(estimate(4_000, None), (1_000, 500));
}

#[test]
fn settings_out_of_their_range_are_named() {
    let wrong = [
        calls(0, 60 * SECOND),
        calls(1, Duration::ZERO),
        calls(1, 24 * 3600 * SECOND + SECOND),
        tokens(0),
        LimitPolicy { input_tokens: Some(u64::MAX), ..LimitPolicy::default() },
    ];
    assert!(wrong.iter().all(|policy| policy.check().is_err()));
    assert!(LimitPolicy::default().check().is_ok());
}

/// What callers may do.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Call { input: u64, output: u64 },
    Settled { of: usize, output: u64 },
    Cancelled { of: usize },
    Refused { of: usize },
    Passing(u64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        6 => (0u64..400, 0u64..400).prop_map(|(input, output)| Happening::Call { input, output }),
        1 => (0usize..9, 0u64..400).prop_map(|(of, output)| Happening::Settled { of, output }),
        1 => (0usize..9).prop_map(|of| Happening::Cancelled { of }),
        1 => (0usize..9).prop_map(|of| Happening::Refused { of }),
        2 => (0u64..20_000).prop_map(Happening::Passing),
    ];
    vec(happening, 0..400)
}

/// The same limits told another way: a list of all that was ever taken.
#[derive(Default)]
struct Model(Vec<(Instant, [u64; 4])>);

impl Model {
    const LIMITS: [u64; 4] = [20, 6_000, 4_000, 8_000];

    fn within(&self, period: Duration, now: Instant, dimension: usize) -> u64 {
        self.0.iter().filter(|(at, _)| *at + period > now).map(|(_, amounts)| amounts[dimension]).sum()
    }
}

proptest! {
    #[test]
    fn no_minute_ever_holds_more_than_the_limits_allow(events in happenings()) {
        let [requests, input, output, total] = Model::LIMITS;
        let mut scene = Scene::new(LimitPolicy {
            requests: Some((requests as u32, 60 * SECOND)),
            input_tokens: Some(input),
            output_tokens: Some(output),
            tokens: Some(total),
        });
        let (mut model, mut out, mut refusals) = (Model::default(), Vec::new(), 0);
        for event in events {
            let pick = |out: &Vec<(Reservation, usize)>, of| (!out.is_empty()).then(|| of % out.len());
            match event {
                Happening::Passing(ms) => scene.now += Duration::from_millis(ms),
                Happening::Call { input, output } => {
                    if let Ok(reservation) = scene.reserve(input, output) {
                        model.0.push((scene.now, [1, input, output, input + output]));
                        out.push((reservation, model.0.len() - 1));
                        for (dimension, limit) in Model::LIMITS.into_iter().enumerate() {
                            prop_assert!(model.within(60 * SECOND, scene.now, dimension) <= limit); // PC19
                        }
                    }
                }
                Happening::Settled { of, output } => if let Some(of) = pick(&out, of) {
                    let (reservation, row) = out.swap_remove(of);
                    let [_, input, estimate, _] = model.0[row].1;
                    let output = output.min(estimate); // Debts may exceed a limit: they are paid later.
                    model.0[row].1 = [1, input, output, input + output];
                    let usage = Usage { input_tokens: input, output_tokens: output };
                    scene.limiter.settle(reservation, usage, scene.now);
                }
                Happening::Cancelled { of } => if let Some(of) = pick(&out, of) {
                    let (reservation, row) = out.swap_remove(of);
                    model.0[row].1 = [0; 4];
                    scene.limiter.cancel(reservation, scene.now);
                }
                Happening::Refused { of } => if let Some(of) = pick(&out, of).filter(|_| refusals < REFUSALS) {
                    refusals += 1;
                    let (reservation, row) = out.swap_remove(of);
                    model.0[row].1 = [1, 0, 0, 0];
                    scene.limiter.refused(reservation, None, None, scene.now);
                }
            }
            for (dimension, is) in scene.limiter.usage(scene.now).iter().skip(1).enumerate() {
                let (least, most) = (
                    model.within(60 * SECOND, scene.now, dimension),
                    model.within(60 * SECOND + GRAIN, scene.now, dimension),
                );
                prop_assert!(least <= is.used && is.used <= most, "{is:?}: {least} to {most}");
            }
        }
    }

    #[test]
    fn who_waits_as_told_passes_unless_others_were_faster(
        past in vec((0u64..5_000, 0u64..3_000, 0u64..3_000), 1..100),
        told in (1_000u64..10_000, 0u64..12_000),
    ) {
        let policy = LimitPolicy {
            requests: Some((20, 30 * SECOND)), output_tokens: Some(3_000), ..LimitPolicy::default()
        };
        let mut scene = Scene::new(policy);
        for (ms, input, output) in past {
            scene.now += Duration::from_millis(ms);
            match scene.reserve(input, output) {
                Ok(reservation) => {
                    let tokens = allowance(told.0, told.1);
                    scene.limiter.learn(&reservation, &Allowances { tokens, ..Allowances::default() }, scene.now);
                }
                Err(wait) => {
                    prop_assert!(wait.time <= 120 * SECOND);
                    scene.now += wait.time;
                    prop_assert!(scene.reserve(input, output).is_ok(), "{wait:?}");
                }
            }
        }
    }
}
