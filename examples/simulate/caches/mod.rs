//! Two processes with caches over one shared store, in each seventh seed: stores and tiers' actors fail, providers
//! fail, operators purge, days pass, configurations change.
//!
//! It is a play of its own beside the crew's: days that pass would be silence to circuits. What must hold of each
//! answer stands in [`claims`].

mod asking;
mod authors;
mod claims;
mod process;

use std::{sync::Arc, time::Duration};

use mainstay::actors::testing::{settle, store::Weather};
use tokio::task::JoinSet;

use self::{claims::Claims, process::Process};
use crate::SECOND;

const CLIENTS: usize = 4;
/// How long faults come, and how long clients go on after that.
const TROUBLE: Duration = Duration::from_secs(60);
const CALM: Duration = Duration::from_secs(30);
/// How long after the last fault a mode may be other than normal.
const RECOVERY: Duration = Duration::from_secs(60);

/// Plays it, and tells what was asked and what came of it.
pub(crate) async fn play(seed: u64) -> Result<Vec<String>, String> {
    let mut chance = fastrand::Rng::with_seed(seed ^ 0xCAC4E);
    let claims = Arc::new(Claims::default());
    let processes = process::two(seed, &claims).await?;
    let mut clients = JoinSet::new();
    for (n, process) in (0..CLIENTS).flat_map(|n| processes.iter().map(move |process| (n, process))) {
        clients.spawn(asking::life(process.clone(), seed, n));
    }
    let began = tokio::time::Instant::now();
    while began.elapsed() < TROUBLE {
        tokio::time::sleep(Duration::from_millis(chance.u64(10..2000))).await;
        let process = processes[chance.usize(0..2)].clone();
        meddle(&process, &mut chance).await?;
    }
    processes.iter().for_each(|process| process.heal());
    tokio::time::sleep(10 * SECOND).await;
    claims.is_calm();
    let mut told = Vec::new();
    while let Some(ended) = clients.join_next().await {
        told.push(ended.map_err(|error| format!("a client crashed: {error}"))??);
    }
    told.sort_unstable();
    tokio::time::sleep(RECOVERY).await;
    settle().await;
    for process in processes {
        process.is_well()?;
        process.end().await?;
    }
    claims.broken().map_or(Ok(told.concat()), Err)
}

/// One thing goes wrong, is set right, or is done by an operator.
async fn meddle(process: &Arc<Process>, chance: &mut fastrand::Rng) -> Result<(), String> {
    let weathers = [Weather::Fine, Weather::Hung, Weather::Failing, Weather::Panicking, Weather::Corrupting];
    match chance.u8(0..12) {
        0..=2 => process.turn(chance.bool(), weathers[chance.usize(0..weathers.len())]),
        3 => process.crash_a_tier(chance.usize(0..3)),
        4 | 5 => process.miscast(chance),
        6..=8 => process.purge(chance).await,
        9 => process.pass(SECOND * chance.u32(1..20_000)),
        10 => process.change_policy(chance),
        _ => return process.reload(chance.bool()).await,
    }
    Ok(())
}
