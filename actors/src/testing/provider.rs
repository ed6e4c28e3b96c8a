//! A provider that does what a test says.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream};

use crate::{
    call::{Finish, Frame, FrameKind, FrameStream, FullReply, ProviderReply, StreamReply},
    error::{ErrorKind, ProviderError},
    ports::{Provider, ProviderCall},
};

/// The keep-alives of [`Broken::Pings`] come this often.
const PING_EVERY: Duration = Duration::from_millis(100);

/// What a [`FakeProvider`] does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Answers whole: as a body, or with every frame.
    Answer,
    /// Fails at once.
    Fail(ErrorKind),
    /// Fails at once, and asks to be left alone for so long.
    Defer(ErrorKind, Duration),
    /// Fails at once, and says whether to ask it again.
    Advise(ErrorKind, bool),
    /// Streams so many words, then says that its content policy refuses; of a whole answer that is all.
    Refuse(usize),
    /// Panics at once.
    Panic,
    /// Never answers.
    Hang,
    /// Streams so many frames of the answer, then breaks; what is not a stream breaks at once.
    Break(usize, Broken),
}

/// How an answer breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The frames end.
    Ends,
    /// An error comes in place of a frame.
    Fails(ErrorKind),
    /// Nothing more comes.
    Hangs,
    /// The provider's code panics.
    Panics,
    /// Keep-alives come, and nothing else.
    Pings,
}

impl From<Broken> for Act {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Ends => Self::Fail(ErrorKind::Truncated),
            Broken::Fails(kind) => Self::Fail(kind),
            Broken::Hangs | Broken::Pings => Self::Hang,
            Broken::Panics => Self::Panic,
        }
    }
}

/// A provider that does what it is told. Its streams have a role, [`WORDS`](Self::WORDS) words, a finish and an
/// end.
pub struct FakeProvider {
    orders: Mutex<Orders>,
    calls: AtomicU64,
    probes: AtomicU64,
    running: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

struct Orders {
    next: VecDeque<Act>,
    then: Act,
    delay: Duration,
    pace: Duration,
    /// What it does with probes: another thing, or what it does with calls; nothing: it knows none.
    probe: Option<Option<Act>>,
}

impl Default for FakeProvider {
    fn default() -> Self {
        let (delay, pace) = (Duration::ZERO, Duration::ZERO);
        let orders = Orders { next: VecDeque::new(), then: Act::Answer, delay, pace, probe: None };
        let (calls, probes, running, sent) = Default::default();
        Self { orders: Mutex::new(orders), calls, probes, running, sent }
    }
}

impl FakeProvider {
    /// The pieces of content in an answer.
    pub const WORDS: usize = 3;

    /// From now on it does this with every call.
    pub fn set(&self, act: Act) {
        let mut orders = self.orders();
        orders.next.clear();
        orders.then = act;
    }

    /// It does these with the next calls, one each, before it goes on as before.
    pub fn next(&self, acts: impl IntoIterator<Item = Act>) {
        self.orders().next.extend(acts);
    }

    /// From now on it can be probed, and does the same with probes as with calls, or this in place of it.
    pub fn set_probe(&self, act: Option<Act>) {
        self.orders().probe = Some(act);
    }

    /// How often it was probed.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// How long it takes: before it answers, and before each frame.
    pub fn takes(&self, delay: Duration, pace: Duration) {
        let mut orders = self.orders();
        (orders.delay, orders.pace) = (delay, pace);
    }

    /// How often it was asked.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many calls and streams it is busy with: one whose caller left is not among them.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// How many frames of its streams were taken from it.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ordered(&self) -> (Act, Duration, Duration) {
        let mut orders = self.orders();
        let act = orders.next.pop_front().unwrap_or(orders.then);
        (act, orders.delay, orders.pace)
    }

    async fn probed(&self, act: Act) -> Result<(), ProviderError> {
        self.probes.fetch_add(1, Ordering::Relaxed);
        let _running = Running::new(self.running.clone());
        match act {
            Act::Answer => Ok(()),
            Act::Break(_, broken) => instead(broken.into()).await.map(drop),
            other => instead(other).await.map(drop),
        }
    }

