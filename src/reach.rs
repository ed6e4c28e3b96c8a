//! Whether this machine reaches the network: by connections to targets that no provider runs.
//!
//! Nothing is sent and no name is looked up. When to look, and what follows, is decided by the egress actor.

use std::{net::SocketAddr, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, select_ok},
};
use mainstay_actors::ports::Reach;
use tokio::{net::TcpStream, time::timeout};

/// A target that has not taken the connection by then is not reached.
const PATIENCE: Duration = Duration::from_secs(2);

/// Targets of which one that takes a connection is proof enough.
#[derive(Clone, Debug)]
pub(crate) struct TcpReach {
    targets: Vec<SocketAddr>,
}

impl TcpReach {
    /// All targets are tried at once; without any, nothing is ever reached.
    pub(crate) fn new(targets: Vec<SocketAddr>) -> Self {
        Self { targets }
    }

    async fn any(&self) -> bool {
        let connecting = self.targets.iter().map(|target| TcpStream::connect(target).boxed());
        let connecting: Vec<_> = connecting.collect();
        !connecting.is_empty() && matches!(timeout(PATIENCE, select_ok(connecting)).await, Ok(Ok(_)))
    }
}

impl Reach for TcpReach {
    fn reach(&self) -> BoxFuture<'_, bool> {
        self.any().boxed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn one_target_that_listens_is_enough_and_none_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shut = gone.local_addr().unwrap();
        drop(gone);
        for (targets, reached) in
            [(vec![open], true), (vec![shut, open], true), (vec![shut], false), (vec![], false)]
        {
            assert_eq!(TcpReach::new(targets.clone()).reach().await, reached, "{targets:?}"); // PC21
        }
    }
}
