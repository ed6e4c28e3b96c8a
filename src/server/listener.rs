//! The supervised actor of the public listener.
//!
//! The socket is bound once, before the tree starts, and shared by all lives: a crash of the actor loses no
//! port, refuses no connection, and cuts no running request. A shutdown closes it. How connections are served
//! is in [`accept`](super::accept).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mainstay_actors::{
    commons::Timer,
    shell::{Behavior, Cx, Failure},
    supervision::{ChildSpec, RestartPolicy, Supervisor, child::Timing},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Gateway, accept};

/// After the drain, streams have this long to send their last event.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the listener tells itself.
pub(crate) enum Note {
    /// The accept loop ended.
    Ended(accept::Served),
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

pub(crate) struct Listener {
    gateway: Gateway,
    door: Door,
    stop: CancellationToken,
    /// A life that ends otherwise than by shutdown takes its accept loop along.
    _stop_on_drop: DropGuard,
    cut: Option<Timer>,
}

impl Listener {
    /// The `server` branch of the tree.
    pub(crate) fn branch(gateway: Gateway, socket: TcpListener) -> ChildSpec {
        let door = Door(Arc::new(Mutex::new(Some(Arc::new(socket)))));
        let commons = gateway.0.system.commons().clone();
        let patience = gateway.0.limits.drain + 2 * LAST_WORDS;
        let make = move |_| {
            let stop = CancellationToken::new();
            Self {
                gateway: gateway.clone(),
                door: door.clone(),
                _stop_on_drop: stop.clone().drop_guard(),
                stop,
                cut: None,
            }
        };
        let (listener, _) = ChildSpec::new("root/server/public", make);
        let listener = listener.timing(Timing { shutdown: patience, ..Timing::default() });
        Supervisor::spec("root/server", RestartPolicy::default(), vec![listener], &commons).0
    }
}

impl Behavior for Listener {
    type Msg = Note;

    async fn started(&mut self, cx: &Cx<Note>) -> Result<(), Failure> {
        let closed = || Failure("its socket is closed: the process is stopping".into());
        let socket = self.door.socket().ok_or_else(closed)?;
        let limits = accept::Limits::new(self.gateway.0.limits.max_connections);
        let drain = self.gateway.0.limits.drain + LAST_WORDS;
        let serving = accept::serve(socket, self.gateway.router(), limits, self.stop.clone(), drain);
        cx.spawn(async move { Note::Ended(serving.await) });
        Ok(())
    }

    async fn handle(&mut self, note: Note, cx: &Cx<Note>) -> Result<(), Failure> {
        match note {
            Note::Cut => self.gateway.0.cut.cancel(),
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
        self.gateway.0.draining.cancel();
        self.door.close();
        self.stop.cancel();
        self.cut = Some(cx.after(self.gateway.0.limits.drain, Note::Cut));
    }
}
