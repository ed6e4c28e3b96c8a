//! One actor crashes again and again, faster than its supervisor may repair: it gives up, the one above starts
//! it anew, and when the storm is over all is well again.
//!
//! Run it with `cargo run --example crash_storm`. It prints:
//!
//! ```text
//! before, in mode NORMAL:
//! storm: up
//! weak: up
//! strong: up
//! the storm:
//! root/storm gave up: root/storm/weak failed: it does not start
//! mode NORMAL -> EMERGENCY -> NORMAL
//! after, in mode NORMAL:
//! storm: up, life 2, last failed: gave up after too many restarts; last: root/storm/weak failed: it does not start
//! weak: up, life 2, last failed: it does not start
//! strong: up, life 2, last stopped
//! ```

#![allow(clippy::print_stdout)] // Printing is what an example does.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use mainstay::{
    Mode, ModeSnapshot, Runtime,
    actors::{
        backoff::{Backoff, Jitter},
        event::{EventKind, Heard},
        shell::{Behavior, Cx, Failure, Start},
        supervision::{ChildSpec, RestartPolicy, tree::TreeSnapshot},
    },
};

/// Fails when it is told to, and then does not start again so many times.
struct Weak(Arc<AtomicU32>);

impl Behavior for Weak {
    type Msg = ();

    async fn started(&mut self, _: &Cx<()>) -> Result<Start, Failure> {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 { Ok(Start::Ready) } else { Err(Failure("it does not start".into())) }
    }

    async fn handle(&mut self, (): (), _: &Cx<()>) -> Result<(), Failure> {
        Err(Failure("it was told to fail".into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let failing_starts = Arc::new(AtomicU32::new(0));
    let of_weak = failing_starts.clone();
    let (weak, tell) = ChildSpec::new("root/storm/weak", move |_| Weak(of_weak.clone()));
    let (strong, _) = ChildSpec::new("root/storm/strong", |_| Weak(Arc::default()));
    let millis = Duration::from_millis;
    let backoff = Backoff { min: millis(20), max: millis(20), jitter: Jitter::Spread(0.2) };
    let policy = RestartPolicy { restarts: 3, backoff, ..RestartPolicy::default() };
    let runtime = Runtime::builder().supervise("storm", policy, vec![weak, strong]).start().await?;
    let modes = tokio::spawn(modes(runtime.mode().changes()));
    let mut events = pin!(runtime.events().follow());

    show("before", &runtime);
    println!("the storm:");
    failing_starts.store(3, Ordering::Relaxed);
    tell.tell(())?;
    while let Some(Heard::Item(event)) = events.next().await {
        if let EventKind::SupervisorGaveUp { .. } = event.kind {
            println!("  {}", event.kind);
            break;
        }
    }
    println!("  mode {}", modes.await?);
    show("after", &runtime);
    let _ = runtime.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The modes from NORMAL to NORMAL again, but for DEGRADED, which is passed on the way.
async fn modes(changes: impl Stream<Item = Heard<Arc<ModeSnapshot>>>) -> String {
    let mut changes = pin!(changes);
    let (mut told, mut last) = (String::new(), Mode::Normal);
    while let Some(Heard::Item(snapshot)) = changes.next().await {
        let mode = snapshot.mode;
        match (last, mode) {
            (Mode::Normal, Mode::Normal) => told = mode.to_string(),
            (_, Mode::Normal) => return format!("{told} -> {mode}"),
            (before, Mode::Emergency) if before != mode => told = format!("{told} -> {mode}"),
            _ => {}
        }
        last = mode;
    }
    told
}

fn show(when: &str, runtime: &Runtime) {
    println!("{when}, in mode {}:", runtime.mode().now());
    print!("{}", runtime.tree().find("root/storm").map(TreeSnapshot::render).unwrap_or_default());
}
