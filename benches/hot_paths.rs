//! What the request path costs, beside what a user would pick instead.
//!
//! Absolute times depend on the machine; read the ratios within one group. Run with `cargo bench`.

#![allow(clippy::unwrap_used)] // A benchmark that cannot set up has nothing to measure.

use std::{
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use divan::{Bencher, Divan, black_box};
use futures_util::{FutureExt, future::BoxFuture};
use mainstay::{
    Chain, ChainPolicy, ErrorKind, Mode, Provider, ProviderCall, ProviderError, ProviderPolicy, Request,
    actors::{
        backoff::{Backoff, Jitter},
        call::{FullReply, ProviderReply, Usage},
        clock::SystemClock,
        provider::{
            adaptive::AdaptivePolicy,
            admission::Ask,
            budget::{BudgetPolicy, RetryBudget},
            limiter::{Demand, LimitPolicy, Limiter},
            policy::BreakerPolicy,
        },
        system::{Supervised, SystemBuilder},
    },
    completion,
};
use tokio::{runtime::Runtime, sync::Semaphore};
use tower::{Layer, Service, ServiceExt};
use tower_resilience::{
    bulkhead::BulkheadLayer,
    circuitbreaker::{CircuitBreakerLayer, SlidingWindowType},
    ratelimiter::RateLimiterLayer,
    retry::RetryLayer,
    timelimiter::TimeLimiterLayer,
};

fn main() {
    // So many that the first ones, which find nothing in the caches, do not count.
    Divan::default().sample_count(1000).config_with_args().main();
}

/// A provider that answers, or fails, without any delay.
struct Instantly(bool);

impl Provider for Instantly {
    fn call<'a>(&'a self, _: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        let answer = match self.0 {
            true => Ok(ProviderReply::Full(FullReply::new("{}"))),
            false => Err(ProviderError::new(ErrorKind::Connect, "refused")),
        };
        async { answer }.boxed()
    }
}

/// The caller runs on the benchmark's thread, the actors on another one.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A system with one provider; its circuit is open if the provider fails.
fn system(answers: bool) -> (Runtime, Supervised) {
    let tokio = runtime();
    let open = Backoff {
        min: Duration::from_secs(3600),
        max: Duration::from_secs(3600),
        jitter: Jitter::Spread(0.0),
    };
    let policy = ProviderPolicy {
        breaker: Some(BreakerPolicy { failures: 1, open, ..BreakerPolicy::default() }),
        ..ProviderPolicy::default()
    };
    let started = tokio.block_on(async {
        let mut system = SystemBuilder::new(Arc::new(SystemClock), 1, 1);
        system.provider("one", Arc::new(Instantly(answers)), policy).unwrap();
        let policy = ChainPolicy { retries: 0, ..ChainPolicy::default() };
        system.chain("chat", [("one", "m")], policy).unwrap();
        let started = system.start(|_| Ok(Vec::new())).await.unwrap();
        let chat = started.system().chain("chat").unwrap().clone();
        let desk = started.system().provider("one").unwrap().clone();
        if !answers {
            let _ = chat.call(completion("hello")).await;
            while desk.is_usable() {
                tokio::task::yield_now().await;
            }
        }
        started
    });
    (tokio, started)
}

/// How often one iteration does what a runtime is needed for.
const ROUNDS: usize = 100;

/// Runs `work` as a task, as callers do: from outside, each message would wake the worker by a system call.
fn run(tokio: &Runtime, work: impl Future<Output = ()> + Send + 'static) {
    tokio.block_on(tokio.spawn(work)).unwrap();
}

/// MO12: at most 20 ns, and nobody waited for.
mod reading_the_mode {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (_tokio, started) = system(true);
        let mode = started.system().mode().clone();
        bencher.bench_local(|| black_box(&mode).now());
    }

    #[divan::bench]
    fn peer_watch_borrow(bencher: Bencher<'_, '_>) {
        let (_sender, receiver) = tokio::sync::watch::channel(Mode::Normal);
        bencher.bench_local(|| *black_box(&receiver).borrow());
    }

    #[divan::bench]
    fn peer_rw_lock(bencher: Bencher<'_, '_>) {
        let mode = RwLock::new(Mode::Normal);
        bencher.bench_local(|| *black_box(&mode).read().unwrap());
    }
}

