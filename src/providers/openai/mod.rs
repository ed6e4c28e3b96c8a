//! The OpenAI chat dialect: what many vendors and local servers speak.
//!
//! Requests and answers are forwarded byte for byte; only the members that policies need are looked at, in one
//! pass each. Translating to other dialects is not here.

mod chunk;
mod classify;
mod client;
mod read;
mod redact;
mod request;
#[cfg(test)]
mod tests;

pub use client::{BadProvider, OpenAi, http_client};
pub use read::{delta_of, text_of};
pub use request::{BadRequest, ChatRequest, completion, read, with_model};
