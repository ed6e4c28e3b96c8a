//! A whole system on virtual time, over providers that do what a test says: for our tests and for yours.
//!
//! Meant for a paused tokio runtime, as in `#[tokio::test(start_paused = true)]`: waiting costs nothing there,
//! and one seed tells one story. No network is here and no dialect: bodies and frames are made up.

mod network;
mod provider;
pub mod store;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub use self::{
    network::FakeNetwork,
    provider::{Act, Broken, FakeProvider},
};
use crate::{
    call::Request,
    chain::{Chain, policy::ChainPolicy},
    clock::SystemClock,
    ports::Clock,
    provider::{ProviderDesk, policy::ProviderPolicy},
    supervision::{BadSpec, ChildSpec},
    system::{StartError, Supervised, System, SystemBuilder},
};

/// Where virtual wall time begins: early in 2027.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

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
        builder.egress(network.clone());
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
            builder.provider(name, fake.clone(), policy)?;
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
