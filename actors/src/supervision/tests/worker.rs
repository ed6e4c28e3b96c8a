//! The actor of these tests: it does what it is told, and goes wrong where its plan says so.

use std::sync::{Mutex, PoisonError};

use super::*;

/// What a worker is told to do.
pub(super) enum Order {
    Count,
    Fail,
    Panic,
    /// Fails, and says this.
    FailSaying(String),
    /// Panics, and says this.
    PanicSaying(String),
    Stop,
    Hang,
    /// Ends itself by force.
    Kill,
    /// Leaves ractor's own tree.
    Unlink,
    /// Answers after this time.
    Answer(Reply<u64>, Duration),
}

/// A way in which a life can end, and how that is told. With a handler that hangs it takes a limit to hanging.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) order: fn() -> Order,
    pub(super) told: &'static str,
    pub(super) crash: bool,
}

pub(super) const ENDS: [End; 5] = [
    End { order: || Order::Stop, told: "stopped", crash: false },
    End { order: || Order::Fail, told: "failed: told to", crash: true },
    End { order: || Order::Panic, told: "panicked: told to", crash: true },
    End { order: || Order::Kill, told: "killed", crash: true },
    End { order: || Order::Hang, told: "hung: no progress", crash: true },
];

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

/// How the next lives of one worker begin and end.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) counted: AtomicU64,
    /// So many starts fail.
    pub(super) failing_starts: AtomicU64,
    /// Starting takes this many seconds.
    pub(super) slow_start: AtomicU64,
    /// Cleaning up takes this many seconds.
    pub(super) slow_stop: AtomicU64,
    /// It does not stop when it is asked to.
    pub(super) stubborn: AtomicU64,
    /// It has nothing to do.
    pub(super) idle: AtomicU64,
    /// Where its code panics.
    pub(super) bug: Mutex<Option<Bug>>,
    /// Lives that were made.
    pub(super) made: AtomicU64,
    /// Lives that hold their resources, and whether there were ever two.
    pub(super) alive: AtomicU64,
    pub(super) overlapped: AtomicU64,
    pub(super) log: Log,
}

/// Where a worker's code can panic, besides its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    Make,
    Started,
    Shutdown,
    Stopped,
    Drop,
    /// When a callback is cut off.
    CutOff,
}

impl Plan {
    pub(super) fn plant(&self, bug: Option<Bug>) {
        *self.bug.lock().unwrap_or_else(PoisonError::into_inner) = bug;
    }

    fn strike(&self, bug: Bug) {
        let planted = *self.bug.lock().unwrap_or_else(PoisonError::into_inner);
        assert_ne!(planted, Some(bug), "a bug");
    }
}

/// Who cleaned up, and after that what was dropped, in order.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub(super) struct Worker {
    name: String,
    plan: Arc<Plan>,
}

pub(super) fn worker(name: &str, plan: &Arc<Plan>) -> (ChildSpec, Handle<Order>) {
    let (name, plan) = (name.to_string(), plan.clone());
    ChildSpec::new(format!("root/crew/{name}"), move |_| {
        plan.made.fetch_add(1, Ordering::Relaxed);
        plan.strike(Bug::Make);
        plan.alive.fetch_add(1, Ordering::Relaxed);
        Worker { name: name.clone(), plan: plan.clone() }
    })
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.plan.alive.fetch_sub(1, Ordering::Relaxed) > 1 {
            self.plan.overlapped.store(1, Ordering::Relaxed);
        }
        self.plan.strike(Bug::Drop);
    }
}

/// Held by a callback that waits.
struct Bomb(Option<Arc<Plan>>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.iter().for_each(|plan| plan.strike(Bug::CutOff));
    }
}

fn seconds(of: &AtomicU64) -> Duration {
    Duration::from_secs(of.load(Ordering::Relaxed))
}

impl Behavior for Worker {
    type Msg = Order;

    async fn started(&mut self, _: &Cx<Order>) -> Result<Start, Failure> {
        let mut bomb = Bomb(Some(self.plan.clone()));
        tokio::time::sleep(seconds(&self.plan.slow_start)).await;
        bomb.0 = None;
        self.plan.strike(Bug::Started);
        let fails = self.plan.failing_starts.load(Ordering::Relaxed);
        self.plan.failing_starts.store(fails.saturating_sub(1), Ordering::Relaxed);
        match fails {
            0 if self.plan.idle.load(Ordering::Relaxed) > 0 => Ok(Start::Skip),
            0 => Ok(Start::Ready),
            n if n.is_multiple_of(2) => panic!("no start"),
            _ => Err(Failure("no start".into())),
        }
    }

    async fn handle(&mut self, order: Order, cx: &Cx<Order>) -> Result<(), Failure> {
        match order {
            Order::Count => drop(self.plan.counted.fetch_add(1, Ordering::Relaxed)),
            Order::Fail => return Err(Failure("told to".into())),
            Order::Panic => panic!("told to"),
            Order::FailSaying(text) => return Err(Failure(text)),
            Order::PanicSaying(text) => std::panic::panic_any(text),
            Order::Stop => cx.stop(),
            Order::Hang => {
                let _bomb = Bomb(Some(self.plan.clone()));
                std::future::pending().await
            }
            Order::Kill => cx.cell().kill(),
            Order::Unlink => cx.cell().unlink(cx.cell().try_get_supervisor().unwrap()),
            Order::Answer(reply, after) => {
                tokio::time::sleep(after).await;
                self.plan.counted.fetch_add(1, Ordering::Relaxed);
                reply.send(cx.incarnation());
            }
        }
        Ok(())
    }

    fn shutdown(&mut self, cx: &Cx<Order>) {
        self.plan.strike(Bug::Shutdown);
        if self.plan.stubborn.load(Ordering::Relaxed) == 0 {
            cx.stop();
        }
    }

    async fn stopped(&mut self, _: &Cx<Order>) {
        self.plan.log.note(format!("{} cleans up", self.name));
        tokio::time::sleep(seconds(&self.plan.slow_stop)).await;
        self.plan.strike(Bug::Stopped);
        self.plan.log.note(format!("{} is clean", self.name));
    }
}
