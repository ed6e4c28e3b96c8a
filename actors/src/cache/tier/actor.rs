//! The actor of one tier: it decides whether the tier is asked, writes behind, shares purges, and makes room.
//!
//! One piece of work at a time is under way at the store, in a task that reports back. While the tier is out, writes
//! are dropped and counted; before it is asked again, all purges are exchanged with it, so that nothing is served
//! that was purged meanwhile. A next life begins like that too.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{Tier, TierPlan, Told};
use crate::{
    cache::{
        entry::{Entry, UnixMs},
        gate::{Gate, Trouble},
        key::Key,
        marks::{Mark, Marks},
        stats::Happened,
    },
    commons::{Commons, Timer},
    mode::board::{Concern, Health, Reporter},
    ports::{Clock, Fill, StoreError, Tidied},
    shell::{Behavior, Cx, Failure, Start, contain},
    supervision::{ChildSpec, Reply},
};

/// Writes that may wait, in number and in bytes; further ones are dropped.
const WAITING: (usize, usize) = (1024, 16 << 20);
/// Writes that are made at once.
const BATCH: usize = 64;
/// How long a piece of work at the store may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a start waits to find the store well; after that it is tried again without holding up anybody.
const AT_START: Duration = Duration::from_millis(300);

/// What a tier's actor is told.
pub enum TierNews {
    /// Keep this.
    Keep(Key, Arc<Entry>),
    /// A caller had no luck.
    Troubled(Trouble, Arc<str>),
    /// There is a new purge: answer when the store has it.
    Share(Reply<()>),
    /// It is time to look what is to be done.
    Wake,
    /// A piece of work is done.
    Done(Done),
}

/// A piece of work at the store that is done, or failed.
pub enum Done {
    /// So many entries were written.
    Wrote(u64, Outcome<()>),
    /// Purges were exchanged, ours as they were at this version.
    Exchanged(u64, Outcome<Vec<Mark>>),
    /// Room was made.
    Tidied(Outcome<(Tidied, Fill)>),
}

/// What a piece of work came to.
pub type Outcome<T> = Result<T, (Trouble, Arc<str>)>;

/// The actor.
pub struct TierActor {
    tier: Arc<Tier>,
    marks: Arc<Marks>,
    every: Duration,
    report: Arc<Reporter>,
    gate: Gate,
    writes: VecDeque<(Key, Arc<Entry>)>,
    write_bytes: usize,
    /// The version of our marks that the store has.
    shared: u64,
    /// Those who wait until the store has a purge, with the version it has by then.
    sharing: Vec<(u64, Reply<()>)>,
    next_round: Instant,
    tidied: bool,
    work: Option<Timer>,
    alarm: Option<(Instant, Timer)>,
}

impl TierActor {
    /// Its place in the tree.
    pub(crate) fn spec(plan: TierPlan, marks: &Arc<Marks>, commons: &Commons) -> (ChildSpec, Arc<Tier>) {
        let tier = Tier::new(&plan, commons.clock.clone());
        let path: Arc<str> = format!("root/cache/{}", plan.level.name()).into();
        let component = format!("cache/{}", plan.level.name()).into();
        let report = Arc::new(commons.health.reporter(&component, "store", Concern::Own));
        let (known, marks, clock) = (tier.clone(), marks.clone(), commons.clock.clone());
        let (spec, handle) = ChildSpec::new(path, move |_| Self {
            tier: known.clone(),
            marks: marks.clone(),
            every: plan.every,
            report: report.clone(),
            gate: Gate::new(clock.now()),
            writes: VecDeque::new(),
            write_bytes: 0,
            shared: 0,
            sharing: Vec::new(),
            next_round: clock.now() + plan.every,
            tidied: false,
            work: None,
            alarm: None,
        });
        let _ = tier.actor.set(handle);
        (spec, tier)
    }

    fn keep(&mut self, key: Key, entry: Arc<Entry>) {
        let bytes = entry.weight();
        let full = self.writes.len() >= WAITING.0 || self.write_bytes + bytes > WAITING.1;
        if full || !self.gate.is_open() {
            return self.tier.stats.add(Happened::Dropped, 1);
        }
        self.write_bytes += bytes;
        self.writes.push_back((key, entry));
    }

