//! Another configuration for a runtime that runs, without losing what it has learnt.
//!
//! All of the new configuration is checked before anything of it holds. Policies of providers that stay are adapted
//! in place; chains are replaced in one step, and calls under way end on the chain they began with. A provider at
//! another address or with another key is another account: its circuits begin anew, but for an isolation without
//! an end. Reading files is not done here.

use std::sync::Weak;

use mainstay_actors::{
    change::{Change, Replacement},
    event::EventKind,
};

use super::{
    Error, Runtime, adapter, aims,
    difference::{Reloaded, is_same_account, is_same_adapter},
};
use crate::{
    config::{CacheConfig, Config, ProviderConfig},
    providers::scripted::Scripted,
};

impl Runtime {
    /// Goes on with another configuration; what was added in code stays as it is. If it is wrong, nothing changes.
    /// Whoever keeps a [`Chain`](crate::Chain) asks for it again: the one it has stays as it was. Where the gateway
    /// listens, what it takes, what is logged and where data is kept are settled at the start; the answer names
    /// which of them would be others.
    pub async fn reload(&mut self, config: Config) -> Result<Reloaded, Error> {
        if let Err(error) = self.change_to(&config).await {
            return Err(self.reject(error));
        }
        let reloaded = Reloaded::between(&self.config, &config);
        let Config { server, admin, log, data_dir, egress, cache, .. } = std::mem::take(&mut self.config);
        let policy = config.cache.as_ref().map(|cache| cache.policy);
        let cache = cache.map(|old| CacheConfig { policy: policy.unwrap_or(old.policy), ..old });
        self.config = Config { server, admin, log, data_dir, egress, cache, ..config };
        count("applied");
        let summary = reloaded.to_string();
        tracing::info!(%summary, "configuration applied");
        self.events().publish(EventKind::ConfigApplied { summary: summary.into() });
        Ok(reloaded)
    }

    /// Tells everybody that a configuration was not taken, and why.
    pub fn reject(&self, error: Error) -> Error {
        let reason = error.to_string();
        count("rejected");
        tracing::error!(%reason, "configuration rejected: the one before still holds");
        self.events().publish(EventKind::ConfigRejected { reason: reason.into() });
        error
    }

    async fn change_to(&mut self, config: &Config) -> Result<(), Error> {
        let by_host: Vec<_> = self.by_host.iter().map(String::as_str).collect();
        config.check_targets(&by_host)?;
        let (mut change, mut scripted) = (self.tree.change(), Vec::new());
        for provider in &config.providers {
            self.place(provider, &mut change, &mut scripted).await?;
        }
        for desk in self.by_host.iter().filter_map(|name| self.system().provider(name)) {
            let policy = **desk.policy();
            change.keep(desk, policy, None)?;
        }
        for chain in config.chains.iter().chain(&self.own_chains) {
            change.chain(&chain.name, aims(chain), chain.policy)?;
        }
        change.apply().await?;
        self.system().commons().retries.configure(config.retry_budget);
        if let (Some(cache), Some(config)) = (self.system().cache(), &config.cache) {
            cache.set_policy(config.policy);
        }
        self.scripted.retain(|server| server.strong_count() > 0);
        self.scripted.extend(scripted);
        Ok(())
    }

    /// Gives a provider its place in the change: a new one, or the one that it has.
    async fn place(
        &self,
        provider: &ProviderConfig,
        change: &mut Change,
        scripted: &mut Vec<Weak<Scripted>>,
    ) -> Result<(), Error> {
        let before = self.config.providers.iter().find(|before| before.name == provider.name);
        let Some((before, desk)) = before.zip(self.system().provider(&provider.name)) else {
            let adapter = adapter(provider, scripted).await?;
            return Ok(change.provider(&provider.name, adapter, provider.policy)?);
        };
        let other = match is_same_adapter(before, provider) {
            true => None,
            false => Some(Replacement {
                adapter: adapter(provider, scripted).await?,
                moved: !is_same_account(&before.kind, &provider.kind),
            }),
        };
        Ok(change.keep(desk, provider.policy, other)?)
    }
}

fn count(result: &'static str) {
    metrics::counter!("mainstay_config_reloads_total", "result" => result).increment(1);
}
