//! How everybody else sees the mode: a value to read, and four ways to be told.
//!
//! Reading waits for nobody. Telling waits for nobody either: every subscriber has its own place in a bounded
//! history, and one that is too slow learns how many snapshots it missed and gets the newest.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt, stream};
use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};

use super::{Mode, ModeSnapshot, board::Row, rules::judge};
use crate::{
    commons::{Commons, Tasks},
    event::{EventKind, Heard, heard},
};

/// Snapshots a subscriber may be behind before it misses some.
const HISTORY: usize = 64;
/// Snapshots that may wait in one actor's mailbox.
const IN_MAILBOX: usize = 16;

/// The published mode.
#[derive(Clone)]
pub struct ModeHandle(Arc<Inner>);

struct Inner {
    mode: AtomicU8,
    snapshot: ArcSwap<ModeSnapshot>,
    latest: watch::Sender<Arc<ModeSnapshot>>,
    history: Mutex<broadcast::Sender<Arc<ModeSnapshot>>>,
    tasks: Tasks,
}

/// What a subscribed actor receives. Keep it only while you work on it: its mailbox is offered the next ones
/// as these are dropped.
#[derive(Debug)]
pub struct ModeChange {
    /// The mode now.
    pub snapshot: Arc<ModeSnapshot>,
    /// How many snapshots before this one were not delivered, because the actor was too slow.
    pub missed: u64,
    _place: OwnedSemaphorePermit,
}

impl ModeHandle {
    pub(crate) fn new(commons: &Commons) -> Self {
        let since_unix_ms = commons.clock.unix_time().as_millis() as u64;
        let first =
            Arc::new(ModeSnapshot { epoch: 0, mode: Mode::Normal, since_unix_ms, reasons: Vec::new() });
        let (latest, _) = watch::channel(first.clone());
        let history = Mutex::new(broadcast::channel(HISTORY).0);
        let snapshot = ArcSwap::new(first);
        let tasks = commons.tasks.clone();
        show(Mode::Normal);
        Self(Arc::new(Inner { mode: AtomicU8::new(0), snapshot, latest, history, tasks }))
    }

    /// The mode, read in a few nanoseconds (MO12).
    pub fn now(&self) -> Mode {
        Mode::ALL[usize::from(self.0.mode.load(Ordering::Acquire)).min(2)]
    }

    /// The mode with its reasons.
    pub fn snapshot(&self) -> Arc<ModeSnapshot> {
        self.0.snapshot.load_full()
    }

    /// The latest snapshot, for tasks that only want to know how it is now.
    pub fn watch(&self) -> watch::Receiver<Arc<ModeSnapshot>> {
        self.0.latest.subscribe()
    }

    /// The present snapshot and then every later one, in order; a gap is an item.
    pub fn changes(&self) -> impl Stream<Item = Heard<Arc<ModeSnapshot>>> + Send + 'static {
        let history = self.history();
        let (present, news) = (self.snapshot(), heard(history.subscribe()));
        stream::iter([Heard::Item(present)]).chain(news)
    }

    /// Sends the present snapshot and every later one to an actor, until either of them ends.
    pub fn subscribe<M>(&self, actor: ActorRef<M>)
    where
        M: ractor::Message + From<ModeChange>,
    {
        let changes = self.changes();
        let ended = actor.get_cell();
        self.0.tasks.spawn(async move {
            tokio::select! {
                biased;
                _ = ended.wait(None) => {}
                () = deliver(changes, actor) => {}
            }
        });
    }

    /// Judges the rows, and tells everybody if the judgement is a new one.
    pub(crate) fn publish(&self, rows: &[Row], commons: &Commons) {
        let last = self.snapshot();
        let (mode, reasons) = judge(rows);
        if mode == last.mode && reasons == last.reasons {
            return;
        }
        let unix_ms = commons.clock.unix_time().as_millis() as u64;
        let since_unix_ms = if mode == last.mode { last.since_unix_ms } else { unix_ms };
        let snapshot = Arc::new(ModeSnapshot { epoch: last.epoch + 1, mode, since_unix_ms, reasons });
        self.tell(snapshot.clone());
        if mode != last.mode {
            announce(last.mode, &snapshot, commons);
        }
    }

    /// Under the lock: whoever subscribes meanwhile gets every snapshot once.
    fn tell(&self, snapshot: Arc<ModeSnapshot>) {
        let history = self.history();
        self.0.snapshot.store(snapshot.clone());
        self.0.mode.store(snapshot.mode as u8, Ordering::Release);
        self.0.latest.send_replace(snapshot.clone());
        let _ = history.send(snapshot);
    }

    fn history(&self) -> MutexGuard<'_, broadcast::Sender<Arc<ModeSnapshot>>> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn announce(from: Mode, now: &ModeSnapshot, commons: &Commons) {
    let to = now.mode;
    metrics::counter!("mainstay_mode_transitions_total", "from" => from.name(), "to" => to.name())
        .increment(1);
    show(to);
    let reasons = now.reasons.iter().map(|r| r.text.clone()).collect();
    commons.events.publish(EventKind::ModeChanged { from, to, epoch: now.epoch, reasons });
}

/// One series a mode, of which one is 1.
fn show(now: Mode) {
    for mode in Mode::ALL {
        metrics::gauge!("mainstay_mode", "mode" => mode.name()).set(f64::from(u8::from(mode == now)));
    }
}

async fn deliver<M>(changes: impl Stream<Item = Heard<Arc<ModeSnapshot>>>, actor: ActorRef<M>)
where
    M: ractor::Message + From<ModeChange>,
{
    let places = Arc::new(Semaphore::new(IN_MAILBOX));
    let mut changes = pin!(changes);
    let mut missed = 0;
    while let Some(change) = changes.next().await {
        let snapshot = match change {
            Heard::Item(snapshot) => snapshot,
            Heard::Gap(gap) => {
                missed += gap;
                continue;
            }
        };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        if actor.cast(M::from(ModeChange { snapshot, missed, _place: place })).is_err() {
            return;
        }
        missed = 0;
    }
}
