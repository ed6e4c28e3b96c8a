//! The Anthropic dialect: messages, whole and streamed.
//!
//! Requests and answers are forwarded byte for byte; only the members that policies need are looked at, in one
//! pass each. Translating to other dialects is not here.

mod client;
mod messages;
mod request;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(super) use messages::Messages;

pub(super) use client::BETA;
#[cfg(feature = "server")]
pub(crate) use client::VERSION;
pub use client::{Anthropic, TRAVELLING};
pub(super) use request::MESSAGES;
