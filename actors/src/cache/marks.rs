//! What is purged: marks in time, instead of a search for entries.
//!
//! A mark says that nothing of a kind is visible whose making began before it. Setting one costs the same for any
//! number of entries, holds in all tiers at once, and also for answers that are still being made (CA3). Marks are
//! instants, so those of two processes are joined by taking the later one, in any order and as often as one likes: a
//! purge is never undone. Whoever shares a cache needs clocks that agree: a purge does not reach what a machine
//! whose clock is ahead began within that difference.
//!
//! The table is bounded: when it is full, the older half is joined into one mark on everything, which purges more
//! than was asked for and never less.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    entry::{Entry, UnixMs},
    key::{Key, Scope},
};

/// How many marks are told apart.
const MARKS: usize = 10_000;

/// What is purged at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purge {
    /// Everything.
    All,
    /// One namespace of one tenant.
    Namespace(Scope),
    /// All that one tenant keeps under a tag, such as the version of a prompt or of a document.
    Tag {
        /// Whose.
        tenant: Arc<str>,
        /// Which.
        tag: Arc<str>,
    },
    /// One entry.
    Key(Key),
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Namespace(scope) => write!(f, "namespace `{}`", scope.namespace),
            Self::Tag { tag, .. } => write!(f, "tag `{tag}`"),
            Self::Key(key) => write!(f, "key {key}"),
        }
    }
}

/// Nothing of this that was begun at this instant or before is visible.
pub type Mark = (Purge, UnixMs);

/// All marks that are known.
#[derive(Debug, Default)]
pub struct Marks {
    /// The latest instant that was given out, so that no later mark is below it.
    latest: AtomicU64,
    /// The newest mark: whatever was begun after it needs no look at the others.
    newest: AtomicU64,
    set: RwLock<BTreeMap<Purge, UnixMs>>,
    /// Goes up with every new mark.
    version: AtomicU64,
}

impl Marks {
    /// A number that goes up whenever there is a new mark, from 0.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The instant at which something begins: after all marks that are known, even if the clock went back.
    pub fn begin(&self, now: UnixMs) -> UnixMs {
        let at = now.max(self.newest.load(Ordering::Acquire) + 1);
        self.latest.fetch_max(at, Ordering::AcqRel);
        at
    }

    /// Purges; the mark is to be told to whoever shares entries.
    pub fn purge(&self, what: Purge, now: UnixMs) -> Mark {
        let mark = (what, self.latest.fetch_max(now, Ordering::AcqRel).max(now));
        self.join([mark.clone()]);
        mark
    }

    /// Takes in marks of others, or of an earlier life. True if any was new.
    pub fn join(&self, marks: impl IntoIterator<Item = Mark>) -> bool {
        let mut set = self.set();
        let mut news = false;
        for (what, at) in marks {
            let known = set.entry(what).or_insert(0);
            news |= *known < at;
            *known = at.max(*known);
            self.newest.fetch_max(at, Ordering::AcqRel);
        }
        if set.len() > MARKS {
            join_older_half(&mut set);
        }
        self.version.fetch_add(news.into(), Ordering::AcqRel);
        news
    }

    /// May this entry, which was found under `key`, be seen?
    pub fn allow(&self, key: &Key, entry: &Entry) -> bool {
        if entry.begun > self.newest.load(Ordering::Acquire) {
            return true;
        }
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let is_purged = |what: &Purge| set.get(what).is_some_and(|at| entry.begun <= *at);
        let tenant = || entry.scope.tenant.clone();
        !(is_purged(&Purge::All)
            || is_purged(&Purge::Namespace(entry.scope.clone()))
            || is_purged(&Purge::Key(*key))
            || entry.tags.iter().any(|tag| is_purged(&Purge::Tag { tenant: tenant(), tag: tag.clone() })))
    }

