//! What one life of a provider's actor leaves to the next: its circuits, what led to them, and what it has learnt.
//!
//! Plain data, without the desk, timers or anybody to tell.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::probing::Idle;
use crate::{
    provider::{adaptive::AdaptiveLimit, breaker::Breaker, policy::ProviderPolicy, story::Story},
    supervision::Legacy,
};

/// The model of a circuit; nothing for the account's own.
pub(super) type Name = Option<Arc<str>>;

/// What one life leaves to the next.
pub(super) struct Memory {
    pub(super) policy: ProviderPolicy,
    pub(super) account_number: u64,
    pub(super) circuits: BTreeMap<Name, Known>,
    pub(super) adaptive: Option<AdaptiveLimit>,
    pub(super) idle: Idle,
}

/// One circuit, and why it is as it is.
pub(super) struct Known {
    pub(super) breaker: Breaker,
    pub(super) story: Story,
    /// What was admitted before this generation asked another account.
    pub(super) account_since: u64,
}

impl Known {
    pub(super) fn new(policy: ProviderPolicy) -> Self {
        let breaker = Breaker::new(policy.breaker.unwrap_or_default());
        Self { breaker, story: Story::default(), account_since: 0 }
    }

    pub(super) fn renew(&mut self) -> bool {
        self.breaker = self.breaker.renewed();
        self.account_since = self.breaker.generation();
        true
    }
}

impl Memory {
    pub(super) fn new(policy: ProviderPolicy, now: Instant) -> Self {
        let circuits = BTreeMap::from([(None, Known::new(policy))]);
        let adaptive = policy.adaptive.map(|bounds| AdaptiveLimit::new(bounds, now));
        Self { policy, account_number: 0, circuits, adaptive, idle: Idle::new(now) }
    }

    /// How many attempts may run at once.
    pub(super) fn places(&self) -> Option<usize> {
        let carried = self.adaptive.as_ref().map(AdaptiveLimit::limit);
        carried.map_or(self.policy.max_concurrent, |carried| {
            Some(self.policy.max_concurrent.map_or(carried, |most| most.min(carried)))
        })
    }

    pub(super) fn adapt(&mut self, policy: ProviderPolicy, now: Instant) {
        self.policy = policy;
        let breaker = policy.breaker.unwrap_or_default();
        self.circuits.values_mut().for_each(|known| known.breaker.adapt(breaker));
        self.adaptive = policy.adaptive.map(|bounds| {
            let mut limit = self.adaptive.take().unwrap_or_else(|| AdaptiveLimit::new(bounds, now));
            limit.configure(bounds);
            limit
        });
    }

    pub(super) fn known(&mut self, name: &Name) -> &mut Known {
        let policy = self.policy;
        self.circuits.entry(name.clone()).or_insert_with(|| Known::new(policy))
    }
}

impl Legacy for Memory {
    /// Closed circuits; permits that are out belong to an earlier generation.
    fn afresh(&self) -> Self {
        let afresh = |known: &Known| Known {
            breaker: known.breaker.afresh(),
            story: known.story.clone(),
            account_since: known.account_since,
        };
        let circuits = self.circuits.iter().map(|(name, known)| (name.clone(), afresh(known)));
        let (circuits, adaptive) = (circuits.collect(), self.adaptive.clone());
        Self { policy: self.policy, account_number: self.account_number, circuits, adaptive, idle: self.idle }
    }
}
