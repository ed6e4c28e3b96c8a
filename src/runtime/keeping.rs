//! Opens what the cache is to be kept in.
//!
//! A disk whose file cannot be used ends the start with the reason; a Redis that is not there does not. What the cache
//! does with its tiers is not known here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mainstay_actors::{
    cache::{CachePlan, tier::TierPlan},
    ports::{CacheRules, CacheStore, Clock, StoreError},
};

use crate::{
    config::{CacheConfig, RedisConfig},
    storage::{OpenedCache, RedbCache},
};

/// The cache as it is configured; on disk only where there is a directory for it.
pub(super) async fn plan(
    config: &CacheConfig,
    rules: Arc<dyn CacheRules>,
    data_dir: Option<&Path>,
    clock: &Arc<dyn Clock>,
) -> Result<CachePlan, StoreError> {
    let CacheConfig { policy, memory, disk, redis } = config;
    let mut tiers = Vec::new();
    if let (Some(capacity), Some(dir)) = (disk, data_dir) {
        tiers.push(TierPlan::disk(open(dir.into(), *capacity, clock.clone()).await?));
    }
    if let Some(redis) = redis {
        tiers.push(TierPlan::redis(shared(redis, clock)?));
    }
    Ok(CachePlan { policy: *policy, rules, memory: *memory, tiers })
}

async fn open(dir: PathBuf, capacity: u64, clock: Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>, StoreError> {
    let opening = tokio::task::spawn_blocking(move || RedbCache::open(&dir, capacity, clock.unix_time()));
    let opened = opening.await.unwrap_or_else(|_| {
        let problem = "opening it panicked: report this as a bug".into();
        Err(StoreError { place: "the disk cache".into(), problem, in_use: false })
    });
    let OpenedCache { cache, set_aside } = opened?;
    if let Some(path) = set_aside {
        tracing::error!(path = %path.display(), "the disk cache could not be read: it is kept there, and begins empty");
    }
    Ok(Arc::new(cache))
}

#[cfg(feature = "redis")]
fn shared(config: &RedisConfig, clock: &Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>, StoreError> {
    use crate::storage::redis_cache::{RedisCache, RedisSettings};
    let RedisConfig { url, prefix, secret } = config.clone();
    Ok(Arc::new(RedisCache::new(RedisSettings { url, prefix, secret }, clock.clone())?))
}

#[cfg(not(feature = "redis"))]
fn shared(_: &RedisConfig, _: &Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>, StoreError> {
    let problem = "this program was built without it: build it with the feature `redis`, or leave it out";
    Err(StoreError { place: "cache.redis".into(), problem: problem.into(), in_use: false })
}
