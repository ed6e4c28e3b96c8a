//! Other providers and other chains for a system that runs, without losing what it has learnt.
//!
//! A [`Change`] is made in full, and checked, before anything of it happens. Then the new chains replace the old
//! ones in one step: a call that is under way ends on the chain it began with, through the adapters that this
//! chain began with. Providers that stay keep their desk, and with it circuits, limits and statistics. Reading a
//! configuration is not done here.

use std::sync::Arc;

use crate::{
    chain::policy::ChainPolicy,
    ports::Provider,
    provider::{ProviderDesk, policy::ProviderPolicy},
    supervision::AdminError,
    system::{Aim, Directory, StartError, System, SystemBuilder},
};

/// What a system is to be from now on: every provider and every chain, also those that stay as they are. Whoever
/// is not named is gone afterwards.
#[must_use = "nothing changes before it is applied"]
pub struct Change {
    system: System,
    next: SystemBuilder,
    kept: Vec<Kept>,
}

/// A provider that stays.
struct Kept {
    desk: Arc<ProviderDesk>,
    policy: ProviderPolicy,
    other: Option<Replacement>,
}

/// What speaks to a provider from now on.
pub struct Replacement {
    /// The adapter.
    pub adapter: Arc<dyn Provider>,
    /// Is it another account, at another address or with another key? Then its circuits begin anew; only what was
    /// taken out without an end stays out.
    pub moved: bool,
}

impl Change {
    pub(crate) fn of(system: System) -> Self {
        let next = SystemBuilder::within(system.commons().clone());
        Self { system, next, kept: Vec::new() }
    }

    /// A provider that is new.
    pub fn provider(
        &mut self,
        name: &str,
        adapter: Arc<dyn Provider>,
        policy: ProviderPolicy,
    ) -> Result<(), StartError> {
        match self.system.provider(name) {
            Some(_) => Err(StartError::Duplicate { what: "provider", name: name.into() }),
            None => self.next.provider(name, adapter, policy),
        }
    }

    /// A provider that stays, protected by `policy` from now on.
    pub fn keep(
        &mut self,
        desk: Arc<ProviderDesk>,
        policy: ProviderPolicy,
        other: Option<Replacement>,
    ) -> Result<(), StartError> {
        self.next.check_provider(desk.name(), policy)?;
        if let Some(other) = &other {
            self.next.adapters.insert(desk.name().clone(), other.adapter.clone());
        }
        self.next.directory.desks.insert(desk.name().clone(), desk.clone());
        self.kept.push(Kept { desk, policy, other });
        Ok(())
    }

    /// A chain over providers that were named before.
    pub fn chain<'a>(
        &mut self,
        name: &str,
        targets: impl IntoIterator<Item = impl Into<Aim<'a>>>,
        policy: ChainPolicy,
    ) -> Result<(), StartError> {
        self.next.chain(name, targets, policy)
    }

    /// Starts who is new, changes over in one step, and ends who is gone. If somebody new does not start, nothing
    /// has changed.
    pub async fn apply(self) -> Result<(), AdminError> {
        let Self { system, next: SystemBuilder { providers, directory, .. }, kept } = self;
        end_strangers(&system).await;
        for provider in providers {
            if let Err(error) = system.actors().hire(provider).await {
                end_strangers(&system).await;
                return Err(error);
            }
        }
        switch(&system, directory, kept);
        end_strangers(&system).await;
        Ok(())
    }
}

fn switch(system: &System, directory: Directory, kept: Vec<Kept>) {
    directory.announce();
    for Kept { desk, policy, other } in kept {
        if let Some(Replacement { adapter, moved }) = other {
            desk.replace(adapter, moved);
        }
        desk.protect(policy);
    }
    system.directory().store(Arc::new(directory));
}

/// Ends every provider's actor that nobody can ask any more, also what an earlier change left behind that was
/// dropped half-way. What does not end is told, and tried again with the next change.
async fn end_strangers(system: &System) {
    for actor in system.actors().snapshot().children {
        let name = actor.path.rsplit('/').next().unwrap_or_default();
        if system.provider(name).is_some() {
            continue;
        }
        if let Err(error) = system.actors().dismiss(name).await {
            tracing::warn!(actor = %actor.path, %error, "its provider is gone, and it does not end");
        }
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
