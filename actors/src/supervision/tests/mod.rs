//! The supervisor at work on virtual time, over workers that crash, hang and linger when they are told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    commons::Commons,
    event::EventKind,
    mode::Mode,
    shell::{Behavior, Cx, Exit, Failure, Start},
    supervision::slot::Obstacle,
    system::{StartError, Supervised, SystemBuilder},
    testing::{VirtualClock, settle},
};

mod admin;
mod escalation;
mod handles;
mod hangs;
mod restarts;
mod start;
mod stop;
mod systems;

const SECOND: Duration = Duration::from_secs(1);

/// What the test's actor is told to do.
enum Order {
    Count,
    Fail,
    Panic,
    Stop,
    Hang,
    /// Answers after this time.
    Answer(Reply<u64>, Duration),
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

/// How the next lives begin and end.
#[derive(Default)]
struct Plan {
    counted: AtomicU64,
    /// So many starts fail.
    failing_starts: AtomicU64,
    /// Starting takes this many seconds.
    slow_start: AtomicU64,
    /// It does not stop when it is asked to.
    stubborn: AtomicU64,
    /// It has nothing to do.
    idle: AtomicU64,
    /// Lives that hold their resources, and whether there were ever two.
    alive: AtomicU64,
    overlapped: AtomicU64,
}

struct Worker(Arc<Plan>);

impl Drop for Worker {
    fn drop(&mut self) {
        if self.0.alive.fetch_sub(1, Ordering::Relaxed) > 1 {
            self.0.overlapped.store(1, Ordering::Relaxed);
        }
    }
}

impl Behavior for Worker {
    type Msg = Order;

    async fn started(&mut self, _: &Cx<Order>) -> Result<Start, Failure> {
        tokio::time::sleep(self.0.slow_start.load(Ordering::Relaxed) as u32 * SECOND).await;
        let fails = self.0.failing_starts.load(Ordering::Relaxed);
        self.0.failing_starts.store(fails.saturating_sub(1), Ordering::Relaxed);
        match fails {
            0 if self.0.idle.load(Ordering::Relaxed) > 0 => Ok(Start::Skip),
            0 => Ok(Start::Ready),
            n if n.is_multiple_of(2) => panic!("no start"),
            _ => Err(Failure("no start".into())),
        }
    }

    async fn handle(&mut self, order: Order, cx: &Cx<Order>) -> Result<(), Failure> {
        match order {
            Order::Count => drop(self.0.counted.fetch_add(1, Ordering::Relaxed)),
            Order::Fail => return Err(Failure("told to".into())),
            Order::Panic => panic!("told to"),
            Order::Stop => cx.stop(),
            Order::Hang => std::future::pending().await,
            Order::Answer(reply, after) => {
                tokio::time::sleep(after).await;
                self.0.counted.fetch_add(1, Ordering::Relaxed);
                reply.send(cx.incarnation());
            }
        }
        Ok(())
    }

    fn shutdown(&mut self, cx: &Cx<Order>) {
        if self.0.stubborn.load(Ordering::Relaxed) == 0 {
            cx.stop();
        }
    }
}

struct Workers {
    tree: Supervised,
    handles: Vec<Handle<Order>>,
    plans: Vec<Arc<Plan>>,
    children: Children,
}

/// `root/crew` over workers `0`, `1`, …; `plan` prepares them before they start.
async fn workers(count: usize, plan: impl Fn(&[Arc<Plan>])) -> Result<Workers, StartError> {
    workers_under(RestartPolicy::default(), count, plan, |spec| spec).await
}

async fn workers_under(
    policy: RestartPolicy,
    count: usize,
    plan: impl Fn(&[Arc<Plan>]),
    shape: impl Fn(ChildSpec) -> ChildSpec,
) -> Result<Workers, StartError> {
    let plans: Vec<Arc<Plan>> = (0..count).map(|_| Arc::default()).collect();
    plan(&plans);
    let builder = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
    let (mut handles, mut children) = (Vec::new(), None);
    let tree = builder
        .start(|system| {
            let specs = plans.iter().enumerate().map(|(n, plan)| {
                let (spec, handle) = worker(&n.to_string(), plan);
                handles.push(handle);
                shape(spec)
            });
            let (spec, admin) = Supervisor::spec("root/crew", policy, specs.collect(), system.commons())?;
            children = Some(admin);
            Ok(vec![spec])
        })
        .await?;
    Ok(Workers { tree, handles, plans, children: children.unwrap() })
}

fn worker(name: &str, plan: &Arc<Plan>) -> (ChildSpec, Handle<Order>) {
    let plan = plan.clone();
    ChildSpec::new(format!("root/crew/{name}"), move |_| {
        plan.alive.fetch_add(1, Ordering::Relaxed);
        Worker(plan.clone())
    })
}

impl Workers {
    fn commons(&self) -> &Commons {
        self.tree.system().commons()
    }

    fn find(&self, path: &str) -> tree::TreeSnapshot {
        self.tree.system().tree().find(path).unwrap().clone()
    }

    fn life(&self, worker: usize) -> u64 {
        self.find(&format!("root/crew/{worker}")).incarnation
    }

    async fn up_again(&self, worker: usize) {
        settle().await;
        assert!(self.handles[worker].clone().up().await, "it is down for good");
    }

    fn told(&self) -> Vec<EventKind> {
        self.tree.system().events().recent().iter().map(|event| event.kind.clone()).collect()
    }
}

async fn asked(handle: &Handle<Order>, after: Duration, patience: Patience) -> Result<u64, CallError> {
    handle.call(|reply| Order::Answer(reply, after), 5 * SECOND, patience).await
}
