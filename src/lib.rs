//! Mainstay.

#[cfg(feature = "server")]
pub mod cli;
pub mod providers;
