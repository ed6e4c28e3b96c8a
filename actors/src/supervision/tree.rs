//! What is published of the supervision tree: who there is, how they are, and why they last ended.
//!
//! Supervisors write their children's nodes; anybody reads a snapshot without asking an actor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use super::{decision::Id, slot::SlotState};
use crate::shell::Exit;

/// A place in the tree; it stays while the actors at it come and go.
pub(crate) struct Node {
    pub(crate) path: Arc<str>,
    status: Mutex<Status>,
    /// `None`: it supervises nobody.
    children: Option<Mutex<Nodes>>,
}

/// In start order.
type Nodes = BTreeMap<Id, Arc<Node>>;

#[derive(Default)]
struct Status {
    state: SlotState,
    incarnation: u64,
    restarts: u64,
    last_exit: Option<Exit>,
}

/// One actor and those below it, as they were at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct TreeSnapshot {
    /// Its place: names from the root, joined by `/`.
    pub path: Arc<str>,
    /// How it is.
    #[serde(flatten)]
    pub state: SlotState,
    /// Does it supervise others?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub supervisor: bool,
    /// Its n-th life, from 1.
    pub incarnation: u64,
    /// How often it was restarted.
    pub restarts: u64,
    /// How its last life ended, if one did.
    pub last_exit: Option<Exit>,
    /// Those it supervises, in start order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeSnapshot>,
}

/// How many children there are, of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that are known, running or not.
    pub specs: usize,
    /// Those that run.
    pub active: usize,
    /// Those that wait for their next life, or are being started.
    pub restarting: usize,
    /// Those that supervise others.
    pub supervisors: usize,
    /// Those that do not.
    pub workers: usize,
}

impl Node {
    pub(crate) fn worker(path: Arc<str>) -> Arc<Self> {
        Arc::new(Self { path, status: Mutex::default(), children: None })
    }

    pub(crate) fn supervisor(path: Arc<str>) -> Arc<Self> {
        Arc::new(Self { path, status: Mutex::default(), children: Some(Mutex::default()) })
    }

    pub(crate) fn set_children(&self, children: BTreeMap<Id, Arc<Self>>) {
        self.children().into_iter().for_each(|mut mine| *mine = children.clone());
    }

    pub(crate) fn insert(&self, child: Id, node: Arc<Self>) {
        self.children().into_iter().for_each(|mut mine| drop(mine.insert(child, node.clone())));
    }

    pub(crate) fn remove(&self, child: Id) {
        self.children().into_iter().for_each(|mut mine| drop(mine.remove(&child)));
    }

    fn children(&self) -> Option<MutexGuard<'_, Nodes>> {
        Some(self.children.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, state: SlotState) {
        self.status().state = state;
    }

    pub(crate) fn up(&self, incarnation: u64) {
        let mut status = self.status();
        status.state = SlotState::Up;
        status.restarts += u64::from(status.incarnation > 0);
        status.incarnation = incarnation;
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.status().incarnation
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.status().restarts
    }

    pub(crate) fn exited(&self, exit: Exit) {
        self.status().last_exit = Some(exit);
    }

    pub(crate) fn snapshot(&self) -> TreeSnapshot {
        let all = |mine: MutexGuard<'_, Nodes>| mine.values().map(|child| child.snapshot()).collect();
        let children = self.children().map_or_else(Vec::new, all);
        let status = self.status();
        TreeSnapshot {
            path: self.path.clone(),
            state: status.state.clone(),
            supervisor: self.children.is_some(),
            incarnation: status.incarnation,
            restarts: status.restarts,
            last_exit: status.last_exit.clone(),
            children,
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TreeSnapshot {
    /// Its name: the last part of its path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The actor at `path`, itself included.
    pub fn find(&self, path: &str) -> Option<&Self> {
        if &*self.path == path {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(path))
    }

    /// The paths of those that have not ended, parents first.
    pub fn alive(&self) -> Vec<Arc<str>> {
        let own = (self.state != SlotState::Down).then(|| self.path.clone());
        own.into_iter().chain(self.children.iter().flat_map(Self::alive)).collect()
    }

    /// How many children it has, not counting theirs.
    pub fn counts(&self) -> Counts {
        let count = |of: fn(&Self) -> bool| self.children.iter().filter(|child| of(child)).count();
        Counts {
            specs: self.children.len(),
            active: count(|child| matches!(child.state, SlotState::Up | SlotState::ShuttingDown)),
            restarting: count(|child| {
                matches!(child.state, SlotState::Starting | SlotState::Restarting { .. })
            }),
            supervisors: count(|child| child.supervisor),
            workers: count(|child| !child.supervisor),
        }
    }

    /// The tree as indented lines, for a terminal.
    pub fn render(&self) -> String {
        let mut lines = String::new();
        self.render_into(&mut lines, 0);
        lines
    }

    fn render_into(&self, lines: &mut String, depth: usize) {
        use std::fmt::Write;
        let state = match self.state {
            SlotState::Starting => "starting",
            SlotState::Up => "up",
            SlotState::Restarting { .. } => "restarting",
            SlotState::ShuttingDown => "shutting down",
            SlotState::Down => "down",
        };
        let _ = write!(lines, "{:indent$}{}: {state}", "", self.name(), indent = depth * 2);
        if self.restarts > 0 {
            let _ = write!(lines, ", life {}", self.incarnation);
        }
        if let Some(exit) = &self.last_exit {
            let _ = write!(lines, ", last {exit}");
        }
        lines.push('\n');
        for child in &self.children {
            child.render_into(lines, depth + 1);
        }
    }
}
