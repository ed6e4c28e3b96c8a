//! The same with kameo: a supervised actor, restarted at once and as often as it takes.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use kameo::{
    Actor,
    actor::{ActorRef, Spawn},
    message::{Context, Message},
    supervision::RestartPolicy,
};
use mainstay::actors::event::EventKind;
use tokio::runtime::Runtime;

use crate::common::{Arrivals, CALLS, DEADLINE, LIVES, SUBSCRIBERS, Scheduler, crash, crash_to_answer};

struct Supervisor;

impl Actor for Supervisor {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

pub(crate) struct Echo;

impl Actor for Echo {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

struct Question {
    crash: bool,
}

impl Message<Question> for Echo {
    type Reply = u64;

    async fn handle(&mut self, question: Question, _: &mut Context<Self, u64>) -> u64 {
        if question.crash { crash() } else { 1 }
    }
}

pub(crate) struct Listener(Arrivals);

impl Actor for Listener {
    type Args = Arrivals;
    type Error = Infallible;

    async fn on_start(arrivals: Arrivals, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self(arrivals))
    }
}

impl Message<Arc<EventKind>> for Listener {
    type Reply = ();

    async fn handle(&mut self, _: Arc<EventKind>, _: &mut Context<Self, ()>) {
        self.0.count();
    }
}

pub(crate) struct Side {
    pub(crate) tokio: Runtime,
    supervisor: ActorRef<Supervisor>,
    echo: ActorRef<Echo>,
}

impl Side {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        let tokio = scheduler.runtime();
        let (supervisor, echo) = tokio.block_on(async {
            let supervisor = Supervisor::spawn(());
            let echo = Echo::supervise(&supervisor, ()).restart_limit(u32::MAX, Duration::from_nanos(1));
            let echo = echo.spawn().await;
            (supervisor, echo)
        });
        Self { tokio, supervisor, echo }
    }

    pub(crate) fn calls(&self) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..CALLS {
                echo.ask(Question { crash: false }).send().await.unwrap();
            }
        }
    }

    pub(crate) fn calls_with_timeout(&self) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..CALLS {
                echo.ask(Question { crash: false }).reply_timeout(DEADLINE).send().await.unwrap();
            }
        }
    }

    pub(crate) fn starts_and_stops(&self) -> impl Future<Output = ()> + use<> {
        let supervisor = self.supervisor.clone();
        async move {
            for _ in 0..LIVES {
                let short = Echo::supervise(&supervisor, ()).restart_policy(RestartPolicy::Never);
                let short = short.spawn().await;
                short.wait_for_startup().await;
                short.stop_gracefully().await.unwrap();
                short.wait_for_shutdown().await;
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

    pub(crate) fn start_audience(&self) -> (Arrivals, Arc<[ActorRef<Listener>]>) {
        let arrivals = Arrivals::default();
        let actors = (0..SUBSCRIBERS).map(|_| {
            let actor = Listener::supervise(&self.supervisor, arrivals.clone());
            self.tokio.block_on(actor.spawn())
        });
        let actors = actors.collect();
        (arrivals, actors)
    }
}

async fn call(echo: &ActorRef<Echo>, crash: bool) -> Option<u64> {
    echo.ask(Question { crash }).send().await.ok()
}

pub(crate) fn tell_all(
    actors: &Arc<[ActorRef<Listener>]>,
    arrivals: &Arrivals,
) -> impl Future<Output = ()> + use<> {
    let (actors, arrivals) = (actors.clone(), arrivals.clone());
    async move {
        let event = Arc::new(EventKind::Draining);
        for actor in actors.iter() {
            actor.tell(event.clone()).send().await.unwrap();
        }
        arrivals.all().await;
    }
}
