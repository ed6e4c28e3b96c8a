//! Plays the real tree on virtual time, seed after seed: faults come at random, then all heals, and the system
//! must come back whole.
//!
//! Three providers fail in every way, actors crash, hang and do not start, an operator ends and revives them,
//! clients call and leave. During all of it, and after it, the invariants of [`invariants`] must hold; each seed
//! is played twice and must tell the same story. A seed that fails prints the line that replays it. Run it with
//! `cargo run --release --example simulate -- --seeds 1000`, or with `--seed N` for one.

#![allow(clippy::print_stdout, clippy::print_stderr)] // Printing is what an example does.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mainstay::{
    ChainPolicy, ErrorKind, Mode, ProviderPolicy,
    actors::{
        event::EventKind,
        mode::rules::judge,
        shell::{Behavior, Cx, Failure, Start},
        supervision::{
            ChildSpec, Children, Handle, Patience, Reply, RestartPolicy, SlotState, Strategy, Supervisor,
        },
        testing::{Act, Broken, World, request, settle},
    },
};
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);
const PROVIDERS: u8 = 3;
const WORKERS: usize = 3;
const CLIENTS: usize = 6;
/// How long faults come.
const TROUBLE: Duration = Duration::from_secs(120);
/// How long the system has to come back: longer than the longest open time of a circuit.
const RECOVERY: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seeds = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 0..100,
        ["--seeds", count] => 0..count.parse().unwrap_or(0),
        ["--seed", seed] => seed.parse().map_or(0..0, |seed| seed..seed + 1),
        _ => 0..0,
    };
    if seeds.is_empty() {
        eprintln!("usage: simulate [--seeds COUNT | --seed SEED], with numbers from 0 and 1 on");
        return ExitCode::from(2);
    }
    // Panics are part of the play; what they say stands in the events.
    std::panic::set_hook(Box::new(|_| {}));
    let mut total = Story::default();
    for seed in seeds.clone() {
        match played(seed) {
            Ok(story) => total.add(&story),
            Err(broken) => {
                eprintln!(
                    "seed {seed}: {broken}\nreplay it: cargo run --release --example simulate -- --seed {seed}"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let Story { calls, answered, restarts, give_ups, .. } = total;
    println!("{} seeds, each twice: every invariant held", seeds.count());
    println!("{calls} calls, {answered} answered; {restarts} restarts, {give_ups} supervisors gave up");
    ExitCode::SUCCESS
}

/// What a seed told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Story {
    hash: u64,
    calls: usize,
    answered: usize,
    restarts: usize,
    give_ups: usize,
}

impl Story {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.restarts += other.restarts;
        self.give_ups += other.give_ups;
    }
}

fn played(seed: u64) -> Result<Story, String> {
    let play = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.map_err(|error| error.to_string())?.block_on(play(seed))
    };
    let (first, second) = (play()?, play()?);
    if first == second {
        Ok(first)
    } else {
        Err(format!("played twice, it told two stories: {first:?}, {second:?}"))
    }
}

/// What goes wrong with the lives of one worker.
#[derive(Default)]
struct Mood {
    start: Mutex<Trouble>,
    handle: Mutex<Trouble>,
}

#[derive(Clone, Copy, Default)]
enum Trouble {
    #[default]
    None,
    Panic,
    Fail,
    Hang,
}

impl Mood {
    fn set(of: &Mutex<Trouble>, trouble: Trouble) {
        *of.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    async fn feel(of: &Mutex<Trouble>) -> Result<(), Failure> {
        let trouble = *of.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Trouble::None => Ok(()),
            Trouble::Panic => panic!("a rehearsed bug"),
            Trouble::Fail => Err(Failure("a rehearsed failure".into())),
            Trouble::Hang => std::future::pending().await,
        }
    }
}

struct Worker(Arc<Mood>);

impl Behavior for Worker {
    type Msg = Reply<u64>;

    async fn started(&mut self, _: &Cx<Reply<u64>>) -> Result<Start, Failure> {
        Mood::feel(&self.0.start).await.map(|()| Start::Ready)
    }

    async fn handle(&mut self, reply: Reply<u64>, cx: &Cx<Reply<u64>>) -> Result<(), Failure> {
        Mood::feel(&self.0.handle).await?;
        reply.send(cx.incarnation());
        Ok(())
    }
}

/// A whole system, and what can be done to it.
struct Stage {
    world: World,
    moods: Vec<Arc<Mood>>,
    workers: Vec<Handle<Reply<u64>>>,
    children: Children,
    chance: fastrand::Rng,
}

