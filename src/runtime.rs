//! Builds the adapters, starts the tree, changes both while they run, and stops them in order.
//!
//! [`boot`] opens what the last boot left, and [`keeping`] what the cache is kept in. [`difference`] tells what another
//! configuration would change, and [`reload`] changes it.
//!
//! Nothing global is touched: no logger, no metrics recorder, no signal handler. Two runtimes live in one
//! process without meeting.

mod boot;
mod difference;
mod keeping;
mod reload;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use mainstay_actors::{
    cache::Cache,
    call::Api,
    chain::{Chain, Lane, policy::ChainPolicy},
    clock::SystemClock,
    event::EventLog,
    mode::ModeHandle,
    ports::{CacheRules, Clock, Provider, Reach, StateStore, StoreError},
    provider::policy::ProviderPolicy,
    supervision::{AdminError, ChildSpec, Children, RestartPolicy, Supervisor, tree::TreeSnapshot},
    system::{Aim, ShutdownReport, StartError, Supervised, System, SystemBuilder},
};

pub use difference::{Changed, Reloaded};

use crate::{
    caching::Rules,
    config::{ChainConfig, Config, ConfigError, ProviderConfig, ProviderKind, TargetConfig},
    providers::{
        BadProvider,
        anthropic::Anthropic,
        bilingual::Bilingual,
        http_client,
        in_process::InProcess,
        interpreter::Interpreter,
        openai::OpenAi,
        scripted::{Script, Scripted},
    },
    reach::TcpReach,
    watchdog::Watchdog,
};

/// Why a runtime did not start, and nothing of it runs any more; or why it did not take another configuration,
/// and goes on as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tree did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store of the data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine has no thread left for the watchdog.
    #[error("the watchdog's thread did not start: {0}")]
    Watchdog(#[from] std::io::Error),
    /// The providers' supervisor did not start what is new.
    #[error("the change was not made: {0}")]
    NotChanged(#[from] AdminError),
    /// A provider cannot be used as it is configured.
    #[error("provider `{name}`: {problem}")]
    Provider {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// There is no chain of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no chain `{asked}`: ask one of {known:?}")]
pub struct UnknownChain {
    /// What was asked for.
    pub asked: String,
    /// Which there are.
    pub known: Vec<Arc<str>>,
}

/// A running Mainstay.
///
/// Dropping it kills everything at once; [`Runtime::shutdown`] stops it in order.
pub struct Runtime {
    tree: Supervised,
    /// What was started or reloaded last; of what a restart alone changes, what holds.
    config: Config,
    /// Providers and chains that were added in code.
    by_host: Vec<String>,
    own_chains: Vec<ChainConfig>,
    scripted: Vec<Weak<Scripted>>,
    own: BTreeMap<String, Children>,
    _watchdog: Option<Watchdog>,
    /// Open as long as we run: no other process may use the data directory.
    _state: Box<dyn StateStore>,
}

impl Runtime {
    /// An empty runtime, to be filled.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The chain of that name, to call. A [`reload`](Self::reload) leaves it as it is.
    pub fn chain(&self, name: &str) -> Result<Arc<Chain>, UnknownChain> {
        self.system().chain(name).ok_or_else(|| UnknownChain {
            asked: name.into(),
            known: self.system().chains().map(|chain| chain.name().clone()).collect(),
        })
    }

    /// The mode, to read and to subscribe to.
    pub fn mode(&self) -> &ModeHandle {
        self.system().mode()
    }

    /// Lifecycle, circuit and mode events, in order.
    pub fn events(&self) -> &EventLog {
        self.system().events()
    }

    /// The actors that the host put under a supervisor of this name, to look at and to change.
    pub fn children(&self, supervisor: &str) -> Option<&Children> {
        self.own.get(supervisor)
    }

    /// The supervision tree as it is now.
    pub fn tree(&self) -> TreeSnapshot {
        self.system().tree()
    }

    /// What is kept of answers, to purge it and to see what it saves; nothing, where nothing is kept.
    pub fn cache(&self) -> Option<&Cache> {
        self.system().cache()
    }

    /// Everything that the runtime publishes, as a handle to keep.
    pub fn system(&self) -> &System {
        self.tree.system()
    }

    /// Stops every actor in reverse order of start: listeners first, which let running requests finish. What
    /// has not ended within `deadline` is killed and stands in the report.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let report = self.tree.shutdown(deadline).await;
        for server in self.scripted.iter().filter_map(Weak::upgrade) {
            server.close().await;
        }
        report
    }
}

/// A runtime that has not been started.
pub struct Builder {
    config: Config,
    providers: Vec<(String, Arc<dyn Provider>, ProviderPolicy)>,
    chains: Vec<ChainConfig>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
    watchdog: Option<Duration>,
    own: Vec<(String, RestartPolicy, Vec<ChildSpec>)>,
    reach: Option<Arc<dyn Reach>>,
    cache_rules: Option<Arc<dyn CacheRules>>,
    #[cfg(feature = "server")]
    listeners: crate::server::Listeners,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            config: Config::default(),
            providers: Vec::new(),
            chains: Vec::new(),
            clock: Arc::new(SystemClock),
            seed: None,
            watchdog: None,
            own: Vec::new(),
            reach: None,
            cache_rules: None,
            #[cfg(feature = "server")]
            listeners: Default::default(),
        }
    }
}

