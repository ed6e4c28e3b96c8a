//! Between OpenAI's chat completions and Anthropic's messages: requests there, answers, streams and errors
//! back.
//!
//! Each dialect is read into [words that both have](words) and written from them; a third one would be one
//! more reader and one more writer. What has no counterpart is named in the notice, or refused where the
//! answer would not be what was asked for: `docs/dialects.md` lists every member. Nothing here touches a
//! network; the adapters decide when to translate.

#[cfg(test)]
mod answer_tests;
mod chat;
mod error;
mod json;
mod loss;
mod messages;
mod out;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod round_trip_tests;
mod stream;
#[cfg(test)]
mod stream_tests;
mod words;

use bytes::Bytes;
use mainstay_actors::{
    call::Api,
    error::{ErrorKind, ProviderError},
};

use json::Fault;
use loss::Notes;

pub use error::{error_body, messages_type};
pub use stream::StreamTranslator;

/// A request in the provider's words.
#[derive(Debug)]
pub struct Translated {
    /// What to send.
    pub body: Bytes,
    /// What was asked for and cannot be said there, in a word each.
    pub lacks: Vec<&'static str>,
    /// How its answer gets back.
    pub back: Back,
}

/// The way back: from the provider's dialect into the caller's.
#[derive(Clone, Copy, Debug)]
pub struct Back {
    to: Api,
    created: u64,
    tell_usage: bool,
}

/// Is there a translation of requests in `from` for a provider that speaks `to`?
pub fn is_possible(from: Api, to: Api) -> bool {
    matches!((from, to), (Api::Chat, Api::Messages) | (Api::Messages, Api::Chat))
}

/// Translates a request in the words of `from` for a provider that speaks `to`, asking it for `model`, as a
/// stream or not. `created` is the answer's time for a dialect that tells one, in Unix seconds.
pub fn request(
    (from, to): (Api, Api),
    body: &[u8],
    model: &str,
    stream: bool,
    created: u64,
) -> Result<Translated, ProviderError> {
    let mut notes = Notes::default();
    let (body, tell_usage) = match (from, to) {
        (Api::Chat, Api::Messages) => chat_to_messages(body, model, stream, &mut notes),
        (Api::Messages, Api::Chat) => messages_to_chat(body, model, stream, &mut notes),
        _ => Err(Fault::unsupported("this kind of request")),
    }
    .map_err(|fault| fault.into_error(ErrorKind::BadRequest))?;
    Ok(Translated { body, lacks: notes.into_words(), back: Back { to: from, created, tell_usage } })
}

fn chat_to_messages(
    body: &[u8],
    model: &str,
    stream: bool,
    notes: &mut Notes,
) -> Result<(Bytes, bool), Fault> {
    let ask = chat::request_in::read(body, notes)?;
    Ok((messages::request_out::write(&ask, model, stream, notes)?, ask.tell_usage))
}

fn messages_to_chat(
    body: &[u8],
    model: &str,
    stream: bool,
    notes: &mut Notes,
) -> Result<(Bytes, bool), Fault> {
    let ask = messages::request_in::read(body, notes)?;
    Ok((chat::request_out::write(&ask, model, stream)?, ask.tell_usage))
}

impl Back {
    /// A whole answer in the caller's words.
    pub fn answer(&self, body: &[u8]) -> Result<Bytes, ProviderError> {
        let written = match self.to {
            Api::Messages => chat::answer::read(body).map(|said| messages::answer::write(&said)),
            _ => messages::answer::read(body).map(|said| chat::answer::write(&said, self.created)),
        };
        written.map_err(|fault| fault.into_error(ErrorKind::Malformed))
    }

    /// For a streamed answer.
    pub fn stream(&self) -> StreamTranslator {
        StreamTranslator::new(self.to, self.created, self.tell_usage)
    }

    /// An error in the caller's words, with a body where it has one that is fit to be shown. That a translation
    /// is refused as wrong says nothing about what the caller wrote: another provider may take that.
    pub fn error(&self, error: ProviderError) -> ProviderError {
        let status = error.status.unwrap_or(error.kind.class().status);
        let body = error.body.as_ref().map(|_| error_body(self.to, error.kind, status, &error.message));
        let kind = if error.kind == ErrorKind::BadRequest { ErrorKind::Unsupported } else { error.kind };
        ProviderError { kind, body, ..error }
    }
}
