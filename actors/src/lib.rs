//! Mainstay's actors.

pub mod backoff;
pub mod call;
pub mod chain;
pub mod error;
pub mod ports;
pub mod provider;
