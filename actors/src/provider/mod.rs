//! One actor per provider.
pub mod policy;
