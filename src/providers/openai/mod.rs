//! The OpenAI dialect: what many vendors and local servers speak.
//!
//! Requests and answers are forwarded byte for byte; only the members that policies need are looked at, in one
//! pass each. Translating to other dialects is not here.

mod chat;
mod client;
mod read;
mod request;
#[cfg(test)]
mod tests;

pub use client::OpenAi;
pub use read::{delta_of, text_of};
pub use request::{completion, read, read_embeddings, read_responses};
