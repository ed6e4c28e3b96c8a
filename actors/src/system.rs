//! One whole system: built from its providers and chains, started as a tree, stopped in order.
//!
//! [`System`] is what callers read and call through; [`Supervised`] owns the running tree and is held by
//! whoever started it. Listeners, stores and configuration are not here: they come in as providers and as
//! further children.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use ractor::ActorCell;
use tokio::sync::watch;

use crate::{
    cache::{Cache, CachePlan},
    chain::{Chain, Lane, Target, policy::ChainPolicy},
    change::Change,
    commons::Commons,
    egress::actor::EgressActor,
    event::{EventKind, EventLog},
    mode::{
        ModeHandle,
        board::{Concern, Health},
        manager::ModeManager,
    },
    ports::{Clock, Provider, Reach},
    provider::{ProviderDesk, actor::ProviderActor, budget::BudgetPolicy, policy::ProviderPolicy},
    shell::Exit,
    supervision::{
        BadSpec, ChildSpec, Children, RestartPolicy, SlotState, Supervisor,
        life::{Ended, Running},
        tree::{Node, TreeSnapshot},
    },
};

/// What is wrong with the plan of a system, or with its start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two providers, or two chains, have one name.
    #[error("{what} `{name}` is defined twice: give each its own name")]
    Duplicate {
        /// `provider` or `chain`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that could not stand in a header, a metric or a path.
    #[error("{what} `{name}`: a name has 1 to 64 letters, digits, `_`, `-` or `.`")]
    BadName {
        /// `provider` or `chain`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A chain asks a provider that nobody defined.
    #[error("chain `{chain}` asks provider `{provider}`, which is not defined: define it or take it out")]
    UnknownProvider {
        /// The chain.
        chain: String,
        /// The provider.
        provider: String,
    },
    /// A chain has nobody to ask.
    #[error("chain `{0}` has no target: name at least one `provider/model`")]
    EmptyChain(String),
    /// A setting is out of its range.
    #[error("{place}: {problem}")]
    BadPolicy {
        /// Whose setting.
        place: String,
        /// What is allowed.
        problem: &'static str,
    },
    /// A supervisor or a child makes no sense as it is described.
    #[error(transparent)]
    BadSpec(#[from] BadSpec),
    /// An actor did not start; what had been started is stopped again.
    #[error("the system did not start: {0}")]
    NotStarted(Exit),
}

/// A system that has not been started.
pub struct SystemBuilder {
    commons: Commons,
    pub(crate) providers: Vec<ChildSpec>,
    /// Those that desks do not have yet.
    pub(crate) adapters: BTreeMap<Arc<str>, Arc<dyn Provider>>,
    pub(crate) directory: Directory,
    reach: Option<Arc<dyn Reach>>,
    tiers: Vec<ChildSpec>,
}

/// Whom one can ask, by name.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) desks: BTreeMap<Arc<str>, Arc<ProviderDesk>>,
    pub(crate) chains: BTreeMap<Arc<str>, Arc<Chain>>,
}

impl Directory {
    /// Only models that some chain asks for say something about their provider.
    pub(crate) fn announce(&self) {
        let targets: Vec<_> = self.chains.values().flat_map(|chain| chain.targets()).collect();
        for circuit in self.desks.values().flat_map(|desk| desk.all_models()) {
            circuit.ask_for(targets.iter().any(|target| target.passes(&circuit)));
        }
    }
}

impl SystemBuilder {
    /// An empty system. Every draw of chance follows from `seed`; `boot` tells this life of the process from
    /// the next.
    pub fn new(clock: Arc<dyn Clock>, seed: u64, boot: u64) -> Self {
        Self::within(Commons::new(clock, seed, boot))
    }

    /// Looks at the network by `reach` before providers that are silent at once are blamed for it. Without it they
    /// are blamed.
    pub fn egress(&mut self, reach: Arc<dyn Reach>) {
        self.reach = Some(reach);
    }

    /// Keeps answers. Without it every call is answered by a provider. A second plan is ignored.
    pub fn cache(&mut self, plan: CachePlan) -> Result<(), StartError> {
        let bad = |problem| StartError::BadPolicy { place: "cache".into(), problem };
        plan.policy.check().map_err(bad)?;
        let (cache, tiers) = Cache::new(plan, &self.commons);
        if self.commons.cache.set(cache).is_ok() {
            self.tiers = tiers;
        }
        Ok(())
    }

    /// What all providers together may be asked again, beside the budget of each of them; `None`: as often as those
    /// allow. Default [`BudgetPolicy::OVERALL`].
    pub fn retry_budget(&mut self, policy: Option<BudgetPolicy>) -> Result<(), StartError> {
        let bad =
            |problem| StartError::BadPolicy { place: "the retry budget of all providers".into(), problem };
        policy.map_or(Ok(()), |policy| policy.check()).map_err(bad)?;
        self.commons.retries.configure(policy);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn cached(&self) -> &Cache {
        self.commons.cache.get().unwrap()
    }

    /// Within a system that runs already.
    pub(crate) fn within(commons: Commons) -> Self {
        let (providers, adapters, directory, reach, tiers) = Default::default();
        Self { commons, providers, adapters, directory, reach, tiers }
    }

    /// Adds a provider.
    pub fn provider(
        &mut self,
        name: &str,
        provider: Arc<dyn Provider>,
        policy: ProviderPolicy,
    ) -> Result<(), StartError> {
        self.check_provider(name, policy)?;
        let (spec, desk) = ProviderActor::spec(name, provider, policy, &self.commons);
        self.providers.push(spec);
        self.directory.desks.insert(desk.name().clone(), desk);
        Ok(())
    }

    pub(crate) fn check_provider(&self, name: &str, policy: ProviderPolicy) -> Result<(), StartError> {
        let bad = |problem| StartError::BadPolicy { place: format!("provider `{name}`"), problem };
        policy.check().map_err(bad)?;
        check_name("provider", name)?;
        match self.directory.desks.contains_key(name) {
            true => Err(StartError::Duplicate { what: "provider", name: name.into() }),
            false => Ok(()),
        }
    }

    /// Adds a chain over providers that are already there, each with the model to ask it for, and when.
    pub fn chain<'a>(
        &mut self,
        name: &str,
        targets: impl IntoIterator<Item = impl Into<Aim<'a>>>,
        policy: ChainPolicy,
    ) -> Result<(), StartError> {
        let bad = |problem| StartError::BadPolicy { place: format!("chain `{name}`"), problem };
        policy.check().map_err(bad)?;
        check_name("chain", name)?;
        let targets = targets.into_iter().map(|aim| self.target(name, aim.into()));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            return Err(StartError::EmptyChain(name.into()));
        }
        let chain = Arc::new(Chain::new(name, targets, policy, &self.commons));
        match self.directory.chains.insert(chain.name().clone(), chain) {
            None => Ok(()),
            Some(_) => Err(StartError::Duplicate { what: "chain", name: name.into() }),
        }
    }

    fn target(&self, chain: &str, aim: Aim<'_>) -> Result<Target, StartError> {
        let Aim { provider, model, lane } = aim;
        let unknown = || StartError::UnknownProvider { chain: chain.into(), provider: provider.into() };
        let desk = self.directory.desks.get(provider).cloned().ok_or_else(unknown)?;
        let target = Target::new(desk, model).lane(lane);
        Ok(match self.adapters.get(provider) {
            Some(adapter) => target.through(adapter.clone()),
            None => target,
        })
    }

    /// Starts the tree: the mode manager, the providers, then `others`, in this order. All of them are up
    /// when this returns.
    pub async fn start(
        self,
        others: impl FnOnce(&System) -> Result<Vec<ChildSpec>, BadSpec>,
    ) -> Result<Supervised, StartError> {
        self.start_under(None, others).await
    }

    /// The same, with the root linked to an actor of the host: that one is told of the tree's end as a
    /// supervision event, and the tree ends with it.
    pub async fn start_linked(
        self,
        parent: ActorCell,
        others: impl FnOnce(&System) -> Result<Vec<ChildSpec>, BadSpec>,
    ) -> Result<Supervised, StartError> {
        self.start_under(Some(parent), others).await
    }

    async fn start_under(
        self,
        parent: Option<ActorCell>,
        others: impl FnOnce(&System) -> Result<Vec<ChildSpec>, BadSpec>,
    ) -> Result<Supervised, StartError> {
        let Self { commons, providers, directory, reach, tiers, .. } = self;
        let mode = ModeHandle::new(&commons);
        let (manager, looks) = ModeManager::spec(mode.clone());
        commons.health.tell_manager_at(looks);
        let policy = RestartPolicy::default();
        let (providers, actors) = Supervisor::spec("root/providers", policy, providers, &commons)?;
        directory.announce();
        let directory = Arc::new(ArcSwap::from_pointee(directory));
        let egress = reach.map(|reach| EgressActor::spec(reach, directory.clone(), &commons));
        let (ended, root) = (watch::channel(None).0, OnceLock::new());
        let mut children = vec![manager];
        if !tiers.is_empty() {
            children.push(Supervisor::spec("root/cache", policy, tiers, &commons)?.0);
        }
        children.push(providers);
        children.extend(egress);
        let system = System(Arc::new(Inner { commons, mode, actors, directory, root, ended }));
        children.extend(others(&system)?);
        let (root, _) = Supervisor::spec("root", policy, children, system.commons())?;
        let _ = system.0.root.set(root.node.clone());
        Supervised::launch(root, parent, system).await
    }
}

