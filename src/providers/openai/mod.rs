//! The OpenAI dialect: chats, which many vendors and local servers speak, responses and embeddings.
//!
//! Requests and answers are forwarded byte for byte; only the members that policies need are looked at, in one
//! pass each. Translating to other dialects is not here.

mod chat;
mod client;
mod embeddings;
mod read;
mod request;
mod responses;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(super) use {chat::Chat, embeddings::Embeddings, responses::Responses};

pub use client::{Auth, OpenAi};
pub use read::{delta_of, text_of};
pub use request::completion;
pub(super) use request::{CHAT, EMBEDDINGS, RESPONSES};
