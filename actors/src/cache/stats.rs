//! What the cache did, counted (CA12): by tier, and by namespace what it saved.
//!
//! Counters are added to on the caller's task and read as snapshots. Namespaces are told apart up to a bound; the
//! further ones are counted together.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::{Counter, Histogram};
use serde::Serialize;

use super::{control::Level, key::Scope};
use crate::call::Usage;

/// How many namespaces are told apart.
const NAMESPACES: usize = 1_000;
/// Where the further ones are counted.
const OTHERS: &str = "(others)";

/// A number that is shown in snapshots and as a metric.
struct Tally {
    count: AtomicU64,
    metric: Counter,
}

impl Tally {
    fn new(metric: Counter) -> Self {
        Self { count: AtomicU64::new(0), metric }
    }

    fn add(&self, n: u64) {
        self.count.fetch_add(n, Relaxed);
        self.metric.increment(n);
    }

    fn get(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

/// What can happen at a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A lookup found an entry which may be seen.
    Hit,
    /// A lookup did not.
    Miss,
    /// An entry was put in.
    Filled,
    /// An entry had to make room.
    Evicted,
    /// An entry whose time was over, or which had been purged, was taken out.
    Expired,
    /// A question or a write failed.
    Failed,
    /// One was not answered in time.
    TimedOut,
    /// An entry was not what had been put in.
    Corrupt,
    /// A write was not made, while the tier was out or had too many.
    Dropped,
    /// A lookup did without the tier while it was out.
    Skipped,
}

impl Happened {
    const ALL: [Self; 10] = [
        Self::Hit,
        Self::Miss,
        Self::Filled,
        Self::Evicted,
        Self::Expired,
        Self::Failed,
        Self::TimedOut,
        Self::Corrupt,
        Self::Dropped,
        Self::Skipped,
    ];

    /// A word for snapshots and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hits",
            Self::Miss => "misses",
            Self::Filled => "fills",
            Self::Evicted => "evictions",
            Self::Expired => "expiries",
            Self::Failed => "errors",
            Self::TimedOut => "timeouts",
            Self::Corrupt => "corrupt",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
        }
    }
}

/// What one tier did.
pub struct TierStats {
    tallies: [Tally; 10],
    seconds: Histogram,
}

impl TierStats {
    pub(crate) fn new(level: Level) -> Self {
        let tallies = Happened::ALL.map(|event| {
            Tally::new(metrics::counter!("mainstay_cache_tier_total", "tier" => level.name(), "event" => event.word()))
        });
        Self {
            tallies,
            seconds: metrics::histogram!("mainstay_cache_lookup_seconds", "tier" => level.name()),
        }
    }

    pub(crate) fn add(&self, event: Happened, times: u64) {
        self.tallies[event as usize].add(times);
    }

    pub(crate) fn looked_up(&self, took: Duration) {
        self.seconds.record(took);
    }

    /// How often each has happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        Happened::ALL.into_iter().map(|event| (event.word(), self.tallies[event as usize].get())).collect()
    }
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// A fresh entry.
    Hit,
    /// A stale one, while another was fetched.
    Stale,
    /// One that is better than an error.
    IfError,
    /// The answer to somebody else's equal question, which was under way.
    Joined,
    /// Nothing.
    Miss,
}

impl Use {
    const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::IfError, Self::Joined, Self::Miss];

    /// A word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::IfError => "if_error",
            Self::Joined => "joined",
            Self::Miss => "miss",
        }
    }
}

#[derive(Default)]
struct Drawer {
    uses: [AtomicU64; 5],
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    millis: AtomicU64,
}

/// What a namespace saved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Savings {
    /// Whose.
    pub scope: Scope,
    /// Calls that looked for an answer.
    pub lookups: u64,
    /// Those answered by a fresh entry.
    pub hits: u64,
    /// Those answered by a stale entry, while another was fetched.
    pub stale: u64,
    /// Those answered by an old entry, when nobody else answered.
    pub if_error: u64,
    /// Those answered together with an equal one that was under way.
    pub joined: u64,
    /// Those that a provider had to answer.
    pub misses: u64,
    /// The share of calls that no provider was asked for, 0 to 1.
    pub hit_ratio: f64,
    /// Tokens that were not read again.
    pub saved_input_tokens: u64,
    /// Tokens that were not written again.
    pub saved_output_tokens: u64,
    /// Time that callers did not wait, in seconds.
    pub saved_seconds: f64,
}

