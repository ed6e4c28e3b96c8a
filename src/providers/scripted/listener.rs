//! Takes connections, a bounded number of them, and breaks those that are to be broken.
//!
//! What is answered on them is not known here.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstay_actors::commons::Tasks;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::routes::{self, Shared};

/// How many connections are served at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;

/// How long a request's head may take to come.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be taken, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until its tasks are cancelled.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>, tasks: Tasks) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                shared.book.connected();
                let shared = shared.clone();
                tasks.spawn(async move {
                    serve(stream, peer, shared).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection could be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let service = service_fn(move |request| routes::answer(shared.clone(), request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = (&mut connection).await {
        tracing::debug!(%peer, %error, "connection broken");
        // Closed without lingering, a socket is reset: what a crashed server looks like.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}