/// PC6: at most 5 µs.
mod refusal_by_an_open_circuit {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (_tokio, started) = system(false);
        let target = started.system().chain("chat").unwrap().targets()[0].clone();
        bencher.bench_local(|| black_box(&target).admit(Ask::default()).is_err());
    }
}

/// A permit taken and given back, its outcome told to the actor, which hears of it; a hundred times.
mod admission_and_outcome {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (tokio, started) = system(true);
        let target = started.system().chain("chat").unwrap().targets()[0].clone();
        bencher.bench_local(|| {
            let target = target.clone();
            run(&tokio, async move { (0..ROUNDS).for_each(|_| drop(target.admit(Ask::default()).unwrap())) });
        });
    }

    #[divan::bench]
    fn peer_semaphore_alone(bencher: Bencher<'_, '_>) {
        let (tokio, slots) = (system(true).0, Arc::new(Semaphore::new(20)));
        bencher.bench_local(|| {
            let slots = slots.clone();
            let take = move || drop(black_box(slots.clone()).try_acquire_owned().unwrap());
            run(&tokio, async move { (0..ROUNDS).for_each(|_| take()) });
        });
    }
}

/// A place taken within all rate limits, and put right afterwards; calls come every millisecond.
mod rate_limit {
    use super::*;

    const DEMAND: Demand = Demand { input_tokens: 700, output_tokens: 300 };
    const USAGE: Usage = Usage { input_tokens: 650, output_tokens: 200 };

    fn limiter(a_minute: u32) -> Mutex<Limiter> {
        let tokens = Some(u64::from(a_minute) * 1000);
        let policy = LimitPolicy {
            requests: Some((a_minute, Duration::from_secs(60))),
            input_tokens: tokens,
            output_tokens: tokens,
            tokens,
        };
        Mutex::new(Limiter::new(policy, Instant::now()))
    }

    #[divan::bench]
    fn mainstay_four_dimensions(bencher: Bencher<'_, '_>) {
        let (limiter, mut now) = (limiter(1_000_000), Instant::now());
        bencher.bench_local(|| {
            now += Duration::from_millis(1);
            let mut limiter = black_box(&limiter).lock().unwrap();
            let reservation = limiter.reserve(DEMAND, now).unwrap();
            limiter.settle(reservation, USAGE, now);
        });
    }

    #[divan::bench]
    fn mainstay_refusal(bencher: Bencher<'_, '_>) {
        let (limiter, now) = (limiter(1), Instant::now());
        let _taken = limiter.lock().unwrap().reserve(DEMAND, now).unwrap();
        bencher.bench_local(|| black_box(&limiter).lock().unwrap().reserve(DEMAND, now).is_err());
    }

    #[divan::bench]
    fn peer_governor_one_dimension_without_correction(bencher: Bencher<'_, '_>) {
        let clock = governor::clock::FakeRelativeClock::default();
        let quota = governor::Quota::per_minute(1_000_000.try_into().unwrap());
        let limiter = governor::RateLimiter::direct_with_clock(quota, clock.clone());
        bencher.bench_local(|| {
            clock.advance(Duration::from_millis(1));
            black_box(&limiter).check().unwrap();
        });
    }
}

/// A first attempt noted and an extra one asked for.
mod retry_budget {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let mut now = Instant::now();
        let budget = Mutex::new(RetryBudget::new(BudgetPolicy::default(), now));
        bencher.bench_local(|| {
            now += Duration::from_millis(1);
            let mut budget = black_box(&budget).lock().unwrap();
            budget.deposit(now);
            budget.withdraw(now).is_some()
        });
    }
}