/// A target before it is looked up: a provider, a model, and when it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// The model's name at this provider.
    pub model: &'a str,
    /// When it is asked.
    pub lane: Lane,
}

impl<'a> From<(&'a str, &'a str)> for Aim<'a> {
    /// Asked whenever those before it failed.
    fn from((provider, model): (&'a str, &'a str)) -> Self {
        Self { provider, model, lane: Lane::Usual }
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), StartError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    match (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(StartError::BadName { what, name: name.into() }),
    }
}

/// A system as everybody sees it: its chains to call, its mode, events and tree to read.
#[derive(Clone)]
pub struct System(Arc<Inner>);

struct Inner {
    commons: Commons,
    mode: ModeHandle,
    /// Of the providers.
    actors: Children,
    directory: Arc<ArcSwap<Directory>>,
    root: OnceLock<Arc<Node>>,
    ended: watch::Sender<Option<Exit>>,
}

impl System {
    /// The chain of that name. It stays as it is when the configuration changes: whoever keeps it asks for it
    /// again from time to time.
    pub fn chain(&self, name: &str) -> Option<Arc<Chain>> {
        self.0.directory.load().chains.get(name).cloned()
    }

    /// All chains, by name.
    pub fn chains(&self) -> impl Iterator<Item = Arc<Chain>> + use<> {
        self.0.directory.load().chains.values().cloned().collect::<Vec<_>>().into_iter()
    }

