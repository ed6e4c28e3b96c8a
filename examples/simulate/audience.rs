//! Those who watch: one hears every event, one every mode, and some panic over what they hear.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{Stream, StreamExt};
use mainstay::{
    ModeChange, ModeSnapshot,
    actors::{
        event::{Event, Heard},
        system::System,
    },
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::cast::unix_ms;

/// What was heard so far.
pub(crate) struct Audience {
    events: Heap<Arc<Event>>,
    modes: Heap<(u64, Arc<ModeSnapshot>)>,
}

/// Items as they came, and how many were missed.
struct Heap<T>(Arc<Mutex<(Vec<T>, u64)>>);

impl<T: Clone + Send + 'static> Heap<T> {
    /// Keeps what `keep` makes of each item.
    fn of<I: 'static>(
        stream: impl Stream<Item = Heard<I>> + Send + 'static,
        keep: impl Fn(I) -> T + Send + 'static,
    ) -> Self {
        let heap = Self(Arc::default());
        let heard = Self(heap.0.clone());
        tokio::spawn(async move {
            let mut stream = pin!(stream);
            while let Some(item) = stream.next().await {
                let mut heap = heard.locked();
                match item {
                    Heard::Item(item) => heap.0.push(keep(item)),
                    Heard::Gap(missed) => heap.1 += missed,
                }
            }
        });
        heap
    }

    fn locked(&self) -> MutexGuard<'_, (Vec<T>, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, if none was missed.
    fn all(&self) -> Result<Vec<T>, String> {
        let heap = self.locked();
        if heap.1 == 0 { Ok(heap.0.clone()) } else { Err(format!("{} items were missed", heap.1)) }
    }
}

impl Audience {
    pub(crate) fn of(system: &System) -> Self {
        let clock = system.commons().clock.clone();
        let modes = Heap::of(system.mode().changes(), move |mode| (unix_ms(&*clock), mode));
        Self { events: Heap::of(system.events().since(0), |event| event), modes }
    }

    pub(crate) fn events(&self) -> Result<Vec<Arc<Event>>, String> {
        self.events.all()
    }

    /// Each with the time when it was heard of, in milliseconds.
    pub(crate) fn modes(&self) -> Result<Vec<(u64, Arc<ModeSnapshot>)>, String> {
        self.modes.all()
    }

    /// An actor of the host that panics at the n-th change of the mode it hears of.
    pub(crate) async fn invite_one_that_panics(&self, system: &System, at: u8) {
        if let Ok((panicker, _)) = Actor::spawn(None, Panicker, at).await {
            system.mode().subscribe(panicker);
        }
    }
}

struct Panicker;

struct Change;

impl From<ModeChange> for Change {
    fn from(change: ModeChange) -> Self {
        // This runs in a task of the system.
        assert!(!change.snapshot.epoch.is_multiple_of(7), "a rehearsed bug");
        Self
    }
}

impl Actor for Panicker {
    type Msg = Change;
    type State = u8;
    type Arguments = u8;

    async fn pre_start(&self, _: ActorRef<Change>, at: u8) -> Result<u8, ActorProcessingErr> {
        Ok(at)
    }

    async fn handle(&self, _: ActorRef<Change>, _: Change, left: &mut u8) -> Result<(), ActorProcessingErr> {
        *left = left.checked_sub(1).ok_or("the last straw").unwrap_or_else(|bug| panic!("{bug}"));
        Ok(())
    }
}