/// Every policy at once around a provider that answers at once: at most 2 µs more than the bare call, however many
/// providers there are.
mod whole_composite {
    use super::*;

    /// All policies, with limits that are kept and never reached.
    fn composite() -> ProviderPolicy {
        let tokens = Some(1_000_000_000_000);
        let limits = LimitPolicy {
            requests: Some((u32::MAX, Duration::from_secs(60))),
            input_tokens: tokens,
            output_tokens: tokens,
            tokens,
        };
        ProviderPolicy {
            limits: Some(limits),
            adaptive: Some(AdaptivePolicy::default()),
            ..ProviderPolicy::default()
        }
    }

    fn run(bencher: Bencher<'_, '_>, providers: usize, policy: ProviderPolicy) {
        let tokio = runtime();
        let names: Vec<_> = (0..providers).map(|n| format!("p{n}")).collect();
        let started = tokio.block_on(async {
            let mut system = SystemBuilder::new(Arc::new(SystemClock), 1, 1);
            for name in &names {
                system.provider(name, Arc::new(Instantly(true)), policy).unwrap();
            }
            let targets = names.iter().map(|name| (name.as_str(), "m"));
            system.chain("chat", targets, ChainPolicy::default()).unwrap();
            system.start(|_| Ok(Vec::new())).await.unwrap()
        });
        let chat = started.system().chain("chat").unwrap().clone();
        let request = completion("hello");
        bencher.bench_local(|| tokio.block_on(chat.call(request.clone())).is_ok());
    }

    #[divan::bench]
    fn bare_call(bencher: Bencher<'_, '_>) {
        let (tokio, provider, request) = (runtime(), Instantly(true), completion("hello"));
        let deadline = Instant::now() + Duration::from_secs(120);
        bencher.bench_local(|| {
            let request = request.clone();
            let call = ProviderCall { request: &request, model: "m", id: "1", deadline };
            tokio.block_on(provider.call(call)).is_ok()
        });
    }

    #[divan::bench(args = [1, 8])]
    fn mainstay(bencher: Bencher<'_, '_>, providers: usize) {
        run(bencher, providers, composite());
    }

    /// Where the time goes: one policy off at a time, and all of them.
    #[divan::bench(args = ["timeouts", "breaker", "max_concurrent", "adaptive", "limits", "budget", "all"])]
    fn mainstay_without(bencher: Bencher<'_, '_>, off: &str) {
        let all = composite();
        let policy = match off {
            "timeouts" => ProviderPolicy { timeouts: None, ..all },
            "breaker" => ProviderPolicy { breaker: None, ..all },
            "max_concurrent" => ProviderPolicy { max_concurrent: None, ..all },
            "adaptive" => ProviderPolicy { adaptive: None, ..all },
            "limits" => ProviderPolicy { limits: None, ..all },
            "budget" => ProviderPolicy { budget: None, ..all },
            _ => ProviderPolicy::NONE,
        };
        run(bencher, 1, policy);
    }

    /// The same policies in the same order, but for what it does not have: limits of tokens, corrections, a circuit for
    /// the account, and an adaptive limit beside the fixed one. Its window of time keeps every call, so that a call
    /// costs more the more there were.
    #[divan::bench(args = ["window_of_calls", "window_of_time"])]
    fn peer_tower_resilience(bencher: Bencher<'_, '_>, window: &str) {
        let tokio = runtime();
        let provider = Arc::new(Instantly(true));
        let deadline = Instant::now() + Duration::from_secs(120);
        let bare = tower::service_fn(move |request: mainstay::Request| {
            let provider = provider.clone();
            async move {
                let call = ProviderCall { request: &request, model: "m", id: "1", deadline };
                provider.call(call).await
            }
        });
        let timeout: TimeLimiterLayer<_> =
            TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(120)).build();
        let bulkhead = BulkheadLayer::builder()
            .max_concurrent_calls(20)
            .max_wait_duration(Duration::from_secs(2))
            .build()
            .unwrap();
        let limits = RateLimiterLayer::builder()
            .limit_for_period(usize::MAX >> 4)
            .refresh_period(Duration::from_secs(60))
            .build()
            .unwrap();
        let breaker = CircuitBreakerLayer::builder()
            .failure_rate_threshold(0.5)
            .sliding_window_type(match window {
                "window_of_time" => SlidingWindowType::TimeBased,
                _ => SlidingWindowType::CountBased,
            })
            .sliding_window_size(100)
            .sliding_window_duration(Duration::from_secs(60))
            .minimum_number_of_calls(10)
            .build()
            .unwrap();
        let service = breaker.layer(limits.layer(bulkhead.layer(timeout.layer(bare))));
        let retry = RetryLayer::builder().max_attempts(3).build();
        let mut service = retry.layer(service);
        let request = completion("hello");
        bencher.bench_local(|| {
            let call = async { service.ready().await.ok()?.call(request.clone()).await.ok() };
            tokio.block_on(call).is_some()
        });
    }
}

