//! OpenAI's chat completions: read into the [common words](super::words), and written from them.

pub(super) mod answer;
pub(super) mod chunks_in;
pub(super) mod chunks_out;
pub(super) mod request_in;
pub(super) mod request_out;