    fn troubled(&mut self, trouble: Trouble, text: &str, cx: &Cx<TierNews>) {
        if !self.gate.failed(trouble, cx.commons().now()) {
            return;
        }
        self.tier.open.store(false, Ordering::Release);
        self.tier.stats.add(Happened::Dropped, self.writes.len() as u64);
        self.writes.clear();
        self.write_bytes = 0;
        self.shared = 0;
        self.say(Some(text));
    }

    fn say(&self, trouble: Option<&str>) {
        let level = self.tier.level;
        match trouble {
            None => self.report.clear(),
            Some(text) => {
                let text = format!(
                    "the {} cache is left out and tried again by itself: {text}; answers come from elsewhere",
                    level.name()
                );
                self.report.report(Health::Degraded, &text, None);
            }
        }
        let told = Told { trouble: trouble.map(Into::into), ..Told::clone(&self.tier.told.load()) };
        self.tier.told.store(Arc::new(told));
        metrics::gauge!("mainstay_cache_tier_up", "tier" => level.name()).set(if trouble.is_none() {
            1.0
        } else {
            0.0
        });
    }

    fn done(&mut self, done: Done, cx: &Cx<TierNews>) {
        self.work = None;
        match done {
            Done::Wrote(entries, Ok(())) => {
                self.tier.stats.add(Happened::Filled, entries);
                // One that was begun before the tier was left out does not let it in again: purges come first.
                if self.gate.is_open() {
                    self.gate.succeeded();
                }
            }
            Done::Exchanged(version, Ok(marks)) => self.exchanged(version, marks),
            Done::Tidied(Ok((Tidied { expired, evicted }, fill))) => {
                self.tier.stats.add(Happened::Expired, expired);
                self.tier.stats.add(Happened::Evicted, evicted);
                self.filled(fill);
            }
            Done::Wrote(entries, Err(error)) => {
                self.tier.stats.add(Happened::Dropped, entries);
                self.failed(error, cx);
            }
            Done::Exchanged(_, Err(error)) | Done::Tidied(Err(error)) => self.failed(error, cx),
        }
    }

    fn failed(&mut self, (trouble, text): (Trouble, Arc<str>), cx: &Cx<TierNews>) {
        let event = if trouble == Trouble::Slow { Happened::TimedOut } else { Happened::Failed };
        self.tier.stats.add(event, 1);
        if self.gate.is_open() {
            self.troubled(trouble, &text, cx);
        } else {
            self.gate.tried_in_vain(cx.commons().now());
            self.say(Some(&text));
        }
    }

    /// The store has our purges and we have its: now it may be asked.
    fn exchanged(&mut self, version: u64, marks: Vec<Mark>) {
        self.marks.join(marks);
        self.shared = version;
        let (reached, waiting) = self.sharing.drain(..).partition(|(wanted, _)| *wanted <= version);
        self.sharing = waiting;
        let reached: Vec<(u64, Reply<()>)> = reached;
        reached.into_iter().for_each(|(_, reply)| reply.send(()));
        let was_open = self.gate.is_open();
        self.gate.succeeded();
        if !was_open {
            self.tier.open.store(true, Ordering::Release);
            self.say(None);
        }
    }

    fn filled(&self, fill: Fill) {
        let tier = self.tier.level.name();
        metrics::gauge!("mainstay_cache_entries", "tier" => tier).set(fill.entries as f64);
        metrics::gauge!("mainstay_cache_bytes", "tier" => tier).set(fill.bytes as f64);
        if let Some(capacity) = fill.capacity {
            metrics::gauge!("mainstay_cache_capacity_bytes", "tier" => tier).set(capacity as f64);
        }
        let told = Told { fill, ..Told::clone(&self.tier.told.load()) };
        self.tier.told.store(Arc::new(told));
    }

    /// Begins what is to be done next, or sets an alarm for it.
    fn go_on(&mut self, cx: &Cx<TierNews>) {
        if self.work.is_some() {
            return;
        }
        let now = cx.commons().now();
        match self.gate.try_at() {
            Some(at) if now >= at => return self.exchange(cx),
            Some(at) => return self.wake_at(at, cx),
            None => {}
        }
        if now >= self.next_round {
            (self.next_round, self.tidied) = (now + self.every, false);
            self.exchange(cx);
        } else if !self.sharing.is_empty() {
            self.exchange(cx);
        } else if !self.writes.is_empty() {
            self.write(cx);
        } else if !self.tidied {
            self.tidied = true;
            self.tidy(cx);
        } else {
            self.wake_at(self.next_round, cx);
        }
    }

