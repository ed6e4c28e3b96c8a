//! The least that does the same with tokio alone: bounded channels, and a loop that starts a task anew.

use std::{future::Future, sync::Arc};

use mainstay::actors::event::{EventKind, HISTORY};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, broadcast, mpsc, oneshot},
};

use crate::common::{Arrivals, Ask, CALLS, DEADLINE, LIVES, SUBSCRIBERS, Scheduler, crash_to_answer};

pub(crate) struct Side {
    pub(crate) tokio: Runtime,
    echo: mpsc::Sender<Ask>,
}

impl Side {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        let tokio = scheduler.runtime();
        let (echo, inbox) = mpsc::channel(1024);
        tokio.spawn(supervise(Arc::new(Mutex::new(inbox))));
        Self { tokio, echo }
    }

    pub(crate) fn calls(&self) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..CALLS {
                call(&echo, false).await.unwrap();
            }
        }
    }

    pub(crate) fn calls_with_timeout(&self) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..CALLS {
                tokio::time::timeout(DEADLINE, call(&echo, false)).await.unwrap().unwrap();
            }
        }
    }

    pub(crate) fn starts_and_stops(&self) -> impl Future<Output = ()> + use<> {
        async {
            for _ in 0..LIVES {
                let (echo, inbox) = mpsc::channel(1024);
                let task = tokio::spawn(live(Arc::new(Mutex::new(inbox))));
                drop(echo);
                task.await.unwrap();
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

    pub(crate) fn subscribe(&self) -> (Arrivals, broadcast::Sender<Arc<EventKind>>) {
        let (arrivals, (sender, _)) = (Arrivals::default(), broadcast::channel(HISTORY));
        for _ in 0..SUBSCRIBERS {
            self.tokio.spawn(listen(sender.subscribe(), arrivals.clone()));
        }
        (arrivals, sender)
    }
}

/// Its mailbox outlives each life: what waits in it is for the next one.
type Inbox = Arc<Mutex<mpsc::Receiver<Ask>>>;

async fn supervise(inbox: Inbox) {
    while tokio::spawn(live(inbox.clone())).await.is_err() {}
}

async fn live(inbox: Inbox) {
    let mut inbox = inbox.lock().await;
    while let Some(ask) = inbox.recv().await {
        ask.obey();
    }
}

async fn call(echo: &mpsc::Sender<Ask>, crash: bool) -> Option<u64> {
    let (reply, answer) = oneshot::channel();
    echo.send(Ask { crash, answer: reply.into() }).await.ok()?;
    answer.await.ok()
}

async fn listen(mut events: broadcast::Receiver<Arc<EventKind>>, arrivals: Arrivals) {
    while events.recv().await.is_ok() {
        arrivals.count();
    }
}

pub(crate) fn broadcast(
    sender: &broadcast::Sender<Arc<EventKind>>,
    arrivals: &Arrivals,
) -> impl Future<Output = ()> + use<> {
    let (sender, arrivals) = (sender.clone(), arrivals.clone());
    async move {
        sender.send(Arc::new(EventKind::Draining)).unwrap();
        arrivals.all().await;
    }
}
