//! Everything through the public interface: real HTTP on loopback, real time, one module a subject.

#[path = "system/bad_input.rs"]
mod bad_input;
#[path = "system/crashes.rs"]
mod crashes;
#[path = "system/examples.rs"]
mod examples;
#[path = "system/failover.rs"]
mod failover;
#[path = "system/gateway.rs"]
mod gateway;
#[path = "system/process.rs"]
mod process;
#[path = "system/streams.rs"]
mod streams;
#[path = "system/support.rs"]
mod support;
#[path = "system/tidy.rs"]
mod tidy;
