//! Mainstay's side: a child under a supervisor, in a whole system that is told of all it does.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use mainstay::actors::{
    backoff::{Backoff, Jitter},
    clock::SystemClock,
    event::{EventKind, Heard},
    mode::board::{Concern, Health, Reporter},
    shell::{Behavior, Cx, Failure},
    supervision::{ChildSpec, Children, Handle, Patience, Restart, RestartPolicy, Supervisor},
    system::{Supervised, SystemBuilder},
};
use tokio::runtime::Runtime;

use crate::common::{Arrivals, Ask, CALLS, DEADLINE, LIVES, SUBSCRIBERS, Scheduler, crash_to_answer};

struct Echo;

impl Behavior for Echo {
    type Msg = Ask;

    async fn handle(&mut self, ask: Ask, _: &Cx<Ask>) -> Result<(), Failure> {
        ask.obey();
        Ok(())
    }
}

struct Listener(Arrivals);

impl Behavior for Listener {
    type Msg = Arc<EventKind>;

    async fn handle(&mut self, _: Arc<EventKind>, _: &Cx<Arc<EventKind>>) -> Result<(), Failure> {
        self.0.count();
        Ok(())
    }
}

pub(crate) struct Side {
    pub(crate) tokio: Runtime,
    tree: Supervised,
    children: Children,
    echo: Handle<Ask>,
}

impl Side {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        let tokio = scheduler.runtime();
        let (spec, echo) = ChildSpec::new("root/own/echo", |_| Echo);
        let mut children = None;
        let system = SystemBuilder::new(Arc::new(SystemClock), 1, 1).start(|system| {
            let (own, admin) = Supervisor::spec("root/own", untiring(), vec![spec], system.commons())?;
            children = Some(admin);
            Ok(vec![own])
        });
        let tree = tokio.block_on(system).unwrap();
        Self { tokio, tree, children: children.unwrap(), echo }
    }

    pub(crate) fn calls(&self) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..CALLS {
                call(&echo, false).await.unwrap();
            }
        }
    }

    pub(crate) fn starts_and_stops(&self) -> impl Future<Output = ()> + use<> {
        let children = self.children.clone();
        async move {
            for _ in 0..LIVES {
                let (spec, _) = ChildSpec::new("root/own/short", |_| Echo);
                children.start(spec.restart(Restart::Temporary)).await.unwrap();
                children.terminate("short").await.unwrap();
            }
        }
    }

    pub(crate) fn crashes(&self) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..LIVES {
                crash_to_answer(|crash| call(&echo, crash)).await;
            }
        }
    }

    pub(crate) fn subscribe_to_events(&self) -> Arrivals {
        self.audience(|| self.tree.system().events().follow())
    }

    pub(crate) fn publish(&self, arrivals: &Arrivals) -> impl Future<Output = ()> + use<> {
        let (events, arrivals) = (self.tree.system().events().clone(), arrivals.clone());
        async move {
            events.publish(EventKind::Draining);
            arrivals.all().await;
        }
    }

    pub(crate) fn subscribe_to_mode(&self) -> (Arrivals, Arc<Reporter>) {
        let system = self.tree.system();
        let arrivals = self.audience(|| system.mode().changes());
        // The present mode, with which every subscription begins.
        self.tokio.block_on(arrivals.all());
        (arrivals, Arc::new(system.commons().health.reporter(&"bench".into(), "bench", Concern::Own)))
    }

    /// Subscribers with a task each.
    fn audience<T, S>(&self, subscribe: impl Fn() -> S) -> Arrivals
    where
        T: Send + 'static,
        S: Stream<Item = Heard<T>> + Send + 'static,
    {
        let arrivals = Arrivals::default();
        for _ in 0..SUBSCRIBERS {
            self.tokio.spawn(listen(subscribe(), arrivals.clone()));
        }
        arrivals
    }

    /// Actors with a mailbox each.
    pub(crate) fn start_audience(&self) -> (Arrivals, Arc<[Handle<Arc<EventKind>>]>) {
        let arrivals = Arrivals::default();
        let actors = (0..SUBSCRIBERS).map(|n| {
            let arrivals = arrivals.clone();
            let (spec, actor) = ChildSpec::new(format!("root/own/{n}"), move |_| Listener(arrivals.clone()));
            self.tokio.block_on(self.children.start(spec)).unwrap();
            actor
        });
        let actors = actors.collect();
        (arrivals, actors)
    }
}

/// Restarts at once, and as often as it takes.
fn untiring() -> RestartPolicy {
    let backoff = Backoff { min: Duration::ZERO, max: Duration::ZERO, jitter: Jitter::Spread(0.0) };
    let within = Duration::from_nanos(1);
    RestartPolicy { restarts: usize::MAX, within, backoff, ..RestartPolicy::default() }
}

async fn call(echo: &Handle<Ask>, crash: bool) -> Option<u64> {
    echo.call(|answer| Ask { crash, answer }, DEADLINE, Patience::Wait).await.ok()
}

async fn listen<T>(heard: impl Stream<Item = Heard<T>>, arrivals: Arrivals) {
    let mut heard = pin!(heard);
    while let Some(Heard::Item(_)) = heard.next().await {
        arrivals.count();
    }
}

pub(crate) fn change_mode(
    reporter: &Arc<Reporter>,
    reason: &'static str,
    arrivals: &Arrivals,
) -> impl Future<Output = ()> + use<> {
    let (reporter, arrivals) = (reporter.clone(), arrivals.clone());
    async move {
        reporter.report(Health::Degraded, reason, None);
        arrivals.all().await;
    }
}

pub(crate) fn tell_all(
    actors: &Arc<[Handle<Arc<EventKind>>]>,
    arrivals: &Arrivals,
) -> impl Future<Output = ()> + use<> {
    let (actors, arrivals) = (actors.clone(), arrivals.clone());
    async move {
        let event = Arc::new(EventKind::Draining);
        actors.iter().for_each(|actor| actor.tell(event.clone()).unwrap());
        arrivals.all().await;
    }
}