    /// All marks, in order of what they purge.
    pub fn all(&self) -> Vec<Mark> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = set.iter().map(|(what, at)| (what.clone(), *at)).collect();
        all.sort_unstable();
        all
    }

    fn set(&self) -> RwLockWriteGuard<'_, BTreeMap<Purge, UnixMs>> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join_older_half(set: &mut BTreeMap<Purge, UnixMs>) {
    let mut instants: Vec<_> = set.values().copied().collect();
    instants.sort_unstable();
    let middle = instants[instants.len() / 2];
    set.retain(|_, at| *at > middle);
    let all = set.entry(Purge::All).or_insert(0);
    *all = middle.max(*all);
    tracing::warn!("many purges: the older half of them is now one purge of everything");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cache::{
            control::{CacheControl, CachePolicy},
            entry::{Kept, Windows},
        },
        call::Usage,
    };

    const KEY: Key = Key([1; 32]);

    fn entry(namespace: &str, tag: &str, begun: UnixMs) -> Entry {
        Entry {
            scope: Scope { tenant: "t".into(), namespace: namespace.into() },
            tags: vec![tag.into()],
            begun,
            windows: Windows::new(begun, &CachePolicy::default(), &CacheControl::default()),
            provider: "p".into(),
            model: "m".into(),
            upstream_request_id: None,
            usage: Some(Usage::default()),
            took_ms: 0,
            answer: Kept::Whole("x".into()),
        }
    }

    fn namespace(name: &str) -> Purge {
        Purge::Namespace(Scope { tenant: "t".into(), namespace: name.into() })
    }

    fn tag(tenant: &str) -> Purge {
        Purge::Tag { tenant: tenant.into(), tag: "v1".into() }
    }

    #[test]
    fn a_purge_hides_what_it_names_and_nothing_else() {
        let table = [
            (Purge::All, true),
            (namespace("a"), true),
            (namespace("b"), false),
            (tag("t"), true),
            (tag("other"), false),
            (Purge::Key(KEY), true),
            (Purge::Key(Key([2; 32])), false),
        ];
        for (purge, hides) in table {
            let marks = Marks::default();
            let (old, at) = (entry("a", "v1", marks.begin(50)), 60);
            marks.purge(purge.clone(), at);
            assert_eq!(marks.allow(&KEY, &old), !hides, "{purge:?}"); // CA3
            assert!(marks.allow(&KEY, &entry("a", "v1", marks.begin(at))), "{purge:?}");
        }
    }

    #[test]
    fn what_was_begun_before_a_purge_stays_hidden_though_it_is_done_after_it() {
        let marks = Marks::default();
        let begun = marks.begin(100);
        marks.purge(namespace("a"), 100);
        assert!(!marks.allow(&KEY, &entry("a", "", begun))); // CA3
    }

    #[test]
    fn a_clock_that_goes_back_undoes_no_purge_and_hides_nothing_new() {
        let marks = Marks::default();
        let old = entry("a", "", marks.begin(100));
        marks.purge(namespace("a"), 40);
        assert!(!marks.allow(&KEY, &old));
        assert!(marks.allow(&KEY, &entry("a", "", marks.begin(41))));
    }

    #[test]
    fn a_full_table_purges_more_and_never_less() {
        let marks = Marks::default();
        for n in 0..=MARKS as u64 {
            marks.purge(namespace(&n.to_string()), 10 + n);
        }
        assert!(marks.all().len() <= MARKS);
        for n in 0..=MARKS as u64 {
            assert!(!marks.allow(&KEY, &entry(&n.to_string(), "", 10 + n)), "{n}");
        }
    }

    proptest! {
        /// Two processes that tell each other their marks in any order, and twice, hide the same.
        #[test]
        fn marks_are_joined_in_any_order(ops in prop::collection::vec((0..4u8, 0..50u64), 0..20), split in 0..20usize) {
            let name = |n: u8| if n == 0 { Purge::All } else { namespace(&n.to_string()) };
            let both: Vec<_> = ops.iter().map(|(n, at)| (name(*n), *at)).collect();
            let (left, right) = both.split_at(split.min(both.len()));
            let (one, other) = (Marks::default(), Marks::default());
            one.join(left.iter().cloned());
            one.join(right.iter().cloned());
            other.join(right.iter().cloned());
            other.join(left.iter().cloned());
            prop_assert!(!other.join(one.all()));
            prop_assert_eq!(one.all(), other.all());
        }
    }
}
