//! Mainstay's actors.

pub mod backoff;
pub mod call;
pub mod chain;
pub mod clock;
pub mod commons;
pub mod error;
pub mod event;
pub mod mode;
pub mod ports;
pub mod provider;
pub mod shell;
pub mod supervision;
pub mod system;