    fn wake_at(&mut self, at: Instant, cx: &Cx<TierNews>) {
        if self.alarm.as_ref().is_none_or(|(set, _)| *set != at) {
            let delay = at.saturating_duration_since(cx.commons().now());
            self.alarm = Some((at, cx.after(delay, TierNews::Wake)));
        }
    }

    fn exchange(&mut self, cx: &Cx<TierNews>) {
        let (tier, marks, shared) = (self.tier.clone(), self.marks.clone(), self.shared);
        self.work =
            Some(cx.hold(async move { TierNews::Done(exchange(&tier, &marks, shared, PATIENCE).await) }));
    }

    fn write(&mut self, cx: &Cx<TierNews>) {
        let batch: Vec<_> = self.writes.drain(..self.writes.len().min(BATCH)).collect();
        self.write_bytes = self.writes.iter().map(|(_, entry)| entry.weight()).sum();
        let tier = self.tier.clone();
        self.work = Some(cx.hold(async move {
            let entries = batch.len() as u64;
            TierNews::Done(Done::Wrote(entries, at_store(PATIENCE, tier.store.put(batch)).await))
        }));
    }

    fn tidy(&mut self, cx: &Cx<TierNews>) {
        let (tier, marks, now) = (self.tier.clone(), self.marks.clone(), unix_ms(&*cx.commons().clock));
        self.work = Some(cx.hold(async move {
            let tidied = at_store(PATIENCE, async {
                let tidied = tier.store.tidy(now, &marks).await?;
                Ok((tidied, tier.store.fill().await?))
            });
            TierNews::Done(Done::Tidied(tidied.await))
        }));
    }
}

async fn exchange(tier: &Tier, marks: &Marks, shared: u64, patience: Duration) -> Done {
    let version = marks.version();
    let ours = if version == shared { Vec::new() } else { marks.all() };
    Done::Exchanged(version, at_store(patience, tier.store.exchange(ours)).await)
}

/// Does something at the store, whatever the store makes of it.
async fn at_store<T>(patience: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Outcome<T> {
    match tokio::time::timeout(patience, contain(async { Ok(work.await) })).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => Err((Trouble::Failed, error.to_string().into())),
        Ok(Err(exit)) => Err((Trouble::Failed, exit.to_string().into())),
        Err(_) => {
            let text = format!("did not answer within {} ms", patience.as_millis());
            Err((Trouble::Slow, text.into()))
        }
    }
}

/// Wall time, as entries have it.
pub(crate) fn unix_ms(clock: &dyn Clock) -> UnixMs {
    clock.unix_time().as_millis() as u64
}

impl Drop for TierActor {
    /// Between two lives nobody shares purges and nobody hears of trouble: the tier is not asked.
    fn drop(&mut self) {
        self.tier.open.store(false, Ordering::Release);
    }
}

impl Behavior for TierActor {
    type Msg = TierNews;

    /// Callers would do without the tier until its purges are known, so that is tried first.
    async fn started(&mut self, cx: &Cx<TierNews>) -> Result<Start, Failure> {
        let done = exchange(&self.tier, &self.marks, self.shared, AT_START).await;
        self.done(done, cx);
        self.go_on(cx);
        Ok(Start::Ready)
    }

    async fn handle(&mut self, news: TierNews, cx: &Cx<TierNews>) -> Result<(), Failure> {
        match news {
            TierNews::Keep(key, entry) => self.keep(key, entry),
            TierNews::Troubled(trouble, text) => self.troubled(trouble, &text, cx),
            TierNews::Share(reply) => self.sharing.push((self.marks.version(), reply)),
            TierNews::Wake => self.alarm = None,
            TierNews::Done(done) => self.done(done, cx),
        }
        self.go_on(cx);
        Ok(())
    }

    /// What waits to be written is written for good, as far as the time goes.
    async fn stopped(&mut self, _: &Cx<TierNews>) {
        let (store, waiting) = (&self.tier.store, std::mem::take(&mut self.writes).into());
        let written = async {
            store.put(waiting).await?;
            store.exchange(self.marks.all()).await
        };
        let _ = at_store(PATIENCE, written).await;
    }
}