impl Stage {
    async fn set(seed: u64) -> Result<Self, String> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let policy = RestartPolicy { strategy: strategies[chance.usize(0..3)], ..RestartPolicy::default() };
        let moods: Vec<Arc<Mood>> = (0..WORKERS).map(|_| Arc::default()).collect();
        let (mut workers, mut children) = (Vec::new(), None);
        let chain = ChainPolicy { retries: 1, ..ChainPolicy::default() };
        let world = World::start_with(seed, PROVIDERS, ProviderPolicy::default(), chain, |system| {
            let specs = moods.iter().enumerate().map(|(n, mood)| {
                let mood = mood.clone();
                let (spec, worker) = ChildSpec::new(format!("root/crew/{n}"), move |_| Worker(mood.clone()));
                workers.push(worker);
                spec.hang_after(5 * SECOND)
            });
            let (spec, admin) = Supervisor::spec("root/crew", policy, specs.collect(), system.commons())?;
            children = Some(admin);
            Ok(vec![spec])
        });
        let world = world.await.map_err(|error| error.to_string())?;
        let children = children.ok_or("the supervisor was not made")?;
        Ok(Self { world, moods, workers, children, chance })
    }

    /// One thing goes wrong, or is set right again.
    fn meddle(&mut self) {
        let (provider, worker) =
            (self.chance.usize(0..usize::from(PROVIDERS)), self.chance.usize(0..WORKERS));
        match self.chance.u8(0..12) {
            0..=2 => self.world.fakes[provider].set(act(&mut self.chance)),
            3 => self.world.fakes[provider]
                .takes(millis(&mut self.chance, 0..3000), millis(&mut self.chance, 0..500)),
            4 => self.world.desk(provider).actor().crash(),
            5 => self.world.system().commons().health.manager().into_iter().for_each(Handle::crash),
            6 => self.workers[worker].crash(),
            7 => Mood::set(&self.moods[worker].handle, trouble(&mut self.chance)),
            8 => Mood::set(&self.moods[worker].start, trouble(&mut self.chance)),
            9 => self.children.supervisor().crash(),
            _ => self.operate(worker),
        }
    }

    fn operate(&mut self, worker: usize) {
        let (children, revive) = (self.children.clone(), self.chance.bool());
        self.world.system().commons().tasks.spawn(async move {
            let name = worker.to_string();
            // Refusals are fine: others meddle too.
            let _ = if revive { children.restart(&name).await } else { children.terminate(&name).await };
        });
    }

    /// Nothing is wrong any more, and what an operator ended is wanted again.
    async fn heal(&self) {
        for fake in &self.world.fakes {
            fake.set(Act::Answer);
            fake.takes(Duration::ZERO, Duration::ZERO);
        }
        for mood in &self.moods {
            Mood::set(&mood.start, Trouble::None);
            Mood::set(&mood.handle, Trouble::None);
        }
        tokio::time::sleep(RECOVERY / 2).await;
        for worker in 0..WORKERS {
            let _ = self.children.restart(&worker.to_string()).await;
        }
    }
}

fn act(chance: &mut fastrand::Rng) -> Act {
    let broken =
        [Broken::Ends, Broken::Fails(ErrorKind::Reset), Broken::Hangs, Broken::Panics, Broken::Pings];
    let failing = [ErrorKind::ServerError, ErrorKind::RateLimited, ErrorKind::BadRequest, ErrorKind::Auth];
    match chance.u8(0..5) {
        0 => Act::Answer,
        1 => Act::Fail(failing[chance.usize(0..failing.len())]),
        2 => Act::Panic,
        3 => Act::Hang,
        _ => Act::Break(chance.usize(0..6), broken[chance.usize(0..broken.len())]),
    }
}

fn trouble(chance: &mut fastrand::Rng) -> Trouble {
    [Trouble::None, Trouble::Panic, Trouble::Fail, Trouble::Hang][chance.usize(0..4)]
}

fn millis(chance: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(chance.u64(range))
}

/// How one call ended, and how long it took of the time it had.
struct Ended {
    answered: bool,
    line: String,
}

async fn play(seed: u64) -> Result<Story, String> {
    let mut stage = Stage::set(seed).await?;
    let clients: Vec<_> = (0..CLIENTS).map(|client| clients_life(&stage, seed, client)).collect();
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(client);
    }
    let began = stage.world.system().commons().now();
    while stage.world.system().commons().now() - began < TROUBLE {
        let pause = millis(&mut stage.chance, 10..4000);
        tokio::time::sleep(pause).await;
        stage.meddle();
    }
    stage.heal().await;
    let mut calls = BTreeMap::new();
    while let Some(client) = running.join_next().await {
        let (client, ended) = client.map_err(|error| format!("a client crashed: {error}"))?;
        calls.insert(client, ended?);
    }
    tokio::time::sleep(RECOVERY / 2).await;
    settle().await;
    let calls: Vec<Ended> = calls.into_values().flatten().collect();
    let story = invariants(&stage, &calls)?;
    let report = stage.world.tree.shutdown(60 * SECOND).await;
    if report.is_clean() { Ok(story) } else { Err(format!("the shutdown left something: {report:?}")) }
}

