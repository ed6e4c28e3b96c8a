//! Workers that go wrong where they are told to: while they are made, start, work, stop or are dropped.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use mainstay::actors::{
    shell::{Behavior, Cx, Failure, Start},
    supervision::Reply,
};

/// Where a life can go wrong.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Making,
    Start,
    Work,
    Shutdown,
    Cleanup,
    Drop,
}

impl Place {
    pub(crate) const ALL: [Self; 6] =
        [Self::Making, Self::Start, Self::Work, Self::Shutdown, Self::Cleanup, Self::Drop];
}

/// How it goes wrong; not every place knows every trouble.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Trouble {
    #[default]
    None,
    Panic,
    Fail,
    Hang,
    Skip,
}

impl Trouble {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Panic, Self::Fail, Self::Hang, Self::Skip];
}

/// What goes wrong with the lives of one worker, and how many of them there are.
#[derive(Default)]
pub(crate) struct Mood {
    troubles: Mutex<[Trouble; Place::ALL.len()]>,
    lives: AtomicUsize,
    met: AtomicBool,
}

impl Mood {
    pub(crate) fn set(&self, place: Place, trouble: Trouble) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)[place as usize] = trouble;
    }

    pub(crate) fn heal(&self) {
        Place::ALL.into_iter().for_each(|place| self.set(place, Trouble::None));
    }

    /// How many lives there are now.
    pub(crate) fn lives(&self) -> usize {
        self.lives.load(Ordering::Relaxed)
    }

    /// Did two lives ever meet?
    pub(crate) fn met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    fn at(&self, place: Place) -> Trouble {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)[place as usize]
    }

    fn panic_at(&self, place: Place) {
        assert!(self.at(place) != Trouble::Panic, "a rehearsed bug");
    }

    async fn feel(&self, place: Place) -> Result<(), Failure> {
        self.panic_at(place);
        match self.at(place) {
            Trouble::Fail => Err(Failure("a rehearsed failure".into())),
            Trouble::Hang => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

/// Answers with the number of its life.
pub(crate) struct Worker(Arc<Mood>);

impl Worker {
    pub(crate) fn new(mood: &Arc<Mood>) -> Self {
        mood.panic_at(Place::Making);
        if mood.lives.fetch_add(1, Ordering::Relaxed) > 0 {
            mood.met.store(true, Ordering::Relaxed);
        }
        Self(mood.clone())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.lives.fetch_sub(1, Ordering::Relaxed);
        self.0.panic_at(Place::Drop);
    }
}

impl Behavior for Worker {
    type Msg = Reply<u64>;

    async fn started(&mut self, _: &Cx<Reply<u64>>) -> Result<Start, Failure> {
        self.0.feel(Place::Start).await?;
        Ok(if self.0.at(Place::Start) == Trouble::Skip { Start::Skip } else { Start::Ready })
    }

    async fn handle(&mut self, reply: Reply<u64>, cx: &Cx<Reply<u64>>) -> Result<(), Failure> {
        self.0.feel(Place::Work).await?;
        reply.send(cx.incarnation());
        Ok(())
    }

    fn shutdown(&mut self, cx: &Cx<Reply<u64>>) {
        self.0.panic_at(Place::Shutdown);
        if self.0.at(Place::Shutdown) != Trouble::Hang {
            cx.stop();
        }
    }

    async fn stopped(&mut self, _: &Cx<Reply<u64>>) {
        let _ = self.0.feel(Place::Cleanup).await;
    }
}
