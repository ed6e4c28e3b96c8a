//! Plays the real tree on virtual time, seed after seed: faults come at random, then all heals, and the system
//! must come back whole.
//!
//! Providers fail in every way, each of their models for itself, come and go with other configurations ([`reload`]),
//! are taken out by an operator and lose their network; workers panic in every callback and while they are dropped,
//! hang and do not start, subscribers panic, an operator ends, revives and adds actors, clients call and leave
//! ([`meddling`], [`cast`], [`workers`], [`clients`]). During all of it, and after it, the [`invariants`] must hold, those
//! of the [`circuits`] among them; each seventh seed also plays [`caches`], and each tenth seed is played twice and must tell the same story. A seed that fails
//! prints the line that replays it. Run it with `cargo run --release --example simulate -- --seeds 1000`, or with
//! `--seed N` for one.

#![allow(clippy::print_stdout, clippy::print_stderr)] // Printing is what an example does.

mod audience;
mod caches;
mod cast;
mod circuits;
mod clients;
mod intensity;
mod invariants;
mod meddling;
mod reload;
mod stage;
mod workers;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use mainstay::actors::testing::settle;
use tokio::task::JoinSet;

use crate::{clients::Call, invariants::Story, stage::Stage};

const SECOND: Duration = Duration::from_secs(1);
const CLIENTS: usize = 6;
/// Of so many seeds one is played twice.
const EVERY_SO_MANY: u64 = 10;
/// Of so many seeds one plays caches too.
const CACHES: u64 = 7;
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
        let times = if seeds.end - seeds.start == 1 || seed % EVERY_SO_MANY == 0 { 2 } else { 1 };
        match played(seed, times) {
            Ok(story) => total.add(&story),
            Err(broken) => {
                eprintln!(
                    "seed {seed}: {broken}\nreplay it: cargo run --release --example simulate -- --seed {seed}"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let Story { calls, answered, restarts, give_ups, reloads, outages, probes, .. } = total;
    println!("{} seeds, each tenth twice: every invariant held", seeds.count());
    println!("{calls} calls, {answered} answered; {restarts} restarts, {give_ups} supervisors gave up");
    println!("{reloads} reloads, {outages} outages of the network noticed, {probes} probes");
    ExitCode::SUCCESS
}

/// Plays a seed so many times, which must tell the same story each time.
fn played(seed: u64, times: usize) -> Result<Story, String> {
    let play = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.map_err(|error| error.to_string())?.block_on(play(seed))
    };
    let story = play()?;
    for _ in 1..times {
        let again = play()?;
        if again != story {
            return Err(format!("played twice, it told two stories: {story:?}, {again:?}"));
        }
    }
    Ok(story)
}

async fn play(seed: u64) -> Result<Story, String> {
    let mut stage = Stage::set(seed).await?;
    let mut running = JoinSet::new();
    for client in 0..CLIENTS {
        running.spawn(clients::life(&stage, seed, client));
    }
    let began = stage.now();
    while stage.now() - began < TROUBLE {
        stage.pause().await;
        stage.meddle().await?;
    }
    stage.heal().await?;
    let calls = all_calls(running).await?;
    tokio::time::sleep(RECOVERY / 2).await;
    settle().await;
    let mut story = invariants::check(&stage, &calls)?;
    invariants::after_the_end(stage).await?;
    if seed.is_multiple_of(CACHES) {
        story.kept = caches::play(seed).await.map_err(|broken| format!("caches: {broken}"))?;
    }
    Ok(story)
}

/// In the order of the clients, whoever was done first.
async fn all_calls(mut running: JoinSet<(usize, Result<Vec<Call>, String>)>) -> Result<Vec<Call>, String> {
    let mut calls = BTreeMap::new();
    while let Some(client) = running.join_next().await {
        let (client, ended) = client.map_err(|error| format!("a client crashed: {error}"))?;
        calls.insert(client, ended?);
    }
    Ok(calls.into_values().flatten().collect())
}