/// A whole call through chain, circuit, bulkhead and timeouts to a provider that answers at once; a hundred times.
mod call_without_network {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (tokio, started) = system(true);
        let chat = started.system().chain("chat").unwrap().clone();
        let request = completion("hello");
        bencher.bench_local(|| run(&tokio, through_the_chain(chat.clone(), request.clone())));
    }

    async fn through_the_chain(chat: Arc<Chain>, request: Request) {
        for _ in 0..ROUNDS {
            chat.call(request.clone()).await.unwrap();
        }
    }

    #[divan::bench]
    fn peer_provider_in_a_timeout(bencher: Bencher<'_, '_>) {
        let (tokio, request) = (system(true).0, completion("hello"));
        bencher.bench_local(|| run(&tokio, in_a_timeout(request.clone())));
    }

    async fn in_a_timeout(request: Request) {
        let (provider, limit) = (Instantly(true), Duration::from_secs(120));
        for _ in 0..ROUNDS {
            let deadline = Instant::now() + limit;
            let call = ProviderCall { request: &request, model: "m", id: "1", deadline };
            tokio::time::timeout(limit, provider.call(call)).await.unwrap().unwrap();
        }
    }
}

/// The key of a chat request of 19 KiB, a third of which are tools: beside reading it for nothing, and into a tree.
mod cache_key {
    use mainstay::{
        actors::{cache::key::Scope, ports::CacheRules},
        caching::Rules,
    };
    use serde::de::IgnoredAny;

    use super::*;

    fn body() -> String {
        let words = r#"The quick brown fox, so they say, jumps over the lazy dog — and \"barks\" twice.\n"#;
        let schema = r#"{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}"#;
        let messages = (0..20).map(|_| format!(r#"{{"role":"user","content":"{}"}}"#, words.repeat(7)));
        let tools = (0..28).map(|i| {
            let function = format!(r#"{{"name":"f{i}","description":"{words}","parameters":{schema}}}"#);
            format!(r#"{{"type":"function","function":{function}}}"#)
        });
        let [messages, tools] = [messages.collect::<Vec<_>>(), tools.collect()].map(|list| list.join(","));
        format!(r#"{{"model":"m","temperature":0,"messages":[{messages}],"tools":[{tools}]}}"#)
    }

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (request, scope) = (Request::new(body().into(), 9..12, false), Scope::default());
        bencher.bench_local(|| Rules.key(black_box(&request), &scope, "p/m", false).unwrap());
    }

    #[divan::bench]
    fn peer_serde_json_ignored(bencher: Bencher<'_, '_>) {
        let body = body();
        bencher.bench_local(|| serde_json::from_str::<IgnoredAny>(black_box(&body)).unwrap());
    }

    #[divan::bench]
    fn peer_serde_json_value(bencher: Bencher<'_, '_>) {
        let body = body();
        bencher.bench_local(|| serde_json::from_str::<serde_json::Value>(black_box(&body)).unwrap());
    }
}
