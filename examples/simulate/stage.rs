//! A whole system, and what can be done to it.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use mainstay::{
    ChainPolicy, ErrorKind, ProviderPolicy,
    actors::{
        supervision::{ChildSpec, Children, Handle, Reply, Restart, RestartPolicy, Strategy, Supervisor},
        testing::{Act, Broken, World},
    },
};

use crate::{
    RECOVERY, SECOND,
    audience::Audience,
    workers::{Mood, Place, Trouble, Worker},
};

const PROVIDERS: u8 = 3;
const WORKERS: usize = 3;

/// The system under `root/crew` beside its providers, and those who watch it.
pub(crate) struct Stage {
    pub(crate) world: World,
    /// How the crew's supervisor treats the workers.
    pub(crate) policy: RestartPolicy,
    /// Of each worker, and last of the one that comes and goes.
    pub(crate) moods: Vec<Arc<Mood>>,
    pub(crate) audience: Audience,
    workers: Vec<Handle<Reply<u64>>>,
    children: Children,
    /// Milliseconds between two faults.
    pace: Range<u64>,
    chance: fastrand::Rng,
}

impl Stage {
    pub(crate) async fn set(seed: u64) -> Result<Self, String> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let (strategy, restarts) = (strategies[chance.usize(0..3)], chance.usize(3..12));
        let policy = RestartPolicy { strategy, restarts, ..RestartPolicy::default() };
        let moods: Vec<Arc<Mood>> = (0..=WORKERS).map(|_| Arc::default()).collect();
        let (mut workers, mut children) = (Vec::new(), None);
        let chain = ChainPolicy { retries: 1, ..ChainPolicy::default() };
        let world = World::start_with(seed, PROVIDERS, ProviderPolicy::default(), chain, |system| {
            let specs = moods[..WORKERS].iter().enumerate().map(|(n, mood)| {
                let (spec, worker) = spec(&n.to_string(), mood);
                workers.push(worker);
                spec
            });
            let (spec, admin) = Supervisor::spec("root/crew", policy, specs.collect(), system.commons())?;
            children = Some(admin);
            Ok(vec![spec])
        });
        let world = world.await.map_err(|error| error.to_string())?;
        let children = children.ok_or("the supervisor was not made")?;
        let audience = Audience::of(world.system());
        // In a storm even the root gives up.
        let pace = if chance.u8(0..20) == 0 { 10..200 } else { 10..4000 };
        Ok(Self { world, policy, moods, audience, workers, children, pace, chance })
    }

    pub(crate) fn now(&self) -> Instant {
        self.world.system().commons().now()
    }

    pub(crate) fn worker(&self, client: usize) -> &Handle<Reply<u64>> {
        &self.workers[client % WORKERS]
    }

    pub(crate) async fn pause(&mut self) {
        let pause = self.millis(self.pace.clone());
        tokio::time::sleep(pause).await;
    }

    /// One thing goes wrong, or is set right again.
    pub(crate) async fn meddle(&mut self) {
        let (provider, worker) =
            (self.chance.usize(0..usize::from(PROVIDERS)), self.chance.usize(0..WORKERS));
        match self.chance.u8(0..16) {
            0..=2 => {
                let act = self.act();
                self.world.fakes[provider].set(act);
            }
            3 => {
                let (delay, pace) = (self.millis(0..3000), self.millis(0..500));
                self.world.fakes[provider].takes(delay, pace);
            }
            4 => self.world.desk(provider).actor().crash(),
            5 => self.world.system().commons().health.manager().into_iter().for_each(Handle::crash),
            6 => self.workers[worker].crash(),
            7..=10 => self.vex(),
            11 => self.children.supervisor().crash(),
            12 => self.audience.invite_one_that_panics(self.world.system(), self.chance.u8(0..5)).await,
            13 => self.order(provider),
            _ => self.operate(worker),
        }
    }

    fn act(&mut self) -> Act {
        let broken =
            [Broken::Ends, Broken::Fails(ErrorKind::Reset), Broken::Hangs, Broken::Panics, Broken::Pings];
        let failing =
            [ErrorKind::ServerError, ErrorKind::RateLimited, ErrorKind::BadRequest, ErrorKind::Auth];
        match self.chance.u8(0..5) {
            0 => Act::Answer,
            1 => Act::Fail(failing[self.chance.usize(0..failing.len())]),
            2 => Act::Panic,
            3 => Act::Hang,
            _ => Act::Break(self.chance.usize(0..6), broken[self.chance.usize(0..broken.len())]),
        }
    }

    fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.chance.u64(range))
    }

    /// Somewhere in the lives of a worker something goes wrong from now on, or nothing does any more.
    fn vex(&mut self) {
        let mood = self.moods[self.chance.usize(0..self.moods.len())].clone();
        let place = Place::ALL[self.chance.usize(0..Place::ALL.len())];
        let trouble = Trouble::ALL[self.chance.usize(0..Trouble::ALL.len())];
        if self.chance.bool() { mood.set(place, trouble) } else { mood.heal() }
    }

    /// An operator takes a provider out, for a time or until it is let in again.
    fn order(&mut self, provider: usize) {
        let desk = self.world.desk(provider);
        match self.chance.u8(0..3) {
            0 => desk.isolate(None, "taken out by hand"),
            1 => {
                desk.isolate(Some(Duration::from_millis(self.chance.u64(1..60_000))), "taken out for a while")
            }
            _ => desk.close(),
        }
    }

    /// An operator's wish; a refusal is fine, others meddle too.
    fn operate(&mut self, worker: usize) {
        let (children, wish, name) = (self.children.clone(), self.chance.u8(0..5), worker.to_string());
        let mood = self.moods[WORKERS].clone();
        self.world.system().commons().tasks.spawn(async move {
            let _ = match wish {
                0 | 1 => children.restart(&name).await,
                2 | 3 => children.terminate(&name).await,
                _ => children.start(spec("temp", &mood).0.restart(Restart::Temporary)).await,
            };
        });
    }

    /// Nothing is wrong any more, and what an operator ended is wanted again.
    pub(crate) async fn heal(&self) {
        for fake in &self.world.fakes {
            fake.set(Act::Answer);
            fake.takes(Duration::ZERO, Duration::ZERO);
        }
        self.moods.iter().for_each(|mood| mood.heal());
        tokio::time::sleep(RECOVERY / 2).await;
        for worker in 0..WORKERS {
            let _ = self.children.restart(&worker.to_string()).await;
        }
        for desk in (0..usize::from(PROVIDERS)).map(|provider| self.world.desk(provider)) {
            // Left to itself it comes back after a quarter of an hour at the latest, or never if an operator says so.
            if desk.status(self.now()).circuit == "isolated" {
                desk.close();
            }
        }
    }
}

fn spec(name: &str, mood: &Arc<Mood>) -> (ChildSpec, Handle<Reply<u64>>) {
    let mood = mood.clone();
    let (spec, worker) = ChildSpec::new(format!("root/crew/{name}"), move |_| Worker::new(&mood));
    (spec.hang_after(5 * SECOND), worker)
}
