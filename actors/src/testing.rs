//! A whole system on virtual time, over providers that do what a test says: for our tests and for yours.
//!
//! Meant for a paused tokio runtime, as in `#[tokio::test(start_paused = true)]`: waiting costs nothing there,
//! and one seed tells one story. No network is here and no dialect: bodies and frames are made up.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream};

use crate::{
    call::{Frame, FrameKind, FrameStream, FullReply, ProviderReply, Request, StreamReply},
    chain::{Chain, policy::ChainPolicy},
    clock::SystemClock,
    error::{ErrorKind, ProviderError},
    ports::{Clock, Provider, ProviderCall, Reach},
    provider::{ProviderDesk, policy::ProviderPolicy},
    supervision::{BadSpec, ChildSpec},
    system::{StartError, Supervised, System, SystemBuilder},
};

/// Where virtual wall time begins: early in 2027.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// The keep-alives of [`Broken::Pings`] come this often.
const PING_EVERY: Duration = Duration::from_millis(100);

/// tokio's monotonic time, and a wall time that follows it from a fixed moment.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    started: Instant,
}

impl VirtualClock {
    /// A clock that stands at its fixed moment now.
    pub fn start() -> Self {
        Self { started: SystemClock.now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn unix_time(&self) -> Duration {
        EPOCH + self.now().saturating_duration_since(self.started)
    }
}

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
        return ProviderReply::Full(FullReply { refused: true, ..FullReply::new("refused") });
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

/// Shared with the test that gives the orders.
pub(crate) struct Hired(pub(crate) Arc<FakeProvider>);

impl Provider for Hired {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        Box::pin(self.0.perform(call.request.stream))
    }

    fn probe(&self) -> Option<BoxFuture<'_, Result<(), ProviderError>>> {
        let orders = self.0.orders();
        let act = orders.probe?.unwrap_or(orders.then);
        drop(orders);
        Some(Box::pin(self.0.probed(act)))
    }
}

/// A network that is up or down, as a test says.
#[derive(Debug, Default)]
pub struct FakeNetwork {
    down: AtomicBool,
    delay: Mutex<Duration>,
    looks: AtomicU64,
}

impl FakeNetwork {
    /// Takes it down, or up again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// How long it takes to find out.
    pub fn takes(&self, delay: Duration) {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// How often it was looked at.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

/// Shared with the test that takes it down.
struct Watched(Arc<FakeNetwork>);

impl Reach for Watched {
    fn reach(&self) -> BoxFuture<'_, bool> {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        let delay = *self.0.delay.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            !self.0.down.load(Ordering::Relaxed)
        })
    }
}

/// A running system: providers `a`, `b`, … under one policy, and the chain `chat` over all of them.
pub struct World {
    /// The running tree.
    pub tree: Supervised,
    /// The providers, in the chain's order.
    pub fakes: Vec<Arc<FakeProvider>>,
    chat: Arc<Chain>,
}

impl World {
    /// Starts `providers` of them; every draw of chance follows from `seed`.
    pub async fn start(
        seed: u64,
        providers: u8,
        policy: ProviderPolicy,
        chain: ChainPolicy,
    ) -> Result<Self, StartError> {
        Self::start_with(seed, providers, policy, chain, |_| Ok(Vec::new())).await
    }

    /// The same, with `others` beside the providers.
    pub async fn start_with(
        seed: u64,
        providers: u8,
        policy: ProviderPolicy,
        chain: ChainPolicy,
        others: impl FnOnce(&System) -> Result<Vec<ChildSpec>, BadSpec>,
    ) -> Result<Self, StartError> {
        let builder = SystemBuilder::new(Arc::new(VirtualClock::start()), seed, 1);
        Self::build(builder, providers, policy, chain, others).await
    }

    /// Starts `providers` of them behind a network that is looked at before they are blamed.
    pub async fn start_behind(
        network: &Arc<FakeNetwork>,
        seed: u64,
        providers: u8,
        policy: ProviderPolicy,
        chain: ChainPolicy,
    ) -> Result<Self, StartError> {
        let mut builder = SystemBuilder::new(Arc::new(VirtualClock::start()), seed, 1);
        builder.egress(Arc::new(Watched(network.clone())));
        Self::build(builder, providers, policy, chain, |_| Ok(Vec::new())).await
    }

    async fn build(
        mut builder: SystemBuilder,
        providers: u8,
        policy: ProviderPolicy,
        chain: ChainPolicy,
        others: impl FnOnce(&System) -> Result<Vec<ChildSpec>, BadSpec>,
    ) -> Result<Self, StartError> {
        let names: Vec<String> = (0..providers).map(|n| char::from(b'a' + n % 26).to_string()).collect();
        let mut fakes = Vec::new();
        for name in &names {
            let fake = Arc::new(FakeProvider::default());
            builder.provider(name, Arc::new(Hired(fake.clone())), policy)?;
            fakes.push(fake);
        }
        builder.chain("chat", names.iter().map(|name| (name.as_str(), "m")), chain)?;
        let tree = builder.start(others).await?;
        #[allow(clippy::expect_used)] // It was made above.
        let chat = tree.system().chain("chat").expect("a chain named chat");
        Ok(Self { tree, fakes, chat })
    }

    /// What callers see of it.
    pub fn system(&self) -> &System {
        self.tree.system()
    }

    /// The chain over all providers, as it was at the start.
    pub fn chat(&self) -> &Arc<Chain> {
        &self.chat
    }

    /// One provider as callers know it, by its place in the chain.
    pub fn desk(&self, provider: usize) -> &Arc<ProviderDesk> {
        &self.chat().targets()[provider].desk
    }
}

/// A request that every [`FakeProvider`] understands.
pub fn request() -> Request {
    Request::new(Bytes::from_static(b"{\"model\":\"m\"}"), 9..12, false)
}

/// Lets every actor do what it was told so far, on virtual time.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
