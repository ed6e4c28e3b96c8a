//! One supervised actor per provider, and what callers see of it.
//!
//! [`breaker`] decides, as a pure rule; the [`actor`] owns it, hears every outcome and publishes a view; callers
//! are [admitted](admission) by that view at the [`desk`] and hold a permit while they call. Nobody asks the actor for
//! permission, so a crash of it delays nobody: its last decision stands until its next life publishes.

pub mod actor;
pub mod adaptive;
pub mod admission;
pub mod breaker;
pub mod budget;
mod bulkhead;
pub mod circuit;
pub mod desk;
pub mod limiter;
mod pace;
pub mod payment;
pub mod permit;
pub mod policy;
mod sliding;
mod status;
mod story;
pub mod window;

pub use circuit::Circuit;
pub use desk::ProviderDesk;
pub use status::{CircuitStatus, ProviderStatus};

#[cfg(test)]
mod agenda_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod probe_tests;
#[cfg(test)]
mod tests;
