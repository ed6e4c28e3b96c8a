//! What is published of the supervision tree: who there is, how they are, and why they last ended.
//!
//! Supervisors write their children's nodes; anybody reads a snapshot without asking an actor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::slot::SlotState;
use crate::shell::Exit;

/// A place in the tree; it stays while the actors at it come and go.
pub(crate) struct Node {
    pub(crate) path: Arc<str>,
    status: Mutex<Status>,
    children: Vec<Arc<Node>>,
}

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

impl Node {
    pub(crate) fn new(path: Arc<str>, children: Vec<Arc<Self>>) -> Arc<Self> {
        let status = Status { state: SlotState::Starting, incarnation: 0, restarts: 0, last_exit: None };
        Arc::new(Self { path, status: Mutex::new(status), children })
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

    pub(crate) fn exited(&self, exit: Exit) {
        self.status().last_exit = Some(exit);
    }

    pub(crate) fn snapshot(&self) -> TreeSnapshot {
        let children = self.children.iter().map(|child| child.snapshot()).collect();
        let status = self.status();
        TreeSnapshot {
            path: self.path.clone(),
            state: status.state.clone(),
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

    /// The tree as indented lines, for a terminal.
    pub fn render(&self) -> String {
        let mut lines = String::new();
        self.render_into(&mut lines, 0);
        lines
    }

    fn render_into(&self, lines: &mut String, depth: usize) {
        use std::fmt::Write;
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let state = match self.state {
            SlotState::Starting => "starting",
            SlotState::Up => "up",
            SlotState::Restarting { .. } => "restarting",
            SlotState::ShuttingDown => "shutting down",
            SlotState::Down => "down",
        };
        let _ = write!(lines, "{:indent$}{name}: {state}", "", indent = depth * 2);
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