    /// The provider of that name.
    pub fn provider(&self, name: &str) -> Option<Arc<ProviderDesk>> {
        self.0.directory.load().desks.get(name).cloned()
    }

    /// All providers, by name.
    pub fn providers(&self) -> impl Iterator<Item = Arc<ProviderDesk>> + use<> {
        self.0.directory.load().desks.values().cloned().collect::<Vec<_>>().into_iter()
    }

    /// The providers' actors.
    pub(crate) fn actors(&self) -> &Children {
        &self.0.actors
    }

    /// Whom one can ask, as one whole.
    pub(crate) fn directory(&self) -> &ArcSwap<Directory> {
        &self.0.directory
    }

    /// The mode.
    pub fn mode(&self) -> &ModeHandle {
        &self.0.mode
    }

    /// The cache, if there is one.
    pub fn cache(&self) -> Option<&Cache> {
        self.0.commons.cache.get()
    }

    /// What happened.
    pub fn events(&self) -> &EventLog {
        &self.0.commons.events
    }

    /// What all actors share.
    pub fn commons(&self) -> &Commons {
        &self.0.commons
    }

    /// The supervision tree as it is now.
    pub fn tree(&self) -> TreeSnapshot {
        // Set before anything is started; the callback that builds further children sees an empty root.
        self.0.root.get().map_or_else(|| Node::worker("root".into()).snapshot(), |r| r.snapshot())
    }