impl Builder {
    /// Starts from a configuration; what is added in code comes on top.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a provider of your own, under the default policy.
    #[must_use]
    pub fn provider(self, name: &str, provider: impl Provider) -> Self {
        self.provider_with(name, provider, ProviderPolicy::default())
    }

    /// Adds a provider of your own, under a policy of your own.
    #[must_use]
    pub fn provider_with(mut self, name: &str, provider: impl Provider, policy: ProviderPolicy) -> Self {
        self.providers.push((name.into(), Arc::new(provider), policy));
        self
    }

    /// Adds a chain of `provider/model` targets, tried in this order; a bare `provider` leaves the model to
    /// it.
    #[must_use]
    pub fn chain<'a>(self, name: &str, targets: impl IntoIterator<Item = &'a str>) -> Self {
        self.chain_with(name, targets, ChainPolicy::default())
    }

    /// Adds a chain under a policy of your own.
    #[must_use]
    pub fn chain_with<'a>(
        mut self,
        name: &str,
        targets: impl IntoIterator<Item = &'a str>,
        policy: ChainPolicy,
    ) -> Self {
        let targets = targets.into_iter().map(TargetConfig::parse).collect();
        self.chains.push(ChainConfig { name: name.into(), targets, policy });
        self
    }

    /// Adds targets to the last chain that are asked only when the prompt is too long for those before, or when a
    /// content policy refused it, as `lane` says. Without them such a call ends with that error.
    #[must_use]
    pub fn fallback<'a>(mut self, lane: Lane, targets: impl IntoIterator<Item = &'a str>) -> Self {
        let targets = targets.into_iter().map(|text| TargetConfig { lane, ..TargetConfig::parse(text) });
        if let Some(chain) = self.chains.last_mut() {
            chain.targets.extend(targets);
        }
        self
    }

    /// Puts actors of your own under a supervisor `root/NAME`, so that they are started after the providers,
    /// restarted as `policy` says, seen in the tree, and stopped in order. Give each the path
    /// `root/NAME/ITS-NAME`; [`Runtime::children`] adds and ends them while the runtime runs.
    #[must_use]
    pub fn supervise(mut self, name: &str, policy: RestartPolicy, children: Vec<ChildSpec>) -> Self {
        self.own.push((name.into(), policy, children));
        self
    }

    /// Looks at the network in a way of your own before providers that fall silent at once are blamed for it, in place
    /// of the configuration's `egress` addresses. It is asked every few seconds while there is doubt, and never
    /// otherwise. Default: those addresses; without any, the providers are blamed.
    ///
    /// ```
    /// use futures_util::future::{BoxFuture, FutureExt};
    /// use mainstay::{Config, Runtime, actors::ports::Reach};
    ///
    /// /// Asks the host's own monitoring.
    /// struct Monitored;
    ///
    /// impl Reach for Monitored {
    ///     fn reach(&self) -> BoxFuture<'_, bool> {
    ///         async { true }.boxed()
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mainstay::Error> {
    /// let runtime = Runtime::builder().config(Config::demo(&|_| None)).reach(Monitored).start().await?;
    /// assert!(runtime.tree().find("root/egress").is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn reach(mut self, reach: impl Reach) -> Self {
        self.reach = Some(Arc::new(reach));
        self
    }

    /// What determines an answer, and whether it may be kept, where requests are not of the dialects that are known here.
    /// Default: [`Rules`], whose guide is `docs/caching.md`.
    #[must_use]
    pub fn cache_rules(mut self, rules: impl CacheRules) -> Self {
        self.cache_rules = Some(Arc::new(rules));
        self
    }

    /// Another clock, for tests on virtual time.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Fixes every draw of chance, so that a run repeats itself. Default: another one each time.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Tells, as an event and a reason, when nothing has run on the async runtime for `limit`: when blocking
    /// code holds its threads. It takes a thread of its own. Default: nobody watches.
    #[must_use]
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.watchdog = Some(limit);
        self
    }

    /// Serves the chains on `socket`. Metrics are shown if a recorder's handle is given.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn gateway(
        mut self,
        socket: tokio::net::TcpListener,
        limits: crate::server::GatewayLimits,
        metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
    ) -> Self {
        self.listeners.public(socket, limits, metrics);
        self
    }

    /// Serves the admin API on `socket`. A socket that other machines reach needs a token in `access`, or nothing
    /// starts.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn admin(
        mut self,
        socket: tokio::net::TcpListener,
        access: crate::server::admin::AdminAccess,
    ) -> Self {
        self.listeners.admin(socket, access);
        self
    }

    /// Starts everything; all actors are up when this returns.
    pub async fn start(self) -> Result<Runtime, Error> {
        self.start_under(None).await
    }

    /// The same under an actor of the host: that one is told of the tree's end as a supervision event (which
    /// it should handle: ractor's default ends it as well), and the tree ends with it.
    pub async fn start_linked<M: ractor::Message>(
        self,
        parent: &ractor::ActorRef<M>,
    ) -> Result<Runtime, Error> {
        self.start_under(Some(parent.get_cell())).await
    }

    async fn start_under(self, parent: Option<ractor::ActorCell>) -> Result<Runtime, Error> {
        let Self {
            config,
            providers,
            chains,
            clock,
            seed,
            watchdog,
            own,
            reach,
            cache_rules,
            #[cfg(feature = "server")]
            listeners,
        } = self;
        let names: Vec<_> = providers.iter().map(|(name, ..)| name.as_str()).collect();
        config.check_targets(&names)?;
        #[cfg(feature = "server")]
        listeners.check().map_err(ConfigError::one)?;
        let by_host = names.into_iter().map(String::from).collect();
        let (state, boot) = boot::open_state(config.data_dir.clone(), clock.unix_time()).await?;
        let mut system = SystemBuilder::new(clock.clone(), seed.unwrap_or_else(|| fastrand::u64(..)), boot);
        let configured = || (!config.egress.is_empty()).then(|| TcpReach::new(config.egress.clone()));
        if let Some(reach) = reach.or_else(|| Some(Arc::new(configured()?))) {
            system.egress(reach);
        }
        system.retry_budget(config.retry_budget)?;
        if let Some(cache) = &config.cache {
            let rules = cache_rules.unwrap_or_else(|| Arc::new(Rules));
            system.cache(keeping::plan(cache, rules, config.data_dir.as_deref(), &clock).await?)?;
        }
        let scripted = add_configured(&mut system, &config.providers).await?;
        for (name, provider, policy) in providers {
            system.provider(&name, provider, policy)?;
        }
        for chain in config.chains.iter().chain(&chains) {
            system.chain(&chain.name, aims(chain), chain.policy)?;
        }
        let mut children = BTreeMap::new();
        let others = |system: &System| {
            let mut specs = Vec::new();
            for (name, policy, actors) in own {
                let path = format!("root/{name}");
                let (spec, supervised) = Supervisor::spec(&path, policy, actors, system.commons())?;
                specs.push(spec);
                children.insert(name, supervised);
            }
            #[cfg(feature = "server")]
            specs.extend(listeners.branch(system)?);
            Ok(specs)
        };
        let tree = match parent {
            Some(parent) => system.start_linked(parent, others).await?,
            None => system.start(others).await?,
        };
        let watchdog = watchdog.map(|limit| Watchdog::start(limit, tree.system().commons())).transpose()?;
        let (own, own_chains) = (children, chains);
        Ok(Runtime { tree, config, by_host, own_chains, scripted, own, _watchdog: watchdog, _state: state })
    }
}

