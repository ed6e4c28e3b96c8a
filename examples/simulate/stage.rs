//! A whole system, and what can be done to it.

use std::{ops::Range, sync::Arc, time::Instant};

use mainstay::{
    ProviderPolicy,
    actors::{
        provider::ProviderDesk,
        supervision::{ChildSpec, Children, Handle, Reply, RestartPolicy, Strategy, Supervisor},
        system::{StartError, Supervised, System, SystemBuilder},
        testing::{Act, FakeNetwork, VirtualClock},
    },
};

use crate::{
    SECOND,
    audience::Audience,
    cast::{Engagement, MODELS, NAMES, Player, unix_ms},
    circuits::{Circuits, Pardon},
    reload::chain_policy,
    workers::{Mood, Worker},
};

/// How many providers there are at first.
const PROVIDERS: usize = 3;
pub(crate) const WORKERS: usize = 3;

/// The system under `root/crew` beside its providers, and those who watch it.
pub(crate) struct Stage {
    pub(crate) tree: Supervised,
    clock: VirtualClock,
    /// All providers that there are, and were.
    pub(crate) cast: Vec<Engagement>,
    pub(crate) reloads: usize,
    pub(crate) pardons: Vec<Pardon>,
    pub(crate) network: Arc<FakeNetwork>,
    /// Until when the network is lost, if it is, and what all providers do meanwhile.
    pub(crate) outage: Option<(Instant, Act)>,
    /// How the crew's supervisor treats the workers.
    pub(crate) policy: RestartPolicy,
    /// Of each worker, and last of the one that comes and goes.
    pub(crate) moods: Vec<Arc<Mood>>,
    pub(crate) audience: Audience,
    pub(crate) workers: Vec<Handle<Reply<u64>>>,
    pub(crate) children: Children,
    /// Milliseconds between two faults.
    pub(crate) pace: Range<u64>,
    pub(crate) chance: fastrand::Rng,
}

impl Stage {
    pub(crate) async fn set(seed: u64) -> Result<Self, String> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let (strategy, restarts) = (strategies[chance.usize(0..3)], chance.usize(3..12));
        let policy = RestartPolicy { strategy, restarts, ..RestartPolicy::default() };
        let moods: Vec<Arc<Mood>> = (0..=WORKERS).map(|_| Arc::default()).collect();
        let (clock, network) = (VirtualClock::start(), Arc::new(FakeNetwork::default()));
        let players: Vec<_> = NAMES[..PROVIDERS].iter().map(|name| (*name, Player::new(clock))).collect();
        let (mut workers, mut children) = (Vec::new(), None);
        let builder = system_of(seed, clock, &network, &players).map_err(|error| error.to_string())?;
        let tree = builder.start(|system| {
            let specs = moods[..WORKERS].iter().enumerate().map(|(n, mood)| {
                let (spec, worker) = spec(&n.to_string(), mood);
                workers.push(worker);
                spec
            });
            let (spec, admin) = Supervisor::spec("root/crew", policy, specs.collect(), system.commons())?;
            children = Some(admin);
            Ok(vec![spec])
        });
        let tree = tree.await.map_err(|error| error.to_string())?;
        let children = children.ok_or("the supervisor was not made")?;
        let audience = Audience::of(tree.system());
        // In a storm even the root gives up.
        let pace = if chance.u8(0..20) == 0 { 10..200 } else { 10..4000 };
        let engaged = |(name, player)| Some(Engagement::new(&tree.system().provider(name)?, name, player));
        let cast = players.into_iter().filter_map(engaged).collect();
        let (reloads, pardons, outage) = Default::default();
        Ok(Self {
            tree,
            clock,
            cast,
            reloads,
            pardons,
            network,
            outage,
            policy,
            moods,
            audience,
            workers,
            children,
            pace,
            chance,
        })
    }

    pub(crate) fn system(&self) -> &System {
        self.tree.system()
    }

    pub(crate) fn now(&self) -> Instant {
        self.system().commons().now()
    }

    pub(crate) fn worker(&self, client: usize) -> &Handle<Reply<u64>> {
        &self.workers[client % WORKERS]
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        unix_ms(&self.clock)
    }

    /// What all circuits did so far.
    pub(crate) fn circuits(&self) -> Result<Circuits, String> {
        Circuits::of(&self.audience.events()?, &self.pardons)
    }

    /// Somebody new who speaks for a provider; while the network is lost, in vain.
    pub(crate) fn player(&self) -> Arc<Player> {
        let player = Player::new(self.clock);
        self.outage.iter().for_each(|(_, act)| player.set(*act));
        player
    }

    /// Those who speak for a provider now.
    pub(crate) fn players(&self) -> impl Iterator<Item = &Arc<Player>> {
        self.cast.iter().filter(|it| it.until.is_none()).filter_map(|it| it.players.last())
    }

    /// One of the providers that there are.
    pub(crate) fn desk(&mut self) -> Option<Arc<ProviderDesk>> {
        let desks: Vec<_> = self.system().providers().collect();
        self.chance.choice(desks)
    }
}

/// The providers of the start, behind a network that can be lost, and one chain over all of them.
fn system_of(
    seed: u64,
    clock: VirtualClock,
    network: &Arc<FakeNetwork>,
    players: &[(&'static str, Arc<Player>)],
) -> Result<SystemBuilder, StartError> {
    let mut builder = SystemBuilder::new(Arc::new(clock), seed, 1);
    builder.egress(network.clone());
    for (name, player) in players {
        builder.provider(name, player.clone(), ProviderPolicy::default())?;
    }
    builder.chain("chat", players.iter().map(|(name, _)| (*name, MODELS[0])), chain_policy())?;
    Ok(builder)
}

pub(crate) fn spec(name: &str, mood: &Arc<Mood>) -> (ChildSpec, Handle<Reply<u64>>) {
    let mood = mood.clone();
    let (spec, worker) = ChildSpec::new(format!("root/crew/{name}"), move |_| Worker::new(&mood));
    (spec.hang_after(5 * SECOND), worker)
}
