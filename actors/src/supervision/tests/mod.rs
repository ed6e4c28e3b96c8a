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
    supervision::{slot::Obstacle, tree::TreeSnapshot},
    system::{StartError, Supervised, SystemBuilder},
    testing::{VirtualClock, settle},
};

mod admin;
mod bugs;
mod cleanup;
mod escalation;
mod handles;
mod hangs;
mod late;
mod reports;
mod restarts;
mod scale;
mod significant;
mod start;
mod stop;
mod systems;
mod worker;

use worker::{Bug, ENDS, End, Log, Order, Plan, worker};

const SECOND: Duration = Duration::from_secs(1);

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

/// A tree with nothing but these below its root.
async fn tree(
    others: impl FnOnce(&Commons) -> Result<Vec<ChildSpec>, BadSpec>,
) -> Result<Supervised, StartError> {
    let builder = SystemBuilder::new(Arc::new(VirtualClock::start()), 1, 1);
    builder.start(|system| others(system.commons())).await
}

async fn workers_under(
    policy: RestartPolicy,
    count: usize,
    plan: impl Fn(&[Arc<Plan>]),
    shape: impl Fn(ChildSpec) -> ChildSpec,
) -> Result<Workers, StartError> {
    let log = Log::default();
    let plans: Vec<_> = (0..count).map(|_| Arc::new(Plan { log: log.clone(), ..Plan::default() })).collect();
    plan(&plans);
    let (mut handles, mut children) = (Vec::new(), None);
    let tree = tree(|commons| {
        let specs = plans.iter().enumerate().map(|(n, plan)| {
            let (spec, handle) = worker(&n.to_string(), plan);
            handles.push(handle);
            shape(spec)
        });
        let (spec, admin) = Supervisor::spec("root/crew", policy, specs.collect(), commons)?;
        children = Some(admin);
        Ok(vec![spec])
    });
    let tree = tree.await?;
    Ok(Workers { tree, handles, plans, children: children.unwrap() })
}

impl Workers {
    fn commons(&self) -> &Commons {
        self.tree.system().commons()
    }

    fn find(&self, path: &str) -> TreeSnapshot {
        self.tree.system().tree().find(path).unwrap().clone()
    }

    fn life(&self, worker: usize) -> u64 {
        self.find(&format!("root/crew/{worker}")).incarnation
    }

    async fn up_again(&self, worker: usize) {
        settle().await;
        assert!(self.handles[worker].clone().up().await, "it is down for good");
    }

    fn last_exit(&self, worker: usize) -> Option<Exit> {
        self.find(&format!("root/crew/{worker}")).last_exit
    }

    /// Shuts down, and tells how many seconds it took.
    async fn shut_down(self) -> u64 {
        let clock = self.commons().clock.clone();
        let began = clock.now();
        assert!(self.tree.shutdown(10_000 * SECOND).await.is_clean());
        (clock.now() - began).as_secs()
    }

    fn told(&self) -> Vec<EventKind> {
        self.tree.system().events().recent().iter().map(|event| event.kind.clone()).collect()
    }
}

async fn asked(handle: &Handle<Order>, after: Duration, patience: Patience) -> Result<u64, CallError> {
    handle.call(|reply| Order::Answer(reply, after), 5 * SECOND, patience).await
}