    /// Waits until the tree is gone, whoever ended it, and tells how.
    pub async fn ended(&self) -> Exit {
        let mut ended = self.0.ended.subscribe();
        let exit = ended.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        exit.unwrap_or(Exit::Killed)
    }
}

/// The running tree. Dropping it kills the tree; [`Supervised::shutdown`] stops it in order.
pub struct Supervised {
    system: System,
    root: Running,
}

/// What an ordered shutdown left undone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what is left in it did not end in order"]
pub struct ShutdownReport {
    /// Actors that did not end in time and were killed, by their path.
    pub killed: Vec<Arc<str>>,
    /// Calls that were still under way, by provider.
    pub calls_under_way: Vec<(Arc<str>, usize)>,
}

impl ShutdownReport {
    /// Did everything end in order?
    pub fn is_clean(&self) -> bool {
        self.killed.is_empty() && self.calls_under_way.is_empty()
    }
}

impl Supervised {
    async fn launch(root: ChildSpec, parent: Option<ActorCell>, system: System) -> Result<Self, StartError> {
        match root.launch(parent, system.commons().clone(), 1).await {
            Ok((running, ended)) => {
                system.commons().tasks.spawn(watch_root(ended, root, system.clone()));
                Ok(Self { system, root: running })
            }
            Err(exit) => {
                root.publish(SlotState::Down);
                system.commons().tasks.close().await;
                Err(StartError::NotStarted(exit))
            }
        }
    }

    /// What callers see.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Begins a change of providers and chains; nothing of it happens before it is applied.
    pub fn change(&self) -> Change {
        Change::of(self.system.clone())
    }

    /// Stops every actor, leaf first and in reverse order; what has not ended within `deadline` is killed.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let system = &self.system;
        system.events().publish(EventKind::Draining);
        self.root.stop();
        let mut killed = Vec::new();
        if tokio::time::timeout(deadline, system.ended()).await.is_err() {
            killed = system.tree().alive();
            self.root.kill();
        }
        let under_way = system.providers().map(|desk| (desk.name().clone(), desk.in_flight()));
        let calls_under_way = under_way.filter(|(_, calls)| *calls > 0).collect();
        system.commons().tasks.close().await;
        ShutdownReport { killed, calls_under_way }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.root.kill();
        let system = &self.system.0;
        system.commons.tasks.cancel();
        system.ended.send_if_modified(|ended| ended.replace(ended.clone().unwrap_or(Exit::Killed)).is_none());
    }
}

/// The root's own supervisor: nobody is left to restart it, so it only says what happened.
async fn watch_root(ended: Ended, root: ChildSpec, system: System) {
    let commons = system.commons();
    let reporter = commons.health.reporter(root.path(), "actor", Concern::Own);
    let exit = ended.exit().await;
    root.node.exited(exit.clone());
    root.publish(SlotState::Down);
    if exit != Exit::Normal {
        tracing::error!(%exit, "the supervision tree is gone");
        reporter.report(Health::Failed, &format!("the supervision tree is gone: {exit}"), None);
        system.mode().publish(&commons.health.rows(), commons);
    }
    system.0.ended.send_replace(Some(exit));
}