/// Calls, waits, calls again, until well after the last fault; each call must end by its deadline.
fn clients_life(
    stage: &Stage,
    seed: u64,
    client: usize,
) -> impl Future<Output = (usize, Result<Vec<Ended>, String>)> + Send + use<> {
    let (chat, commons) = (stage.world.chat().clone(), stage.world.system().commons().clone());
    let worker = stage.workers[client % WORKERS].clone();
    let mut chance = fastrand::Rng::with_seed(seed ^ (client as u64 + 1) << 32);
    let until = commons.now() + TROUBLE + RECOVERY;
    let life = async move {
        let mut ended = Vec::new();
        while commons.now() < until {
            tokio::time::sleep(Duration::from_millis(chance.u64(50..4000))).await;
            let (began, timeout) = (commons.now(), Duration::from_millis(chance.u64(100..30_000)));
            let request = request().timeout(timeout);
            let line = match chance.u8(0..4) {
                0 => match worker.call(|reply| reply, timeout, Patience::Wait).await {
                    Ok(life) => Ended { answered: true, line: format!("worker in life {life}") },
                    Err(error) => Ended { answered: false, line: error.to_string() },
                },
                1 => match tokio::time::timeout(timeout / 2, chat.call(request)).await {
                    Ok(_) | Err(_) => Ended { answered: true, line: "left, or was answered".into() },
                },
                _ => match chat.call(request).await {
                    Ok(reply) => {
                        Ended { answered: true, line: format!("{} {:?}", reply.story.id, reply.story.failed) }
                    }
                    Err(error) => Ended { answered: false, line: error.to_string() },
                },
            };
            let took = commons.now() - began;
            if took > timeout + Duration::from_millis(1) {
                return Err(format!("a call took {took:?} of {timeout:?}: {}", line.line));
            }
            ended.push(line);
        }
        Ok(ended)
    };
    async move { (client, life.await) }
}

/// Permits are home, the tree is complete, restarts kept within the intensity, the mode is what the rule says,
/// and after the recovery all is well.
fn invariants(stage: &Stage, calls: &[Ended]) -> Result<Story, String> {
    let system = stage.world.system();
    for (provider, fake) in stage.world.fakes.iter().enumerate() {
        let desk = stage.world.desk(provider);
        let left = (desk.in_flight(), fake.running(), desk.actor().waiting());
        if left != (0, 0, 0) {
            return Err(format!("{}: permits, calls or lanes did not come home: {left:?}", desk.name()));
        }
    }
    let (tree, mode) = (system.tree(), system.mode().snapshot());
    if tree.alive().is_empty() {
        // Too many crashes at once are too many for the root as well: then all is down, and it is said.
        if mode.mode != Mode::Emergency {
            return Err(format!("all is down in mode {}", mode.mode));
        }
    } else if !all_up(&tree) || mode.mode != Mode::Normal {
        return Err(format!("it did not recover: {}\n{}", mode.mode, tree.render()));
    } else if judge(&system.commons().health.rows()) != (mode.mode, mode.reasons.clone()) {
        return Err(format!("the mode is {mode:?}, and the rule says otherwise"));
    }
    let events = system.events().recent();
    let mut hasher = DefaultHasher::new();
    calls.iter().for_each(|call| call.line.hash(&mut hasher));
    events.iter().for_each(|event| format!("{event:?}").hash(&mut hasher));
    let restarts = |kind: &&EventKind| matches!(kind, EventKind::ActorRestarting { .. });
    let give_ups = |kind: &&EventKind| matches!(kind, EventKind::SupervisorGaveUp { .. });
    Ok(Story {
        hash: hasher.finish(),
        calls: calls.len(),
        answered: calls.iter().filter(|call| call.answered).count(),
        restarts: events.iter().map(|event| &event.kind).filter(restarts).count(),
        give_ups: events.iter().map(|event| &event.kind).filter(give_ups).count(),
    })
}

fn all_up(actor: &mainstay::actors::supervision::tree::TreeSnapshot) -> bool {
    actor.state == SlotState::Up && actor.children.iter().all(all_up)
}
