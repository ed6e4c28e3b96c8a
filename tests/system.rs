//! Everything through the public interface: real HTTP on loopback, real time, one module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot go on has failed.

#[path = "system/admin.rs"]
mod admin;
#[path = "system/bad_input.rs"]
mod bad_input;
#[path = "system/cache_operators.rs"]
mod cache_operators;
#[path = "system/cache_tiers.rs"]
mod cache_tiers;
#[path = "system/caching.rs"]
mod caching;
#[path = "system/crashes.rs"]
mod crashes;
#[path = "system/dialects.rs"]
mod dialects;
#[path = "system/draining.rs"]
mod draining;
#[path = "system/examples.rs"]
mod examples;
#[path = "system/failover.rs"]
mod failover;
#[path = "system/gateway.rs"]
mod gateway;
#[path = "system/gone.rs"]
mod gone;
#[path = "system/guides.rs"]
mod guides;
#[path = "system/pass_through.rs"]
mod pass_through;
#[path = "system/process.rs"]
mod process;
#[path = "system/redis.rs"]
mod redis;
#[path = "system/refusals.rs"]
mod refusals;
#[path = "system/reload.rs"]
mod reload;
#[path = "system/slow_readers.rs"]
mod slow_readers;
#[path = "system/streams.rs"]
mod streams;
#[path = "system/support.rs"]
mod support;
#[path = "system/tidy.rs"]
mod tidy;
#[path = "system/timeouts.rs"]
mod timeouts;