impl Drawer {
    fn savings(&self, scope: &Scope) -> Savings {
        let [hits, stale, if_error, joined, misses] = self.uses.each_ref().map(|n| n.load(Relaxed));
        let saved = hits + stale + if_error + joined;
        let lookups = saved + misses;
        Savings {
            scope: scope.clone(),
            lookups,
            hits,
            stale,
            if_error,
            joined,
            misses,
            hit_ratio: if lookups == 0 { 0.0 } else { saved as f64 / lookups as f64 },
            saved_input_tokens: self.input_tokens.load(Relaxed),
            saved_output_tokens: self.output_tokens.load(Relaxed),
            saved_seconds: self.millis.load(Relaxed) as f64 / 1000.0,
        }
    }
}

/// What one call did without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    pub(crate) usage: Option<Usage>,
    pub(crate) took_ms: u64,
}

/// What all namespaces saved.
pub struct Efficiency {
    drawers: RwLock<BTreeMap<Scope, Arc<Drawer>>>,
    lookups: [Counter; 5],
    saved_tokens: [Counter; 2],
    saved_seconds: Histogram,
}

impl Default for Efficiency {
    fn default() -> Self {
        let lookups =
            Use::ALL.map(|how| metrics::counter!("mainstay_cache_lookups_total", "result" => how.word()));
        let saved_tokens = ["input", "output"].map(
            |direction| metrics::counter!("mainstay_cache_saved_tokens_total", "direction" => direction),
        );
        let saved_seconds = metrics::histogram!("mainstay_cache_saved_seconds");
        Self { drawers: RwLock::default(), lookups, saved_tokens, saved_seconds }
    }
}

impl Efficiency {
    /// Counts one call; `saved` is the answer that no provider was asked for.
    pub(crate) fn count(&self, scope: &Scope, how: Use, saved: Option<Saved>) {
        let drawer = self.drawer(scope);
        drawer.uses[how as usize].fetch_add(1, Relaxed);
        self.lookups[how as usize].increment(1);
        let Some(saved) = saved else { return };
        let usage = saved.usage.unwrap_or_default();
        drawer.input_tokens.fetch_add(usage.input_tokens, Relaxed);
        drawer.output_tokens.fetch_add(usage.output_tokens, Relaxed);
        drawer.millis.fetch_add(saved.took_ms, Relaxed);
        self.saved_tokens[0].increment(usage.input_tokens);
        self.saved_tokens[1].increment(usage.output_tokens);
        self.saved_seconds.record(Duration::from_millis(saved.took_ms));
    }

    fn drawer(&self, scope: &Scope) -> Arc<Drawer> {
        let known = self.drawers.read().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
        known.unwrap_or_else(|| {
            let mut drawers = self.drawers.write().unwrap_or_else(PoisonError::into_inner);
            let full = drawers.len() >= NAMESPACES;
            let others = || Scope { tenant: "".into(), namespace: OTHERS.into() };
            drawers.entry(if full { others() } else { scope.clone() }).or_default().clone()
        })
    }

    /// By namespace, in order.
    pub fn report(&self) -> Vec<Savings> {
        let drawers = self.drawers.read().unwrap_or_else(PoisonError::into_inner);
        drawers.iter().map(|(scope, drawer)| drawer.savings(scope)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::entry;

    fn scope(name: &str) -> Scope {
        Scope { tenant: "".into(), namespace: name.into() }
    }

    #[test]
    fn a_namespace_tells_what_it_saved() {
        let efficiency = Efficiency::default();
        let kept = entry(10);
        for how in [Use::Hit, Use::Stale, Use::Joined] {
            efficiency.count(&scope("a"), how, Some(Saved { usage: kept.usage, took_ms: kept.took_ms }));
        }
        efficiency.count(&scope("a"), Use::Miss, None);
        let [saved] = &efficiency.report()[..] else { panic!() };
        assert_eq!((saved.lookups, saved.hits, saved.stale, saved.joined, saved.misses), (4, 1, 1, 1, 1));
        assert!((saved.hit_ratio - 0.75).abs() < 1e-9); // CA12
        let usage = kept.usage.unwrap();
        assert_eq!(saved.saved_output_tokens, 3 * usage.output_tokens);
        assert!((saved.saved_seconds - 3.0 * kept.took_ms as f64 / 1000.0).abs() < 1e-9);
    }

    #[test]
    fn namespaces_beyond_the_bound_are_counted_together() {
        let efficiency = Efficiency::default();
        (0..3 * NAMESPACES).for_each(|n| efficiency.count(&scope(&n.to_string()), Use::Miss, None));
        let report = efficiency.report();
        assert!(report.len() <= NAMESPACES + 1);
        assert_eq!(report.iter().map(|saved| saved.lookups).sum::<u64>(), 3 * NAMESPACES as u64);
    }
}
