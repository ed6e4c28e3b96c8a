//! One supervised actor per provider, and what callers see of it.
//!
//! [`breaker`] decides, as a pure rule; the [`actor`] owns it, hears every outcome and publishes a view; callers
//! are admitted by that view at the [`desk`] and hold a permit while they call. Nobody asks the actor for
//! permission, so a crash of it delays nobody: its last decision stands until its next life publishes.

pub mod actor;
pub mod adaptive;
pub mod breaker;
pub mod budget;
pub mod desk;
pub mod limiter;
pub mod policy;
mod sliding;

pub use desk::{ProviderDesk, ProviderStatus};

#[cfg(test)]
mod agenda_tests;
#[cfg(test)]
mod tests;
