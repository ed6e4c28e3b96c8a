//! The only globals: where log lines go, and who records metrics.
//!
//! The command installs them; a host that embeds the runtime brings its own.

pub mod logs;
pub mod metrics;
