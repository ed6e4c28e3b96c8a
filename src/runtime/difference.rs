//! What differs between two configurations, as plain data. Nothing is changed here.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::config::{
    AdminConfig, CacheConfig, ChainConfig, Config, ProviderConfig, ProviderKind, RedisConfig,
};

/// What another configuration changed in a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The providers.
    pub providers: Changed,
    /// The chains.
    pub chains: Changed,
    /// Is what all providers together may be asked again another?
    pub retry_budget: bool,
    /// Is what the cache does unasked something else?
    pub cache: bool,
    /// Settings that are others now, and hold only after a restart.
    pub after_restart: Vec<&'static str>,
}

/// Names, in the order of their file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// They are new.
    pub added: Vec<String>,
    /// They were there, and are others now.
    pub changed: Vec<String>,
    /// They are no longer there.
    pub removed: Vec<String>,
}

impl Reloaded {
    /// What is to be done to come from `old` to `new`.
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        Self {
            providers: Changed::between(&old.providers, &new.providers, |p| &p.name, is_same_provider),
            chains: Changed::between(&old.chains, &new.chains, |chain| &chain.name, is_same_chain),
            retry_budget: old.retry_budget != new.retry_budget,
            cache: matches!((&old.cache, &new.cache), (Some(old), Some(new)) if old.policy != new.policy),
            after_restart: after_restart(old, new),
        }
    }
}

impl Changed {
    fn between<T>(old: &[T], new: &[T], name: fn(&T) -> &String, is_same: fn(&T, &T) -> bool) -> Self {
        let mut changed = Self::default();
        for one in new {
            match old.iter().find(|other| name(other) == name(one)) {
                None => changed.added.push(name(one).clone()),
                Some(other) if !is_same(other, one) => changed.changed.push(name(one).clone()),
                Some(_) => {}
            }
        }
        let is_gone = |one: &&T| !new.iter().any(|other| name(other) == name(one));
        changed.removed = old.iter().filter(is_gone).map(|one| name(one).clone()).collect();
        changed
    }

    fn told(&self, what: &str) -> impl Iterator<Item = String> {
        let parts = [(&self.added, "added"), (&self.changed, "changed"), (&self.removed, "removed")];
        let parts = parts.into_iter().filter(|(names, _)| !names.is_empty());
        parts.map(move |(names, how)| {
            format!("{what}{} {} {how}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
        })
    }
}

/// In one line, for people.
impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<_> = self.providers.told("provider").chain(self.chains.told("chain")).collect();
        if self.retry_budget {
            parts.push("retry budget changed".into());
        }
        if self.cache {
            parts.push("cache changed".into());
        }
        if !self.after_restart.is_empty() {
            parts.push(format!("not applied before a restart: {}", self.after_restart.join(", ")));
        }
        f.write_str(if parts.is_empty() { "nothing changed" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

fn is_same_provider(old: &ProviderConfig, new: &ProviderConfig) -> bool {
    old.policy == new.policy && is_same_account(&old.kind, &new.kind)
}

fn is_same_chain(old: &ChainConfig, new: &ChainConfig) -> bool {
    let targets = |chain: &ChainConfig| -> Vec<_> {
        let targets = chain.targets.iter().map(|target| (&target.provider, &target.model, target.lane));
        targets.map(|(provider, model, lane)| (provider.clone(), model.clone(), lane)).collect()
    };
    old.policy == new.policy && targets(old) == targets(new)
}

/// Is it the same server, asked with the same key?
pub(super) fn is_same_account(old: &ProviderKind, new: &ProviderKind) -> bool {
    use ProviderKind::{Anthropic, OpenAi, Scripted};
    match (old, new) {
        (OpenAi { auth, .. }, OpenAi { auth: new_auth, .. }) if auth != new_auth => false,
        (OpenAi { base_url, key, .. }, OpenAi { base_url: new_url, key: new_key, .. })
        | (Anthropic { base_url, key }, Anthropic { base_url: new_url, key: new_key }) => {
            base_url == new_url && is_same_secret(key.as_ref(), new_key.as_ref())
        }
        (Scripted { fail_first, of_every }, Scripted { fail_first: new_first, of_every: new_every }) => {
            (fail_first, of_every) == (new_first, new_every)
        }
        _ => false,
    }
}

fn is_same_secret(old: Option<&SecretString>, new: Option<&SecretString>) -> bool {
    old.map(ExposeSecret::expose_secret) == new.map(ExposeSecret::expose_secret)
}

fn is_same_admin(old: Option<&AdminConfig>, new: Option<&AdminConfig>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            old.listen == new.listen && is_same_secret(old.token.as_ref(), new.token.as_ref())
        }
        (old, new) => old.is_none() && new.is_none(),
    }
}

fn has_same_tiers(old: Option<&CacheConfig>, new: Option<&CacheConfig>) -> bool {
    let is_same_redis = |old: &RedisConfig, new: &RedisConfig| {
        old.prefix == new.prefix
            && is_same_secret(Some(&old.url), Some(&new.url))
            && is_same_secret(old.secret.as_ref(), new.secret.as_ref())
    };
    match (old, new) {
        (Some(old), Some(new)) => {
            let is_same_redis = match (&old.redis, &new.redis) {
                (Some(old), Some(new)) => is_same_redis(old, new),
                (old, new) => old.is_none() && new.is_none(),
            };
            (old.memory, old.disk) == (new.memory, new.disk) && is_same_redis
        }
        (old, new) => old.is_none() && new.is_none(),
    }
}

/// Can it be asked through the same adapter? A connection's timeout is the adapter's.
pub(super) fn is_same_adapter(old: &ProviderConfig, new: &ProviderConfig) -> bool {
    let connect = |provider: &ProviderConfig| provider.policy.timeouts.map(|timeouts| timeouts.connect);
    is_same_account(&old.kind, &new.kind) && connect(old) == connect(new)
}

fn after_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let settings = [
        ("data_dir", old.data_dir != new.data_dir),
        ("server.listen", old.server.listen != new.server.listen),
        ("server.max_connections", old.server.max_connections != new.server.max_connections),
        ("server.max_body", old.server.max_body != new.server.max_body),
        ("server.drain", old.server.drain != new.server.drain),
        ("server.drain_delay", old.server.drain_delay != new.server.drain_delay),
        ("egress", old.egress != new.egress),
        ("admin", !is_same_admin(old.admin.as_ref(), new.admin.as_ref())),
        ("cache tiers", !has_same_tiers(old.cache.as_ref(), new.cache.as_ref())),
        ("log", old.log != new.log),
    ];
    settings.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [provider.a]
        kind = "openai"
        base_url = "http://127.0.0.1:1/v1"
        key_env = "KEY"
        [provider.b]
        kind = "scripted"
        [chain.chat]
        targets = ["a/m", "b/m"]
    "#;

