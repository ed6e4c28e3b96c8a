//! Everybody learns how the system is: an actor, a task and a stream hear of each change of the mode, with
//! its reasons in plain words, and decide for themselves what to do with it.
//!
//! Run it with `cargo run --example subscribe_to_mode_changes`. It prints:
//!
//! ```text
//! the only provider answers: NORMAL
//! it goes out of service: EMERGENCY: provider alpha is out: 5 failures in a row, the last one connect; one call at a time tries it again
//! it comes back: NORMAL
//! the actor heard: NORMAL, EMERGENCY, NORMAL
//! the stream heard: NORMAL, EMERGENCY, NORMAL
//! the task sees now: NORMAL
//! ```

#![allow(clippy::print_stdout)] // Printing is what an example does.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use mainstay::{
    ChainPolicy, ErrorKind, Mode, ModeChange, ModeSnapshot, Provider, ProviderCall, ProviderError,
    ProviderPolicy, Runtime,
    actors::{
        backoff::{Backoff, Jitter},
        call::{FullReply, ProviderReply},
        event::Heard,
        provider::policy::BreakerPolicy,
    },
    completion,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;

#[derive(Clone, Default)]
struct Service {
    out: Arc<AtomicBool>,
}

impl Provider for Service {
    fn call<'a>(&'a self, _: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        let answer = match self.out.load(Ordering::Relaxed) {
            true => Err(ProviderError::new(ErrorKind::Connect, "connection refused")),
            false => {
                let body = r#"{"choices":[{"message":{"content":"here I am"}}]}"#;
                Ok(ProviderReply::Full(FullReply::new(body)))
            }
        };
        async { answer }.boxed()
    }
}

/// A host's own actor. Mode changes come as one of its messages.
struct Dispatcher;

enum DispatcherMsg {
    Mode(ModeChange),
}

impl From<ModeChange> for DispatcherMsg {
    fn from(change: ModeChange) -> Self {
        Self::Mode(change)
    }
}

impl Actor for Dispatcher {
    type Msg = DispatcherMsg;
    type State = mpsc::UnboundedSender<Mode>;
    type Arguments = mpsc::UnboundedSender<Mode>;

    async fn pre_start(
        &self,
        _: ActorRef<DispatcherMsg>,
        heard: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle(
        &self,
        _: ActorRef<DispatcherMsg>,
        DispatcherMsg::Mode(change): DispatcherMsg,
        heard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        heard.send(change.snapshot.mode)?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let alpha = Service::default();
    let open =
        Backoff { min: Duration::from_millis(500), max: Duration::from_secs(1), jitter: Jitter::Spread(0.2) };
    let breaker = BreakerPolicy { open, ramp: Duration::ZERO, ..BreakerPolicy::default() };
    let policy = ProviderPolicy { breaker: Some(breaker), ..Default::default() };
    let runtime = Runtime::builder()
        .provider_with("alpha", alpha.clone(), policy)
        .chain_with("chat", ["alpha"], ChainPolicy { retries: 0, ..ChainPolicy::default() })
        .start()
        .await?;
    let chat = runtime.chain("chat")?;

    let (sender, mut actor_heard) = mpsc::unbounded_channel();
    let (dispatcher, _) = Actor::spawn(None, Dispatcher, sender).await?;
    runtime.mode().subscribe(dispatcher);
    let stream_heard = tokio::spawn(first_modes(runtime.mode().changes(), 3));
    let mut latest = runtime.mode().watch();

    println!("the only provider answers: {}", latest.borrow_and_update().mode);
    alpha.out.store(true, Ordering::Relaxed);
    while runtime.mode().now() != Mode::Emergency {
        let _ = chat.call(completion("hello")).await;
    }
    let notice = latest.wait_for(|now| now.mode == Mode::Emergency).await?.notice();
    println!("it goes out of service: {}", notice.unwrap_or_default());
    alpha.out.store(false, Ordering::Relaxed);
    while runtime.mode().now() != Mode::Normal {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = chat.call(completion("hello")).await;
    }
    println!("it comes back: {}", latest.wait_for(|now| now.mode == Mode::Normal).await?.mode);

    let mut modes = Vec::new();
    while modes.len() < 3 {
        let mode = actor_heard.recv().await.ok_or("the actor ended")?;
        if modes.last() != Some(&mode) {
            modes.push(mode);
        }
    }
    println!("the actor heard: {}", joined(&modes));
    println!("the stream heard: {}", joined(&stream_heard.await?));
    println!("the task sees now: {}", latest.borrow().mode);
    let _ = runtime.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The first `count` different modes of a stream of snapshots.
async fn first_modes(changes: impl Stream<Item = Heard<Arc<ModeSnapshot>>>, count: usize) -> Vec<Mode> {
    let mut changes = pin!(changes);
    let mut modes = Vec::new();
    while modes.len() < count
        && let Some(Heard::Item(snapshot)) = changes.next().await
    {
        if modes.last() != Some(&snapshot.mode) {
            modes.push(snapshot.mode);
        }
    }
    modes
}

fn joined(modes: &[Mode]) -> String {
    modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(", ")
}
