//! The OpenAI chat dialect: what many vendors and local servers speak.
//!
//! Requests and answers are forwarded byte for byte; only the members that policies need are looked at, in one
//! pass each. Translating to other dialects is not here.

mod chunk;
mod client;
mod events;
mod read;
mod refusal;
mod request;
#[cfg(test)]
mod tests;
mod wire;

pub use client::OpenAi;
pub(crate) use client::endpoint;
pub use read::{delta_of, text_of};
pub use refusal::BadRequest;
pub use request::{ChatRequest, completion, read, with_model};
pub use wire::{BadProvider, http_client};
