//! What the request path costs, beside what a user would pick instead.
//!
//! Absolute times depend on the machine; read the ratios within one group. Run with `cargo bench`.

#![allow(clippy::unwrap_used)] // A benchmark that cannot set up has nothing to measure.

use std::{
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use divan::{Bencher, black_box};
use futures_util::{FutureExt, future::BoxFuture};
use mainstay::{
    ChainPolicy, ErrorKind, Mode, Provider, ProviderCall, ProviderError, ProviderPolicy,
    actors::{
        backoff::{Backoff, Jitter},
        call::{FullReply, ProviderReply, Usage},
        clock::SystemClock,
        provider::{
            budget::{BudgetPolicy, RetryBudget},
            desk::Ask,
            limiter::{Demand, LimitPolicy, Limiter},
            policy::BreakerPolicy,
        },
        system::{Supervised, SystemBuilder},
    },
    completion,
};
use tokio::{runtime::Runtime, sync::Semaphore};

fn main() {
    divan::main();
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

/// A system with one provider; its circuit is open if the provider fails.
fn system(answers: bool) -> (Runtime, Supervised) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
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

/// A permit taken and given back, its outcome told to the actor.
mod admission_and_outcome {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (_tokio, started) = system(true);
        let target = started.system().chain("chat").unwrap().targets()[0].clone();
        bencher.bench_local(|| black_box(&target).admit(Ask::default()).is_ok());
    }

    #[divan::bench]
    fn peer_semaphore_alone(bencher: Bencher<'_, '_>) {
        let slots = Arc::new(Semaphore::new(20));
        bencher.bench_local(|| black_box(&slots).clone().try_acquire_owned().is_ok());
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
            budget.withdraw(now)
        });
    }
}

/// A whole call through chain, circuit, bulkhead and timeouts to a provider that answers at once.
mod call_without_network {
    use super::*;

    #[divan::bench]
    fn mainstay(bencher: Bencher<'_, '_>) {
        let (tokio, started) = system(true);
        let chat = started.system().chain("chat").unwrap().clone();
        let request = completion("hello");
        bencher.bench_local(|| tokio.block_on(chat.call(request.clone())).is_ok());
    }

    #[divan::bench]
    fn peer_provider_in_a_timeout(bencher: Bencher<'_, '_>) {
        let (tokio, provider) = (system(true).0, Instantly(true));
        let request = completion("hello");
        let deadline = Instant::now() + Duration::from_secs(120);
        bencher.bench_local(|| {
            let call = ProviderCall { request: &request, model: "m", id: "1", deadline };
            tokio.block_on(tokio::time::timeout(Duration::from_secs(120), provider.call(call))).is_ok()
        });
    }
}
