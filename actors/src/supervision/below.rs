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
    /// Those that every life of the supervisor begins with.
    staff: Mutex<Vec<Arc<ChildSpec>>>,
    specs: Mutex<BTreeMap<Id, Arc<ChildSpec>>>,
    node: Arc<Node>,
}

impl Below {
    /// What is below the supervisor at `node`, which is made with `staff`.
    pub(crate) fn new(node: Arc<Node>, staff: Vec<ChildSpec>) -> Self {
        let staff = Mutex::new(staff.into_iter().map(Arc::new).collect());
        Self { staff, specs: Mutex::default(), node }
    }

    /// A life of the supervisor begins: with its staff, and nobody else of an earlier one.
    pub(crate) fn begin(&self) -> Vec<Arc<ChildSpec>> {
        let staff = self.staff().clone();
        let anew: BTreeMap<Id, _> = (0..).zip(staff.iter().cloned()).collect();
        self.node.set_children(anew.iter().map(|(child, spec)| (*child, spec.node.clone())).collect());
        let before = std::mem::replace(&mut *self.specs(), anew);
        let is_staff = |spec: &Arc<ChildSpec>| staff.iter().any(|other| Arc::ptr_eq(other, spec));
        before.values().filter(|spec| !is_staff(spec)).for_each(|spec| spec.publish(SlotState::Down));
        staff
    }

    /// Further lives begin with this one too.
    pub(crate) fn hire(&self, spec: &Arc<ChildSpec>) {
        self.staff().push(spec.clone());
    }

    /// Further lives begin without it.
    pub(crate) fn dismiss(&self, path: &str) {
        self.staff().retain(|spec| **spec.path() != *path);
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

    fn staff(&self) -> MutexGuard<'_, Vec<Arc<ChildSpec>>> {
        self.staff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn specs(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<ChildSpec>>> {
        self.specs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