    fn read(text: &str, key: &str) -> Config {
        Config::from_toml(text, "test.toml", &|_| Some(key.into())).unwrap()
    }

    fn told(text: &str, key: &str) -> String {
        Reloaded::between(&read(FILE, "one"), &read(text, key)).to_string()
    }

    #[test]
    fn the_same_settings_elsewhere_in_the_file_are_no_change() {
        assert_eq!(told(&format!("# a comment\n{FILE}"), "one"), "nothing changed");
    }

    #[test]
    fn each_difference_is_told_in_one_line() {
        let cases = [
            (FILE.to_string(), "two", "provider a changed"),
            (FILE.replace(":1/", ":2/"), "one", "provider a changed"),
            (FILE.replace("key_env", "auth = \"api-key\"\nkey_env"), "one", "provider a changed"),
            (FILE.replace("[provider.b]", "[provider.b]\nmax_concurrent = 3"), "one", "provider b changed"),
            (
                FILE.replace("kind = \"scripted\"", "kind = \"scripted\"\nfail_first = 1"),
                "one",
                "provider b changed",
            ),
            (FILE.replace("a/m", "a/n"), "one", "chain chat changed"),
            (FILE.replace("[chain.chat]", "[chain.chat]\nretries = 1"), "one", "chain chat changed"),
            (FILE.replace("chat", "talk"), "one", "chain talk added; chain chat removed"),
            (
                FILE.replace(".b]", ".c]").replace("b/m", "c/m"),
                "one",
                "provider c added; provider b removed; chain chat changed",
            ),
            (format!("retry_budget = false\n{FILE}"), "one", "retry budget changed"),
            (format!("[cache]\nttl = \"2h\"\n{FILE}"), "one", "cache changed"),
            (
                format!("[cache]\nmemory = \"2MiB\"\n{FILE}"),
                "one",
                "not applied before a restart: cache tiers",
            ),
            (
                format!("data_dir = \"d\"\n[server]\nlisten = \"127.0.0.1:1\"\nmax_body = \"1MiB\"\n{FILE}"),
                "one",
                "not applied before a restart: data_dir, server.listen, server.max_body",
            ),
            (
                format!("egress = [\"1.1.1.1:443\"]\n[server]\ndrain_delay = \"5s\"\n{FILE}"),
                "one",
                "not applied before a restart: server.drain_delay, egress",
            ),
        ];
        for (text, key, line) in cases {
            assert_eq!(told(&text, key), line); // GW8
        }
    }

    #[test]
    fn only_another_timeout_for_connecting_needs_another_adapter_of_the_same_account() {
        let provider = |more: &str| {
            let config = read(&FILE.replace("key_env", &format!("{more}\nkey_env")), "one");
            config.providers.into_iter().next().unwrap()
        };
        let plain = provider("");
        assert!(is_same_adapter(&plain, &provider("timeouts.idle = \"3s\"")));
        assert!(!is_same_adapter(&plain, &provider("timeouts.connect = \"3s\"")));
        assert!(is_same_account(&plain.kind, &provider("timeouts.connect = \"3s\"").kind));
    }
}