fn aims(chain: &ChainConfig) -> impl Iterator<Item = Aim<'_>> {
    chain.targets.iter().map(|TargetConfig { provider, model, lane, .. }| Aim {
        provider,
        model,
        lane: *lane,
    })
}

async fn add_configured(
    system: &mut SystemBuilder,
    providers: &[ProviderConfig],
) -> Result<Vec<Weak<Scripted>>, Error> {
    let mut scripted = Vec::new();
    for provider in providers {
        let adapter = adapter(provider, &mut scripted).await?;
        system.provider(&provider.name, adapter, provider.policy)?;
    }
    Ok(scripted)
}

async fn adapter(
    provider: &ProviderConfig,
    scripted: &mut Vec<Weak<Scripted>>,
) -> Result<Arc<dyn Provider>, Error> {
    let problem = |problem: String| Error::Provider { name: provider.name.clone(), problem };
    let bad = |bad: BadProvider| problem(bad.to_string());
    let connect = provider.policy.timeouts.map(|timeouts| timeouts.connect);
    let http = http_client(connect).map_err(bad)?;
    Ok(match &provider.kind {
        ProviderKind::OpenAi { base_url, key, auth } => {
            let openai = OpenAi::authorized(http, base_url, key.clone(), *auth).map_err(bad)?;
            Arc::new(Interpreter::new(openai, Api::Chat))
        }
        ProviderKind::Anthropic { base_url, key } => {
            let anthropic = Anthropic::new(http, base_url, key.clone()).map_err(bad)?;
            Arc::new(Interpreter::new(anthropic, Api::Messages))
        }
        ProviderKind::Scripted { fail_first, of_every } => {
            let (name, fail_first, of_every) = (provider.name.clone(), *fail_first, *of_every);
            let script = Script { name, fail_first, of_every, ..Script::default() };
            let server = Scripted::start(([127, 0, 0, 1], 0).into(), script).await;
            let server = server.map_err(|error| problem(format!("its server did not start: {error}")))?;
            let server = Arc::new(server);
            scripted.push(Arc::downgrade(&server));
            let client = Bilingual::new(http, &server.base_url(), None).map_err(bad)?;
            Arc::new(InProcess::new(server, client))
        }
    })
}
