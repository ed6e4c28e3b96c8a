//! The outside world's dialects, each behind the one `Provider` port.
//!
//! An adapter makes exactly one request and ends in one classified error type. Retries, timeouts (but for
//! connecting) and limits are not here: they are the runtime's work.

mod address;
pub mod anthropic;
pub mod bilingual;
mod body;
mod client;
mod dialect;
mod errors;
mod events;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod in_process;
pub mod interpreter;
pub mod openai;
mod redact;
mod refusal;
pub mod scripted;
pub mod sse;
#[cfg(test)]
mod testing;
pub mod translate;
mod upstream;
mod wire;

pub(crate) use address::check as check_address;
pub use body::{Asked, read, with_model};
#[cfg(feature = "redis")]
pub(crate) use client::tls;
pub use client::{HttpClient, http_client};
pub use refusal::BadRequest;
pub use wire::BadProvider;
