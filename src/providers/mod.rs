//! The outside world's dialects, each behind the one `Provider` port.
//!
//! An adapter makes exactly one request and ends in one classified error type. Retries, timeouts (but for
//! connecting) and limits are not here: they are the runtime's work.

mod errors;
pub mod openai;
mod redact;
pub mod scripted;
pub mod sse;
