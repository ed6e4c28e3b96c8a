//! A bug crashes a provider's actor while calls go on, twice: once while it is well, once while its circuit
//! is open. No call fails, the actor comes back, and what it had learnt is not lost.
//!
//! Run it with `cargo run --example provider_crashes_and_restarts`. It prints:
//!
//! ```text
//! root/providers/alpha crashes under load
//!   event: root/providers/alpha panicked: crash requested; it will be restarted
//!   event: root/providers/alpha is up, life 2
//!   calls failed meanwhile: 0
//! alpha goes out of service
//!   event: circuit of alpha: closed -> open
//!   answered by: beta
//! root/providers/alpha crashes while its circuit is open
//!   event: root/providers/alpha panicked: crash requested; it will be restarted
//!   event: root/providers/alpha is up, life 3
//!   circuit of alpha: open
//!   answered by: beta
//! ```

#![allow(clippy::print_stdout)] // Printing is what an example does.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use mainstay::{
    Chain, ErrorKind, Provider, ProviderCall, ProviderError, Runtime,
    actors::{
        call::{FullReply, ProviderReply},
        event::{Event, EventKind, Heard},
    },
    completion,
};

/// A provider that answers after a millisecond, unless it is out of service.
#[derive(Clone, Default)]
struct Service {
    out: Arc<AtomicBool>,
}

impl Provider for Service {
    fn call<'a>(&'a self, _: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        async move {
            if self.out.load(Ordering::Relaxed) {
                return Err(ProviderError::new(ErrorKind::Connect, "connection refused"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let body = r#"{"choices":[{"message":{"content":"here I am"}}]}"#;
            Ok(ProviderReply::Full(FullReply::new(body)))
        }
        .boxed()
    }
}

type Events = Pin<Box<dyn Stream<Item = Heard<Arc<Event>>> + Send>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The crashes are rehearsed; what they say stands in the events.
    std::panic::set_hook(Box::new(|_| {}));
    let alpha = Service::default();
    let runtime = Runtime::builder()
        .provider("alpha", alpha.clone())
        .provider("beta", Service::default())
        .chain("chat", ["alpha", "beta"])
        .start()
        .await?;
    let mut events: Events = Box::pin(runtime.events().follow());
    let chat = runtime.chain("chat")?;
    let actor = runtime.system().provider("alpha").ok_or("no alpha")?.actor().clone();

    println!("root/providers/alpha crashes under load");
    let load = tokio::spawn(failures(chat.clone(), 200));
    actor.crash();
    print_until_up(&mut events).await;
    println!("  calls failed meanwhile: {}", load.await?);

    println!("alpha goes out of service");
    alpha.out.store(true, Ordering::Relaxed);
    while failures(chat.clone(), 1).await == 0 && circuit(&runtime) == "closed" {}
    print_until(&mut events, |kind| matches!(kind, EventKind::CircuitChanged { .. })).await;
    println!("  answered by: {}", chat.call(completion("hello")).await?.story.provider);

    println!("root/providers/alpha crashes while its circuit is open");
    actor.crash();
    print_until_up(&mut events).await;
    println!("  circuit of alpha: {}", circuit(&runtime));
    println!("  answered by: {}", chat.call(completion("hello")).await?.story.provider);

    let _ = runtime.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn failures(chat: Arc<Chain>, calls: usize) -> usize {
    let mut failed = 0;
    for _ in 0..calls {
        failed += usize::from(chat.call(completion("hello")).await.is_err());
    }
    failed
}

fn circuit(runtime: &Runtime) -> &'static str {
    let now = tokio::time::Instant::now().into_std();
    runtime.system().provider("alpha").map_or("unknown", |desk| desk.status(now).circuit)
}

async fn print_until_up(events: &mut Events) {
    print_until(events, |kind| matches!(kind, EventKind::ActorUp { .. })).await;
}

async fn print_until(events: &mut Events, last: impl Fn(&EventKind) -> bool) {
    let mut events = pin!(events);
    while let Some(Heard::Item(event)) = events.next().await {
        match &event.kind {
            EventKind::ActorUp { actor, incarnation } => {
                println!("  event: {actor} is up, life {incarnation}")
            }
            EventKind::ActorRestarting { reason, .. } => println!("  event: {reason}; it will be restarted"),
            EventKind::CircuitChanged { provider, from, to, .. } => {
                println!("  event: circuit of {provider}: {from} -> {to}");
            }
            _ => {}
        }
        if last(&event.kind) {
            return;
        }
    }
}
