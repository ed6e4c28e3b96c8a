//! Ten questions are asked again and again, and then both providers go away. What was answered before is answered
//! on, marked as kept; only what nobody knows fails. When a provider is back, so are new answers.
//!
//! Run it with `cargo run --example all_providers_down_serves_from_cache`. It prints:
//!
//! ```text
//! both providers are well, and six of ten questions are asked
//!   question 0: alpha answered
//! the same questions again, while they are fresh
//!   question 0: kept, from memory; alpha had answered
//!   providers were asked: 0 times
//! both providers go away, and all ten questions are asked
//!   question 0: kept and stale, because nobody answers; alpha had answered
//!   question 9: no answer
//!   answered: 6 of 10
//! beta comes back
//!   question 8: beta answered
//! ```

#![allow(clippy::print_stdout)] // Printing is what an example does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use mainstay::{
    CallError, Chain, ChainPolicy, Config, ErrorKind, Provider, ProviderCall, ProviderError, ProviderPolicy,
    Runtime,
    actors::{
        backoff::Backoff,
        cache::{CacheStory, control::CacheControl, stats::Use},
        call::{FullReply, ProviderReply, Reply, Request},
        provider::policy::BreakerPolicy,
    },
    completion,
};

/// Fresh for two seconds, not stale without a reason, and for an hour better than an error.
const KEPT: &str = r#"
    [cache]
    ttl = "2s"
    stale = "0s"
    stale_if_error = "1h"
"#;

/// A provider that answers unless it is away.
#[derive(Clone, Default)]
struct Service {
    away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Provider for Service {
    fn call<'a>(&'a self, _: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.away.load(Ordering::Relaxed) {
                return Err(ProviderError::new(ErrorKind::Connect, "connection refused"));
            }
            let body = r#"{"choices":[{"message":{"content":"here I am"}}]}"#;
            Ok(ProviderReply::Full(FullReply::new(body)))
        }
        .boxed()
    }
}

/// The default, but that a circuit is tried again soon, so that the story is short.
fn impatient() -> ProviderPolicy {
    let default = BreakerPolicy::default();
    let (min, max) = (Duration::from_millis(100), Duration::from_millis(200));
    let open = Backoff { min, max, ..default.open };
    let breaker = BreakerPolicy { open, ramp: Duration::ZERO, ..default };
    ProviderPolicy { breaker: Some(breaker), ..ProviderPolicy::default() }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (alpha, beta) = (Service::default(), Service::default());
    let runtime = Runtime::builder()
        .config(Config::from_toml(KEPT, "example", &|_| None)?)
        .provider_with("alpha", alpha.clone(), impatient())
        .provider_with("beta", beta.clone(), impatient())
        .chain_with("chat", ["alpha", "beta"], ChainPolicy { retries: 0, ..ChainPolicy::default() })
        .start()
        .await?;
    let chat = runtime.chain("chat")?;

    println!("both providers are well, and six of ten questions are asked");
    ask(&chat, 0..6, &[0]).await;

    println!("the same questions again, while they are fresh");
    let asked = alpha.asked.load(Ordering::Relaxed);
    ask(&chat, 0..6, &[0]).await;
    println!("  providers were asked: {} times", alpha.asked.load(Ordering::Relaxed) - asked);

    println!("both providers go away, and all ten questions are asked");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    for provider in [&alpha, &beta] {
        provider.away.store(true, Ordering::Relaxed);
    }
    println!("  answered: {} of 10", ask(&chat, 0..10, &[0, 9]).await);

    println!("beta comes back");
    beta.away.store(false, Ordering::Relaxed);
    let mut answer = chat.call(question(8)).await;
    // Its circuit lets single calls try first.
    while answer.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = chat.call(question(8)).await;
    }
    println!("  question 8: {}", words(&answer));
    let _ = runtime.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The answer to it may be kept for two seconds, though chance has a part in it.
fn question(number: usize) -> Request {
    let cache = CacheControl { ttl: Some(Duration::from_secs(2)), ..CacheControl::default() };
    Request { cache, ..completion(&format!("question {number}")) }
}

/// Asks all of them and tells of some; how many were answered.
async fn ask(chat: &Chain, numbers: std::ops::Range<usize>, told: &[usize]) -> usize {
    let mut answered = 0;
    for number in numbers {
        let answer = chat.call(question(number)).await;
        if told.contains(&number) {
            println!("  question {number}: {}", words(&answer));
        }
        answered += usize::from(answer.is_ok());
    }
    answered
}

fn words(answer: &Result<Reply, CallError>) -> String {
    let Ok(Reply { story, .. }) = answer else { return "no answer".into() };
    match &story.cache {
        Some(CacheStory::Answered { how: Use::IfError, .. }) => {
            format!("kept and stale, because nobody answers; {} had answered", story.provider)
        }
        Some(CacheStory::Answered { level, .. }) => {
            format!("kept, from {}; {} had answered", level.name(), story.provider)
        }
        _ => format!("{} answered", story.provider),
    }
}
