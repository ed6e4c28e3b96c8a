//! One call's way.
pub mod policy;
