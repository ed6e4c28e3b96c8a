//! The settings of the cache, with their ranges and defaults.
//!
//! What they mean is documented where they are used, and in `docs/caching.md`. A tier that is `false` is left out.

use std::time::Duration;

use mainstay_actors::cache::control::{CachePolicy, LONGEST};
use secrecy::SecretString;

use super::{
    Env, check,
    section::{Section, Source},
};

const HOUR: Duration = Duration::from_secs(3600);
const MEMORY: u64 = 64 << 20;
const DISK: u64 = 1 << 30;
/// Before the keys of this system, where others use the same Redis.
const PREFIX: &str = "mainstay:cache:";

/// What is kept of answers, and where.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// What is done unless a caller asks for something else.
    pub policy: CachePolicy,
    /// Bytes in memory, 1 MiB to 64 GiB; nothing: no such tier. Default 64 MiB.
    pub memory: Option<u64>,
    /// Bytes on disk, 16 MiB to 1 TiB; nothing: no such tier. Default 1 GiB. Without a data directory there is none.
    pub disk: Option<u64>,
    /// What is shared with other machines. Default nothing.
    pub redis: Option<RedisConfig>,
}

/// A Redis, or a Valkey.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Its address, with what it takes to be let in.
    pub url: SecretString,
    /// What all keys begin with. Default `mainstay:cache:`.
    pub prefix: String,
    /// What entries are signed with, so that nobody else plants any.
    pub secret: Option<SecretString>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { policy: CachePolicy::default(), memory: Some(MEMORY), disk: Some(DISK), redis: None }
    }
}

pub(super) fn cache(file: &mut Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> Option<CacheConfig> {
    if file.is_off("cache") {
        return None;
    }
    let Some(mut section) = file.section("cache", source) else { return Some(CacheConfig::default()) };
    let policy = policy(&mut section, source);
    let memory =
        (!section.is_off("memory")).then(|| section.size("memory", 1 << 20..=64 << 30, MEMORY, source));
    let disk = (!section.is_off("disk")).then(|| section.size("disk", 16 << 20..=1 << 40, DISK, source));
    let redis = if section.is_off("redis") { None } else { redis(&mut section, env, source) };
    section.finish(source);
    Some(CacheConfig { policy, memory, disk, redis })
}

fn policy(section: &mut Section<'_>, source: &mut Source<'_>) -> CachePolicy {
    let default = CachePolicy::default();
    let mut time = |key, least, most, default| section.duration(key, least..=most, default, source);
    let (second, none) = (Duration::from_secs(1), Duration::ZERO);
    CachePolicy {
        ttl: time("ttl", second, LONGEST, default.ttl),
        stale: time("stale", none, LONGEST, default.stale),
        stale_if_error: time("stale_if_error", none, LONGEST, default.stale_if_error),
        negative_ttl: time("negative_ttl", none, HOUR, default.negative_ttl),
        max_entry: section.size("max_entry", 1 << 10..=16 << 20, default.max_entry as u64, source) as usize,
        sampled: section.flag("sampled", default.sampled, source),
        tool_calls: section.flag("tool_calls", default.tool_calls, source),
        paced: section.flag("paced", default.paced, source),
    }
}

fn redis(section: &mut Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> Option<RedisConfig> {
    let mut section = section.section("redis", source)?;
    let url = match section.is_off("url_env") {
        true => None,
        false => check::variable("url_env", "REDIS_URL", &mut section, env, source),
    };
    let at = section.place_of("prefix");
    let prefix = section.text("prefix", source).unwrap_or(PREFIX);
    if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
        source.wrong(at, "`prefix` must have 1 to 64 visible ASCII characters");
    }
    let secret = match section.is_off("secret_env") {
        true => None,
        false => check::variable("secret_env", "MAINSTAY_CACHE_SECRET", &mut section, env, source),
    };
    section.finish(source);
    Some(RedisConfig { url: url?, prefix: prefix.into(), secret })
}
