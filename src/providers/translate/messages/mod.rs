//! Anthropic's messages: read into the [common words](super::words), and written from them.

pub(super) mod answer;
pub(super) mod events_in;
pub(super) mod events_out;
pub(super) mod request_in;
pub(super) mod request_out;
pub(super) mod unweave;
