//! Many who ask the same at once, and one answer: three ways to that.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use mainstay::Request;
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::common::{Answering, CALLERS, Counting, Side, all_asked, plan, run, runtime};

const ENOUGH: u64 = CALLERS as u64;

/// A chain whose provider answers when all have asked.
pub(crate) fn ours(workers: usize) -> Side {
    let asked = Arc::<AtomicU64>::default();
    let provider = Answering { asked: asked.clone(), enough: ENOUGH };
    Side::new(runtime(workers), provider, Some(plan(Counting { asked, same: ENOUGH }, Vec::new())))
}

pub(crate) fn call(side: &Side, request: &Request) {
    let (chain, request) = (side.chain.clone(), request.clone());
    run(&side.tokio, async move {
        let callers = (0..CALLERS).map(|_| {
            let (chain, request) = (chain.clone(), request.clone());
            tokio::spawn(async move { chain.call(request).await.unwrap() })
        });
        join_all(callers.collect::<Vec<_>>()).await.into_iter().for_each(|done| drop(done.unwrap()));
    });
}

pub(crate) fn once_cell(tokio: &Runtime) {
    run(tokio, async {
        let (cell, asked) = (Arc::new(OnceCell::new()), Arc::<AtomicU64>::default());
        let callers = (0..CALLERS).map(|_| {
            let (cell, asked) = (cell.clone(), asked.clone());
            tokio::spawn(async move {
                asked.fetch_add(1, Relaxed);
                cell.get_or_init(|| answer(&asked)).await.clone()
            })
        });
        join_all(callers.collect::<Vec<_>>()).await.into_iter().for_each(|done| drop(done.unwrap()));
    });
}

pub(crate) fn shared(tokio: &Runtime) {
    run(tokio, async {
        let asked = Arc::<AtomicU64>::default();
        let counted = asked.clone();
        let flight = async move { answer(&counted).await }.boxed().shared();
        let callers = (0..CALLERS).map(|_| {
            let (flight, asked) = (flight.clone(), asked.clone());
            tokio::spawn(async move {
                asked.fetch_add(1, Relaxed);
                flight.await
            })
        });
        join_all(callers.collect::<Vec<_>>()).await.into_iter().for_each(|done| drop(done.unwrap()));
    });
}

async fn answer(asked: &AtomicU64) -> Bytes {
    all_asked(asked, ENOUGH).await;
    Bytes::from_static(b"{}")
}
