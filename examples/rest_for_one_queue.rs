//! A dispatcher and two workers that were started after it, because they need it: rest for one.
//!
//! A worker that crashes is restarted with those after it; the dispatcher goes on. When the dispatcher crashes,
//! both workers are restarted with it, in order. The jobs stand in a vault, so none is lost. Run it with
//! `cargo run --example rest_for_one_queue`. It prints:
//!
//! ```text
//! before: queue 1, dispatcher 1, first 1, last 1
//! the last worker crashes: queue 1, dispatcher 1, first 1, last 2
//! the dispatcher crashes: queue 1, dispatcher 2, first 2, last 3
//! jobs: 3 pushed, 3 left
//! after:
//! queue: up
//! dispatcher: up, life 2, last panicked: crash requested
//! first: up, life 2, last stopped
//! last: up, life 3, last stopped
//! ```

#![allow(clippy::print_stdout)] // Printing is what an example does.

use std::time::Duration;

use mainstay::{
    Runtime,
    actors::{
        clock::SystemClock,
        ports::Clock,
        shell::{Behavior, Cx, Failure},
        supervision::{
            ChildSpec, Handle, Legacy, Patience, Reply, RestartPolicy, Strategy, Vault, tree::TreeSnapshot,
        },
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// The jobs that wait. Of jobs that crash every dispatcher nothing is kept.
#[derive(Default)]
struct Jobs(Vec<&'static str>);

impl Legacy for Jobs {
    fn afresh(&self) -> Self {
        Self::default()
    }
}

struct Dispatcher {
    jobs: Vault<Jobs>,
}

enum Order {
    Push(&'static str),
    Left(Reply<usize>),
}

impl Behavior for Dispatcher {
    type Msg = Order;

    async fn handle(&mut self, order: Order, _: &Cx<Order>) -> Result<(), Failure> {
        match order {
            Order::Push(job) => self.jobs.with(|jobs| jobs.0.push(job)),
            Order::Left(reply) => reply.send(self.jobs.with(|jobs| jobs.0.len())),
        }
        Ok(())
    }
}

struct Worker;

impl Behavior for Worker {
    type Msg = ();

    async fn handle(&mut self, (): (), _: &Cx<()>) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The crashes are rehearsed; what they say stands in the tree.
    std::panic::set_hook(Box::new(|_| {}));
    let jobs = Vault::new(Jobs::default());
    let (dispatcher, orders) = ChildSpec::new("root/queue/dispatcher", move |_| {
        jobs.open(SystemClock.now());
        Dispatcher { jobs: jobs.clone() }
    });
    let (first, _) = ChildSpec::new("root/queue/first", |_| Worker);
    let (last, last_at) = ChildSpec::new("root/queue/last", |_| Worker);
    let policy = RestartPolicy { strategy: Strategy::RestForOne, ..RestartPolicy::default() };
    let children = vec![dispatcher, first, last];
    let runtime = Runtime::builder().supervise("queue", policy, children).start().await?;

    println!("before: {}", lives(&runtime));
    ["one", "two", "three"]
        .into_iter()
        .try_for_each(|job| orders.tell(Order::Push(job)).map_err(|e| e.reason.to_string()))?;
    crash(&runtime, &last_at, 2).await;
    println!("the last worker crashes: {}", lives(&runtime));
    crash(&runtime, &orders, 3).await;
    println!("the dispatcher crashes: {}", lives(&runtime));
    println!("jobs: 3 pushed, {} left", orders.call(Order::Left, SECOND, Patience::Wait).await?);
    print!("after:\n{}", queue(&runtime).map(|queue| queue.render()).unwrap_or_default());
    let _ = runtime.shutdown(5 * SECOND).await;
    Ok(())
}

/// Crashes an actor and waits until the last worker, which every restart concerns, is in this life.
async fn crash<M: Send + 'static>(runtime: &Runtime, actor: &Handle<M>, life: u64) {
    actor.crash();
    while queue(runtime).and_then(|queue| Some(queue.children.last()?.incarnation)) != Some(life) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn queue(runtime: &Runtime) -> Option<TreeSnapshot> {
    runtime.tree().find("root/queue").cloned()
}

fn lives(runtime: &Runtime) -> String {
    let Some(queue) = queue(runtime) else { return String::new() };
    let all = std::iter::once(&queue).chain(&queue.children);
    let told: Vec<_> = all.map(|actor| format!("{} {}", actor.name(), actor.incarnation)).collect();
    told.join(", ")
}
