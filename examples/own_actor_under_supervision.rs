//! An orchestrator puts actors of its own under Mainstay's tree: an index and a tool runner that needs it.
//!
//! They are restarted together when the index crashes, callers keep one address across all lives, and a third
//! actor comes and goes while the system runs. Run it with `cargo run --example own_actor_under_supervision`. It
//! prints:
//!
//! ```text
//! before:
//! search: up
//! index: up
//! runner: up
//! the runner in life 1 answers: 1 document
//! the index crashes: the call under way is interrupted
//! the runner in life 2 answers: 1 document
//! after:
//! search: up
//! index: up, life 2, last failed: the index is corrupt
//! runner: up, life 2, last stopped
//! a crawler is added: 3 of 3 are active
//! the crawler closes its connections
//! and taken out again: 2 of 2 are active
//! shut down in order: true
//! ```

#![allow(clippy::print_stdout)] // Printing is what an example does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mainstay::{
    Runtime,
    actors::{
        shell::{Behavior, Cx, Failure, Start},
        supervision::{
            ChildSpec, Children, Handle, Patience, Reply, RestartPolicy, Strategy, tree::TreeSnapshot,
        },
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// Counts documents; the count outlives its lives.
struct Index(Arc<AtomicUsize>);

enum Query {
    Count(Reply<usize>),
    Corrupt(Reply<usize>),
}

impl Behavior for Index {
    type Msg = Query;

    async fn handle(&mut self, query: Query, _: &Cx<Query>) -> Result<(), Failure> {
        match query {
            Query::Count(reply) => reply.send(self.0.load(Ordering::Relaxed)),
            Query::Corrupt(unanswered) => {
                drop(unanswered);
                return Err(Failure("the index is corrupt".into()));
            }
        }
        Ok(())
    }
}

/// Asks the index, and is restarted along with it. It waits for the index in a task of its own, so that its
/// next message need not.
struct Runner {
    index: Handle<Query>,
    life: u64,
}

struct Run(Reply<(u64, usize)>);

impl Behavior for Runner {
    type Msg = Run;

    async fn started(&mut self, cx: &Cx<Run>) -> Result<Start, Failure> {
        self.life = cx.incarnation();
        Ok(Start::Ready)
    }

    async fn handle(&mut self, Run(reply): Run, cx: &Cx<Run>) -> Result<(), Failure> {
        let (index, life) = (self.index.clone(), self.life);
        cx.commons().tasks.spawn(async move {
            // Without an answer the reply is dropped, and our caller knows.
            if let Ok(documents) = index.call(Query::Count, SECOND, Patience::FailFast).await {
                reply.send((life, documents));
            }
        });
        Ok(())
    }
}

/// Has nothing to do but to be there, and to leave in order.
struct Crawler;

impl Behavior for Crawler {
    type Msg = ();

    async fn handle(&mut self, (): (), _: &Cx<()>) -> Result<(), Failure> {
        Ok(())
    }

    async fn stopped(&mut self, _: &Cx<()>) {
        println!("the crawler closes its connections");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let documents = Arc::new(AtomicUsize::new(1));
    let (index, index_at) = ChildSpec::new("root/search/index", move |_| Index(documents.clone()));
    let asks = index_at.clone();
    let (runner, runner_at) =
        ChildSpec::new("root/search/runner", move |_| Runner { index: asks.clone(), life: 0 });
    let policy = RestartPolicy { strategy: Strategy::RestForOne, ..RestartPolicy::default() };
    let runtime = Runtime::builder().supervise("search", policy, vec![index, runner]).start().await?;

    show("before", &runtime);
    println!("{}", told(&runner_at).await?);
    let interrupted = index_at.call(Query::Corrupt, SECOND, Patience::Wait).await;
    println!(
        "the index crashes: {}",
        if interrupted.is_err() { "the call under way is interrupted" } else { "?" }
    );
    while restarts(&runtime, "runner") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{}", told(&runner_at).await?);
    show("after", &runtime);

    let search = runtime.children("search").ok_or("no supervisor `search`")?;
    search.start(ChildSpec::new("root/search/crawler", |_| Crawler).0).await?;
    println!("a crawler is added: {}", active(search));
    search.terminate("crawler").await?;
    search.delete("crawler").await?;
    println!("and taken out again: {}", active(search));
    println!("shut down in order: {}", runtime.shutdown(5 * SECOND).await.is_clean());
    Ok(())
}

async fn told(runner: &Handle<Run>) -> Result<String, Box<dyn std::error::Error>> {
    let (life, documents) = runner.call(Run, SECOND, Patience::Wait).await?;
    Ok(format!("the runner in life {life} answers: {documents} document"))
}

fn restarts(runtime: &Runtime, name: &str) -> u64 {
    runtime.tree().find(&format!("root/search/{name}")).map_or(0, |actor| actor.restarts)
}

fn show(when: &str, runtime: &Runtime) {
    println!("{when}:");
    print!("{}", runtime.tree().find("root/search").map(TreeSnapshot::render).unwrap_or_default());
}

fn active(children: &Children) -> String {
    let counts = children.snapshot().counts();
    format!("{} of {} are active", counts.active, counts.specs)
}
