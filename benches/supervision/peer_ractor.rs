//! The same with ractor alone, on which Mainstay rests: what of the cost is not Mainstay's own.
//!
//! A supervisor that starts the actor anew when ractor tells it of a crash, and where its address stands. There is no
//! backoff, limit, event or report, and a call that finds nobody is the caller's to repeat.

use std::{future::Future, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, rpc::CallResult};
use tokio::runtime::Runtime;

use crate::common::{CALLS, LIVES, Scheduler, crash, crash_to_answer};

struct Echo;

struct Question {
    crash: bool,
    answer: RpcReplyPort<u64>,
}

impl Actor for Echo {
    type Msg = Question;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Question>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Question>,
        question: Question,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if question.crash {
            crash();
        }
        let _ = question.answer.send(1);
        Ok(())
    }
}

/// Where the present life is.
type Address = Arc<ArcSwapOption<ActorRef<Question>>>;

struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = Address;
    type Arguments = Address;

    async fn pre_start(&self, myself: ActorRef<()>, address: Address) -> Result<Address, ActorProcessingErr> {
        start(myself, &address).await?;
        Ok(address)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        address: &mut Address,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(..) => start(myself, address).await,
            _ => Ok(()),
        }
    }
}

async fn start(parent: ActorRef<()>, address: &Address) -> Result<(), ActorProcessingErr> {
    let (echo, _) = Actor::spawn_linked(None, Echo, (), parent.get_cell()).await?;
    address.store(Some(Arc::new(echo)));
    Ok(())
}

pub(crate) struct Side {
    pub(crate) tokio: Runtime,
    echo: Address,
}

impl Side {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        let (tokio, echo) = (scheduler.runtime(), Address::default());
        tokio.block_on(Actor::spawn(None, Supervisor, echo.clone())).unwrap();
        Self { tokio, echo }
    }

    pub(crate) fn calls(&self, timeout: Option<Duration>) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..CALLS {
                call(&echo, false, timeout).await.unwrap();
            }
        }
    }

    pub(crate) fn crashes(&self) -> impl Future<Output = ()> + use<> {
        let echo = self.echo.clone();
        async move {
            for _ in 0..LIVES {
                crash_to_answer(|crash| call(&echo, crash, None)).await;
            }
        }
    }
}

async fn call(echo: &Address, crash: bool, timeout: Option<Duration>) -> Option<u64> {
    let echo = echo.load_full()?;
    match echo.call(|answer| Question { crash, answer }, timeout).await.ok()? {
        CallResult::Success(answer) => Some(answer),
        _ => None,
    }
}
