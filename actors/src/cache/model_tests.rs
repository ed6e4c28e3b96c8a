//! The tiers against a model that is a map: random keeping, finding, purging, forgetting, restarting and waiting.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{
    control::CacheControl,
    entry::Windows,
    key::{DEFAULT_NAMESPACE, Scope},
    marks::Purge,
    tests::{ANY, Process, SECOND, text},
};
use crate::testing::{VirtualClock, settle, store::FakeStore};

const QUESTIONS: [&str; 3] = ["q", "r", "s"];
const NAMESPACES: [&str; 2] = [DEFAULT_NAMESPACE, "n"];
const TAGS: [&str; 2] = ["v1", "v2"];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// What is asked, in which namespace, with which tag, fresh for so many seconds.
    Keep(usize, usize, usize, u32),
    Find(usize, usize),
    Wait(u32),
    /// Everything, a namespace, a tag, or a key.
    Purge(u8, usize, usize),
    /// A lower tier loses its entries: the next find brings them back up.
    Forget(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3usize, 0..2usize, 0..2usize, 1..200u32).prop_map(|(q, n, t, ttl)| Step::Keep(q, n, t, ttl)),
        8 => (0..3usize, 0..2usize).prop_map(|(q, n)| Step::Find(q, n)),
        3 => (1..200u32).prop_map(Step::Wait),
        2 => (0..4u8, 0..3usize, 0..2usize).prop_map(|(kind, q, n)| Step::Purge(kind, q, n)),
        2 => any::<bool>().prop_map(Step::Forget),
        1 => Just(Step::Restart),
    ]
}

fn control(namespace: usize) -> CacheControl {
    CacheControl { namespace: Some(NAMESPACES[namespace].into()), ..ANY }
}

/// An answer, its windows and its tag, by question and namespace.
type Model = BTreeMap<(usize, usize), (String, Windows, usize)>;

/// One loses what the other has too.
fn forget(one: &FakeStore, other: &FakeStore) {
    let kept = other.rows().clone();
    one.rows().retain(|key, _| !kept.contains_key(key));
}

struct Played {
    clock: VirtualClock,
    process: Process,
    shared: Arc<FakeStore>,
    model: Model,
    kept: usize,
}

impl Played {
    async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let (clock, shared) = (VirtualClock::start(), Arc::default());
        let process = Process::at(clock, Some(1 << 20), Arc::default(), &shared).await;
        let mut played = Self { clock, process, shared, model: Model::new(), kept: 0 };
        for step in steps {
            played = played.step(step).await?;
            settle().await;
        }
        Ok(())
    }

    async fn step(mut self, step: Step) -> Result<Self, TestCaseError> {
        match step {
            Step::Keep(q, n, t, ttl) => self.keep(q, n, t, ttl).await?,
            Step::Find(q, n) => self.find(q, n).await?,
            Step::Wait(seconds) => tokio::time::sleep(SECOND * seconds).await,
            Step::Purge(kind, q, n) => self.purge(kind, q, n).await,
            Step::Forget(true) => forget(&self.process.disk, &self.shared),
            Step::Forget(false) => forget(&self.shared, &self.process.disk),
            Step::Restart => self = self.restart().await,
        }
        Ok(self)
    }

    async fn keep(&mut self, q: usize, n: usize, t: usize, ttl: u32) -> Result<(), TestCaseError> {
        self.kept += 1;
        let answer = self.kept.to_string();
        let (ttl, stale_if_error) = (Some(SECOND * ttl), Some(SECOND));
        let control = CacheControl { tags: vec![TAGS[t].into()], ttl, stale_if_error, ..control(n) };
        self.process.keep_for(QUESTIONS[q], &answer, &control);
        settle().await;
        let windows = self.process.held(QUESTIONS[q], &self::control(n)).await.map(|held| held.entry.windows);
        prop_assert!(windows.is_some());
        self.model.extend(windows.map(|windows| ((q, n), (answer, windows, t))));
        Ok(())
    }

    async fn find(&self, q: usize, n: usize) -> Result<(), TestCaseError> {
        let held = self.process.held(QUESTIONS[q], &control(n)).await;
        let found = held.map(|held| (text(&held.entry), held.entry.windows));
        let now = self.process.cache().now();
        let known = self.model.get(&(q, n)).filter(|(_, windows, _)| now < windows.error);
        prop_assert_eq!(found, known.map(|(answer, windows, _)| (answer.clone(), *windows))); // CA1, CA3
        Ok(())
    }

    async fn purge(&mut self, kind: u8, q: usize, n: usize) {
        let tag = q % TAGS.len();
        let (tenant, namespace): (Arc<str>, _) = ("".into(), NAMESPACES[n].into());
        let key = self.process.key(QUESTIONS[q], &control(n));
        let what = match kind {
            0 => Purge::All,
            1 => Purge::Namespace(Scope { tenant, namespace }),
            2 => Purge::Tag { tenant, tag: TAGS[tag].into() },
            _ => Purge::Key(key),
        };
        self.process.cache().purge(what).await;
        self.model.retain(|of, (_, _, t)| match kind {
            0 => false,
            1 => of.1 != n,
            2 => *t != tag,
            _ => *of != (q, n),
        });
    }

    /// The memory is lost; what it had is further down.
    async fn restart(self) -> Self {
        let Self { clock, process: Process { tree, disk }, shared, model, kept } = self;
        assert!(tree.shutdown(10 * SECOND).await.is_clean());
        let process = Process::at(clock, Some(1 << 20), disk, &shared).await;
        Self { clock, process, shared, model, kept }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn whatever_is_kept_purged_forgotten_and_found_the_tiers_are_one_map(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(Played::play(steps))?;
    }
}
