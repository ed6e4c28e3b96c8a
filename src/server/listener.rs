//! The supervised actor of one listener.
//!
//! The socket is bound once, before the tree starts, and shared by all lives: a crash of the actor loses no
//! port, refuses no connection, and cuts no running request. A shutdown closes it. How connections are served
//! is in [`accept`](super::accept), and what is served comes in as a [`Post`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use mainstay_actors::{
    commons::Timer,
    shell::{Behavior, Cx, Failure, Start},
    supervision::{ChildSpec, Handle, Shutdown},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::accept;

/// After the drain, streams have this long to send their last event.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a listener serves, and how it ends.
#[derive(Clone)]
pub(super) struct Post {
    /// Its place in the tree.
    pub(super) path: &'static str,
    pub(super) router: Router,
    pub(super) limits: accept::Limits,
    pub(super) ending: Ending,
}

/// A listener that is to end says so, goes on for a while, lets running requests finish, and cuts the rest.
#[derive(Clone, Default)]
pub(super) struct Ending {
    /// How long requests are still taken on after it was said that they should go elsewhere.
    pub(super) delay: Duration,
    /// How long running requests may go on after that.
    pub(super) drain: Duration,
    /// Requests should go elsewhere.
    pub(super) draining: CancellationToken,
    /// The time to finish is over.
    pub(super) cut: CancellationToken,
}

/// What the listener tells itself.
pub(super) enum Note {
    /// The accept loop ended.
    Ended(accept::Served),
    /// Whoever sends requests here had time to notice.
    Close,
    /// The drain is over.
    Cut,
}

/// The socket, until it is closed for good.
#[derive(Clone)]
struct Door(Arc<Mutex<Option<Arc<TcpListener>>>>);

impl Door {
    fn socket(&self) -> Option<Arc<TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

pub(super) struct Listener {
    post: Post,
    door: Door,
    stop: CancellationToken,
    /// A life that ends otherwise than by shutdown takes its accept loop along.
    _stop_on_drop: DropGuard,
    next_step: Option<Timer>,
}

impl Listener {
    pub(super) fn spec(post: Post, socket: TcpListener) -> (ChildSpec, Handle<Note>) {
        let door = Door(Arc::new(Mutex::new(Some(Arc::new(socket)))));
        let (path, shutdown) = (post.path, post.ending.delay + post.ending.drain + 2 * LAST_WORDS);
        let make = move |_| {
            let stop = CancellationToken::new();
            Self {
                post: post.clone(),
                door: door.clone(),
                _stop_on_drop: stop.clone().drop_guard(),
                stop,
                next_step: None,
            }
        };
        let (spec, handle) = ChildSpec::new(path, make);
        (spec.shutdown(Shutdown::Within(shutdown)), handle)
    }

    fn close(&mut self, cx: &Cx<Note>) {
        self.door.close();
        self.stop.cancel();
        self.next_step = Some(cx.after(self.post.ending.drain, Note::Cut));
    }
}

impl Behavior for Listener {
    type Msg = Note;

    async fn started(&mut self, cx: &Cx<Note>) -> Result<Start, Failure> {
        let closed = || Failure("its socket is closed: the process is stopping".into());
        let socket = self.door.socket().ok_or_else(closed)?;
        let Post { router, limits, ending, .. } = self.post.clone();
        let serving = accept::serve(socket, router, limits, self.stop.clone(), ending.drain + LAST_WORDS);
        cx.spawn(async move { Note::Ended(serving.await) });
        Ok(Start::Ready)
    }

    async fn handle(&mut self, note: Note, cx: &Cx<Note>) -> Result<(), Failure> {
        match note {
            Note::Close => self.close(cx),
            Note::Cut => self.post.ending.cut.cancel(),
            Note::Ended(served) if self.stop.is_cancelled() => {
                if served.cut > 0 {
                    tracing::warn!(connections = served.cut, "cut at the end of the drain");
                }
                cx.stop();
            }
            Note::Ended(_) => return Err(Failure("the accept loop ended by itself".into())),
        }
        Ok(())
    }

    fn shutdown(&mut self, cx: &Cx<Note>) {
        self.post.ending.draining.cancel();
        match self.post.ending.delay {
            Duration::ZERO => self.close(cx),
            delay => self.next_step = Some(cx.after(delay, Note::Close)),
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_actors::{
        clock::SystemClock,
        supervision::{RestartPolicy, SlotState, Supervisor},
        system::SystemBuilder,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::server::{Gateway, GatewayLimits};

    #[tokio::test]
    async fn a_crash_of_the_listener_loses_no_port_and_cuts_no_running_request() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let builder = SystemBuilder::new(Arc::new(SystemClock), 1, 1);
        let mut listener = None;
        let with_listener = |system: &mainstay_actors::system::System| {
            let gateway = Gateway::new(system.clone(), None, GatewayLimits::default());
            let (spec, handle) = Listener::spec(gateway.post(), socket);
            listener = Some(handle);
            let (server, _) =
                Supervisor::spec("root/server", RestartPolicy::default(), vec![spec], system.commons())?;
            Ok(vec![server])
        };
        let tree = builder.start(with_listener).await.unwrap();
        let listener = listener.unwrap();

        let mut running = tokio::net::TcpStream::connect(at).await.unwrap();
        running.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        running.read_u8().await.unwrap();
        listener.crash();
        for _ in 0..50 {
            let mut next = tokio::net::TcpStream::connect(at).await.unwrap();
            next.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            next.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut heard = vec![0; 64 << 10];
        let mut text = String::new();
        while !text.contains("root/server/public is up") && !text.contains("actor_up") {
            let read = running.read(&mut heard).await.unwrap();
            assert_ne!(read, 0, "the running request was cut: {text}");
            text += std::str::from_utf8(&heard[..read]).unwrap();
        }
        assert_eq!(listener.state(), SlotState::Up);
        assert!(tree.shutdown(Duration::from_secs(10)).await.is_clean());
    }
}
