//! Other configurations while the system runs: providers come, go, move and are protected otherwise.

use std::{sync::Arc, time::Duration};

use mainstay::{
    ChainPolicy, ProviderPolicy,
    actors::{
        change::{Change, Replacement},
        provider::{ProviderDesk, adaptive::AdaptivePolicy, limiter::LimitPolicy, policy::BreakerPolicy},
        system::StartError,
        testing::settle,
    },
};

use crate::{
    SECOND,
    cast::{Engagement, MODELS, NAMES, Player},
    circuits::Pardon,
    stage::Stage,
};

/// A configuration that is about to hold.
struct Plan {
    change: Change,
    /// Who is in it.
    named: Vec<&'static str>,
    /// Who begins to speak for a provider, and whether this is another account.
    new: Vec<(&'static str, Arc<Player>, bool)>,
}

/// What a provider knew before a change.
struct Known {
    desk: Arc<ProviderDesk>,
    name: &'static str,
    limits: usize,
}

pub(crate) fn chain_policy() -> ChainPolicy {
    ChainPolicy { retries: 1, ..ChainPolicy::default() }
}

impl Stage {
    /// Another configuration, or the same with nothing left behind of earlier ones.
    pub(crate) async fn reload(&mut self, keep_all: bool) -> Result<(), String> {
        let Plan { change, named, new } = self.plan(keep_all).map_err(|error| error.to_string())?;
        let (before, known) = (self.system().chain("chat"), self.known(&named));
        // An operator may lose patience, and leaves it half-way.
        let patience = if keep_all { 60 * SECOND } else { self.millis(0..20_000) };
        let _ = tokio::time::timeout(patience, change.apply()).await;
        let same = |old: &Arc<_>| self.system().chain("chat").is_some_and(|new| Arc::ptr_eq(old, &new));
        if !before.as_ref().is_some_and(same) {
            self.reloads += 1;
            self.switch(&named, new);
        }
        drop(before);
        settle().await;
        self.nothing_is_lost(&known)
    }

    fn plan(&mut self, keep_all: bool) -> Result<Plan, StartError> {
        let (mut change, mut named, mut new) = (self.tree.change(), Vec::new(), Vec::new());
        for name in NAMES {
            let desk = self.system().provider(name);
            let wanted = if keep_all { desk.is_some() } else { name == NAMES[0] || self.chance.u8(0..3) > 0 };
            if !wanted {
                continue;
            }
            named.push(name);
            let (policy, player) = (self.policy_of_a_provider(), self.player());
            match desk {
                None => {
                    change.provider(name, player.clone(), policy)?;
                    new.push((name, player, false));
                }
                Some(desk) if keep_all || self.chance.bool() => change.keep(desk, policy, None)?,
                Some(desk) => {
                    let moved = self.chance.bool();
                    change.keep(desk, policy, Some(Replacement { adapter: player.clone(), moved }))?;
                    new.push((name, player, moved));
                }
            }
        }
        self.chance.shuffle(&mut named);
        let aims: Vec<_> = named.iter().map(|name| (*name, MODELS[self.chance.usize(0..2)])).collect();
        change.chain("chat", aims, chain_policy())?;
        Ok(Plan { change, named, new })
    }

    fn policy_of_a_provider(&mut self) -> ProviderPolicy {
        let default = ProviderPolicy::default();
        let breaker = BreakerPolicy { failures: 3, ..BreakerPolicy::default() };
        match self.chance.u8(0..7) {
            0 => ProviderPolicy::composite(),
            1 => ProviderPolicy { breaker: Some(breaker), ..default },
            2 => ProviderPolicy { adaptive: Some(AdaptivePolicy::default()), ..default },
            3 => ProviderPolicy { max_concurrent: Some(2), max_wait: Duration::ZERO, ..default },
            4 => ProviderPolicy { limits: None, budget: None, probe: None, ..default },
            5 => {
                let requests = Some((1000, 60 * SECOND));
                ProviderPolicy { limits: Some(LimitPolicy { requests, ..LimitPolicy::default() }), ..default }
            }
            _ => default,
        }
    }

    fn switch(&mut self, named: &[&'static str], new: Vec<(&'static str, Arc<Player>, bool)>) {
        let now = self.unix_ms();
        for engagement in self.cast.iter_mut().filter(|it| it.until.is_none() && !named.contains(&it.name)) {
            engagement.until = Some(now);
        }
        for (name, player, moved) in new {
            if moved {
                // Its actor hears of it when it is up again.
                self.pardons.push(Pardon { provider: Some(name), from: now, until: now + 60_000 });
            }
            match self.cast.iter_mut().find(|it| it.until.is_none() && it.name == name) {
                Some(engagement) => engagement.players.push(player),
                None => {
                    let desk = self.tree.system().provider(name);
                    self.cast.extend(desk.map(|desk| Engagement::new(&desk, name, player)));
                }
            }
        }
    }

    fn known(&self, named: &[&'static str]) -> Vec<Known> {
        let desks = named.iter().filter_map(|name| Some((*name, self.system().provider(name)?)));
        desks.map(|(name, desk)| Known { limits: self.limits(&desk), desk, name }).collect()
    }

    /// How many limits are known of its models.
    fn limits(&self, desk: &ProviderDesk) -> usize {
        MODELS.iter().map(|model| desk.model(model).limits(self.now()).len()).sum()
    }

    /// Whoever stays knows what it knew.
    fn nothing_is_lost(&self, before: &[Known]) -> Result<(), String> {
        self.circuits()?.agree_with(self)?;
        for Known { desk, name, limits } in before {
            if !self.system().provider(name).is_some_and(|now| Arc::ptr_eq(&now, desk)) {
                return Err(format!("{name} stays, and is another one"));
            }
            if self.limits(desk) < *limits {
                return Err(format!("{name} has forgotten its limits over a change"));
            }
        }
        Ok(())
    }
}
