//! The children of one supervisor as others see them: the one above it, which speaks for them when it is down, and
//! whoever reads the tree.
//!
//! It stays while lives of the supervisor come and go. Nothing is decided here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{child::ChildSpec, decision::Id, slot::SlotState, tree::Node};

/// The children of one supervisor, in start order.
pub(crate) struct Below {
    specs: Mutex<BTreeMap<Id, Arc<ChildSpec>>>,
    node: Arc<Node>,
}

impl Below {
    /// What is below the supervisor at `node`.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { specs: Mutex::default(), node }
    }

    /// A life of the supervisor begins: with all that it was made with, and nothing that was added to an earlier
    /// one.
    pub(crate) fn begin(&self, fixed: &[Arc<ChildSpec>]) {
        let anew: BTreeMap<Id, _> = (0..).zip(fixed.iter().cloned()).collect();
        self.node.set_children(anew.iter().map(|(child, spec)| (*child, spec.node.clone())).collect());
        let mut before = std::mem::replace(&mut *self.specs(), anew);
        let added = before.split_off(&(fixed.len() as Id));
        added.values().for_each(|spec| spec.publish(SlotState::Down));
    }

    /// A child comes.
    pub(crate) fn insert(&self, child: Id, spec: &Arc<ChildSpec>) {
        self.specs().insert(child, spec.clone());
        self.node.insert(child, spec.node.clone());
    }

    /// A child goes.
    pub(crate) fn remove(&self, child: Id) {
        self.specs().remove(&child);
        self.node.remove(child);
    }

    /// Says of all of them how they are.
    pub(crate) fn publish(&self, state: &SlotState) {
        self.specs().values().for_each(|spec| spec.publish(state.clone()));
    }

    fn specs(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<ChildSpec>>> {
        self.specs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
