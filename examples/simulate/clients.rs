//! Clients that call, stream, leave early and call again, until well after the last fault.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use mainstay::{
    Chain,
    actors::{
        supervision::{Handle, Patience, Reply},
        system::System,
        testing::request,
    },
};

use crate::{RECOVERY, TROUBLE, stage::Stage};

/// How one call ended.
pub(crate) struct Call {
    pub(crate) answered: bool,
    pub(crate) line: String,
}

impl<T, E> From<Result<T, E>> for Call
where
    T: std::fmt::Display,
    E: std::fmt::Display,
{
    fn from(ended: Result<T, E>) -> Self {
        let answered = ended.is_ok();
        Self { answered, line: ended.map_or_else(|error| error.to_string(), |answer| answer.to_string()) }
    }
}

/// One client's calls; each must end by its deadline.
pub(crate) fn life(
    stage: &Stage,
    seed: u64,
    client: usize,
) -> impl Future<Output = (usize, Result<Vec<Call>, String>)> + Send + use<> {
    let (system, commons) = (stage.system().clone(), stage.system().commons().clone());
    let worker = stage.worker(client).clone();
    let mut chance = fastrand::Rng::with_seed(seed ^ (client as u64 + 1) << 32);
    let until = commons.now() + TROUBLE + RECOVERY;
    let life = async move {
        let mut ended = Vec::new();
        while commons.now() < until {
            tokio::time::sleep(Duration::from_millis(chance.u64(50..4000))).await;
            let (began, timeout) = (commons.now(), Duration::from_millis(chance.u64(100..30_000)));
            let call = match chance.u8(0..5) {
                0 => asks(&worker, timeout).await,
                1 => leaves(chat(&system)?, timeout).await,
                2 => streams(chat(&system)?, timeout).await,
                _ => calls(chat(&system)?, timeout).await,
            };
            let took = commons.now() - began;
            if took > timeout + Duration::from_millis(1) {
                return Err(format!("a call took {took:?} of {timeout:?}: {}", call.line));
            }
            ended.push(call);
        }
        Ok(ended)
    };
    async move { (client, life.await) }
}

/// The chain as it is now.
fn chat(system: &System) -> Result<Arc<Chain>, String> {
    system.chain("chat").ok_or_else(|| "there is no chain any more".into())
}

async fn asks(worker: &Handle<Reply<u64>>, timeout: Duration) -> Call {
    worker
        .call(|reply| reply, timeout, Patience::Wait)
        .await
        .map(|life| format!("worker in life {life}"))
        .into()
}

async fn leaves(chat: Arc<Chain>, timeout: Duration) -> Call {
    let _ = tokio::time::timeout(timeout / 2, chat.call(request().timeout(timeout))).await;
    Call { answered: true, line: "left, or was answered".into() }
}

async fn calls(chat: Arc<Chain>, timeout: Duration) -> Call {
    let reply = chat.call(request().timeout(timeout)).await;
    reply.map(|reply| format!("{} {:?}", reply.story.id, reply.story.failed)).into()
}

/// Reads until the stream ends, in order or not.
async fn streams(chat: Arc<Chain>, timeout: Duration) -> Call {
    let mut stream = match chat.stream(request().timeout(timeout)).await {
        Ok(stream) => stream,
        Err(error) => return Call { answered: false, line: error.to_string() },
    };
    while let Some(frame) = stream.next().await {
        if let Err(interrupted) = frame {
            return Call { answered: false, line: interrupted.to_string() };
        }
    }
    Call { answered: true, line: format!("{} {}", stream.story.id, stream.delivered()) }
}
