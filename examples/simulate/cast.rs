//! The providers of a system: who speaks for them, and what they were asked.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture};
use mainstay::actors::{
    call::{Allowance, Allowances, Frame, FrameKind, FullReply, ProviderReply, StreamReply},
    error::ProviderError,
    ports::{Clock, Provider, ProviderCall},
    provider::ProviderDesk,
    testing::{Act, FakeProvider, VirtualClock},
};

/// Everyone who can be a provider.
pub(crate) const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// What each of them can be asked for.
pub(crate) const MODELS: [&str; 2] = ["m", "n"];

/// One that speaks for a provider. Its models go wrong each for itself.
pub(crate) struct Player {
    models: [FakeProvider; MODELS.len()],
    clock: VirtualClock,
    diary: Arc<Mutex<Diary>>,
}

/// When things happened to a player, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    /// When calls began, and for which model.
    pub(crate) calls: Vec<(u64, &'static str)>,
    /// When calls ended.
    pub(crate) ends: Vec<u64>,
    pub(crate) probes: Vec<u64>,
}

impl Player {
    pub(crate) fn new(clock: VirtualClock) -> Arc<Self> {
        let player = Self { models: Default::default(), clock, diary: Arc::default() };
        player.models[0].set_probe(None);
        Arc::new(player)
    }

    /// What one of its models does from now on, and for how long it thinks about it; the first one is also probed.
    pub(crate) fn model(&self, model: usize) -> &FakeProvider {
        &self.models[model]
    }

    pub(crate) fn set(&self, act: Act) {
        self.models.iter().for_each(|model| model.set(act));
    }

    pub(crate) fn heal(&self) {
        self.set(Act::Answer);
        self.models.iter().for_each(|model| model.takes(Duration::ZERO, Duration::ZERO));
    }

    pub(crate) fn running(&self) -> usize {
        self.models.iter().map(FakeProvider::running).sum()
    }

    fn diary(&self) -> Diary {
        locked(&self.diary).clone()
    }

    fn begins(&self, model: usize) -> Ends {
        locked(&self.diary).calls.push((unix_ms(&self.clock), MODELS[model]));
        Ends { clock: self.clock, diary: self.diary.clone(), written: false }
    }
}

/// Writes down when a call ends: with the last frame of its answer, or when nobody waits for it any more.
struct Ends {
    clock: VirtualClock,
    diary: Arc<Mutex<Diary>>,
    written: bool,
}

impl Ends {
    fn hear(&mut self, frame: &Result<Frame, ProviderError>) {
        if frame.as_ref().is_ok_and(|frame| frame.kind == FrameKind::End) {
            self.write();
        }
    }

    fn write(&mut self) {
        if !std::mem::replace(&mut self.written, true) {
            locked(&self.diary).ends.push(unix_ms(&self.clock));
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.write();
    }
}

impl Provider for Player {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        Box::pin(async move {
            let model = MODELS.iter().position(|model| *model == call.model).unwrap_or_default();
            let mut ends = self.begins(model);
            let requests = Allowance { limit: Some(100_000), ..Allowance::default() };
            let allowances = Some(Box::new(Allowances { requests, ..Allowances::default() }));
            Ok(match self.models[model].call(call).await? {
                ProviderReply::Full(reply) => ProviderReply::Full(FullReply { allowances, ..reply }),
                ProviderReply::Stream(reply) => {
                    let frames = reply.frames.inspect(move |frame| ends.hear(frame)).boxed();
                    ProviderReply::Stream(StreamReply { frames, allowances, ..reply })
                }
            })
        })
    }

    fn probe(&self) -> Option<BoxFuture<'_, Result<(), ProviderError>>> {
        let probe = self.models[0].probe()?;
        Some(Box::pin(async move {
            locked(&self.diary).probes.push(unix_ms(&self.clock));
            probe.await
        }))
    }
}

fn locked(diary: &Mutex<Diary>) -> MutexGuard<'_, Diary> {
    diary.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn unix_ms(clock: &dyn Clock) -> u64 {
    clock.unix_time().as_millis() as u64
}

/// A provider from the time when it came until it is gone; whoever comes back is another one.
pub(crate) struct Engagement {
    pub(crate) name: &'static str,
    pub(crate) desk: Weak<ProviderDesk>,
    /// All who spoke for it, the present one last.
    pub(crate) players: Vec<Arc<Player>>,
    /// When it was gone, in milliseconds.
    pub(crate) until: Option<u64>,
}

impl Engagement {
    pub(crate) fn new(desk: &Arc<ProviderDesk>, name: &'static str, player: Arc<Player>) -> Self {
        Self { name, desk: Arc::downgrade(desk), players: vec![player], until: None }
    }

    /// What its players wrote down until it was gone.
    pub(crate) fn diary(&self) -> Diary {
        let (mut whole, until) = (Diary::default(), self.until.unwrap_or(u64::MAX));
        for Diary { calls, ends, probes } in self.players.iter().map(|player| player.diary()) {
            whole.calls.extend(calls.into_iter().filter(|(at, _)| *at < until));
            whole.ends.extend(ends.into_iter().filter(|at| *at < until));
            whole.probes.extend(probes.into_iter().filter(|at| *at < until));
        }
        whole
    }

    /// Whoever is gone, or was replaced, is held by nobody but this.
    pub(crate) fn is_let_go(&self) -> bool {
        let speaks = usize::from(self.until.is_none());
        let replaced = &self.players[..self.players.len() - speaks];
        (self.until.is_none() || self.desk.strong_count() == 0)
            && replaced.iter().all(|player| Arc::strong_count(player) == 1)
    }
}
