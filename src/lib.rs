//! Mainstay.

pub mod providers;