    fn counted(&self, frames: FrameStream) -> FrameStream {
        let sent = self.sent.clone();
        let count = move |_: &_| {
            sent.fetch_add(1, Ordering::Relaxed);
        };
        frames.inspect(count).boxed()
    }

    async fn perform(&self, streams: bool) -> Result<ProviderReply, ProviderError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let running = Running::new(self.running.clone());
        let (act, delay, pace) = self.ordered();
        // Waiting for nothing must not cost a turn of the timer.
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Act::Refuse(words) = act {
            return Ok(refusal(streams.then_some(words)));
        }
        let (frames, end) = match act {
            Act::Break(frames, broken) if streams => (frames, Some(broken)),
            Act::Break(_, broken) => return instead(broken.into()).await,
            Act::Answer => (usize::MAX, None),
            other => return instead(other).await,
        };
        match streams {
            true => Ok(ProviderReply::Stream(StreamReply {
                request_id: Some("fake".into()),
                ..StreamReply::new(self.counted(frames_of(frames, end, pace, running)))
            })),
            false => {
                Ok(ProviderReply::Full(FullReply { request_id: Some("fake".into()), ..FullReply::new("{}") }))
            }
        }
    }
}

/// A whole one, or a stream after so many words.
fn refusal(words: Option<usize>) -> ProviderReply {
    let Some(words) = words else {
        return ProviderReply::Full(FullReply { finish: Some(Finish::Refused), ..FullReply::new("refused") });
    };
    let content = std::iter::repeat_n(FrameKind::Content, words);
    let kinds = [FrameKind::Note].into_iter().chain(content).chain([FrameKind::Refusal, FrameKind::End]);
    let frames: Vec<_> = kinds.map(|kind| Ok(Frame::new("refused ", kind))).collect();
    ProviderReply::Stream(StreamReply::new(stream::iter(frames).boxed()))
}

async fn instead(act: Act) -> Result<ProviderReply, ProviderError> {
    match act {
        Act::Fail(kind) => Err(ProviderError::new(kind, "as it was told")),
        Act::Defer(kind, wait) => {
            Err(ProviderError { retry_after: Some(wait), ..ProviderError::new(kind, "as it was told") })
        }
        Act::Advise(kind, retry) => {
            Err(ProviderError { should_retry: Some(retry), ..ProviderError::new(kind, "as it was told") })
        }
        Act::Panic => panic!("as it was told"),
        _ => pending().await,
    }
}

fn frames_of(kept: usize, end: Option<Broken>, pace: Duration, running: Running) -> FrameStream {
    let frame = |bytes: &'static str, kind| Frame::new(bytes, kind);
    let words = (0..FakeProvider::WORDS).map(|_| frame("word ", FrameKind::Content));
    let tail = [frame("finish ", FrameKind::Note), frame("end", FrameKind::End)];
    let all = [frame("role ", FrameKind::Note)].into_iter().chain(words).chain(tail);
    let sent: VecDeque<_> = all.take(kept).collect();
    let next = move |(mut sent, running): (VecDeque<Frame>, Running)| async move {
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        let item = match (sent.pop_front(), end) {
            (Some(frame), _) => Ok(frame),
            (None, None | Some(Broken::Ends)) => return None,
            (None, Some(Broken::Fails(kind))) => Err(ProviderError::new(kind, "as it was told")),
            (None, Some(Broken::Panics)) => panic!("as it was told"),
            (None, Some(Broken::Hangs)) => pending().await,
            (None, Some(Broken::Pings)) => {
                tokio::time::sleep(PING_EVERY).await;
                Ok(Frame::new("ping", FrameKind::Ping))
            }
        };
        Some((item, (sent, running)))
    };
    stream::unfold((sent, running), next).boxed()
}

/// Counts a call while it is under way.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Provider for FakeProvider {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        Box::pin(self.perform(call.request.stream))
    }

    fn probe(&self) -> Option<BoxFuture<'_, Result<(), ProviderError>>> {
        let orders = self.orders();
        let act = orders.probe?.unwrap_or(orders.then);
        drop(orders);
        Some(Box::pin(self.probed(act)))
    }
}
