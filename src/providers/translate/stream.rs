//! A streamed answer on its way from one dialect into the other.
//!
//! Nothing is held back but what the other dialect says later: the reason for the end, the tokens, and of calls
//! that are woven together all but the first. An end is said only when the provider has said it, so that a cut
//! stream stays a cut stream.

use futures_util::{StreamExt, TryStreamExt, stream};
use mainstay_actors::{
    call::{Api, Finish, Frame, FrameKind, FrameStream, Usage},
    error::{ErrorKind, ProviderError},
};

use super::{
    chat::{chunks_in::ChunksIn, chunks_out::ChunksOut},
    json::Fault,
    messages::{events_in::EventsIn, events_out::EventsOut, unweave::Unweaver},
    words::Event,
};
use crate::providers::sse;

/// Translates the events of one stream, one after the other.
pub struct StreamTranslator {
    way: Way,
    /// Told by the provider, and not passed on with a frame yet.
    usage: Option<Usage>,
    finish: Option<Finish>,
    over: bool,
}

enum Way {
    ToMessages(ChunksIn, Unweaver, EventsOut),
    ToChat(EventsIn, ChunksOut),
}

impl StreamTranslator {
    /// For a caller who asked in the words of `to`.
    pub(super) fn new(to: Api, created: u64, tell_usage: bool) -> Self {
        let way = match to {
            Api::Messages => Way::ToMessages(ChunksIn::default(), Unweaver::default(), EventsOut::default()),
            _ => Way::ToChat(EventsIn::default(), ChunksOut::new(created, tell_usage)),
        };
        Self { way, usage: None, finish: None, over: false }
    }

    /// What the provider's next event is in the caller's dialect: no frame, one, or a few.
    pub fn frame(&mut self, frame: &Frame) -> Result<Vec<Frame>, ProviderError> {
        if self.over {
            return Err(ProviderError::new(ErrorKind::Malformed, "the stream goes on after its end"));
        }
        self.usage = frame.usage.or(self.usage);
        self.finish = frame.finish.max(self.finish);
        let mut out = Vec::new();
        let event = sse::fields(&frame.bytes);
        let data = event.data.as_deref().unwrap_or_default().trim_ascii();
        let told = match frame.kind {
            FrameKind::Ping => self.way.write(Event::Ping, &mut out),
            _ => self.way.pass(data, &mut out),
        };
        told.map_err(|fault| fault.into_error(ErrorKind::Malformed))?;
        if frame.kind == FrameKind::Refusal {
            explained(&mut out);
        }
        if let Some(last) = out.last_mut() {
            last.usage = self.usage.take();
            last.finish = self.finish.take();
            self.over = last.kind == FrameKind::End;
        }
        Ok(out)
    }

    /// A whole stream, translated while it comes.
    pub fn frames(self, frames: FrameStream) -> FrameStream {
        let translated = frames.scan(self, |translator, frame| {
            let told = frame.and_then(|frame| translator.frame(&frame));
            std::future::ready(Some(told.map(|frames| stream::iter(frames).map(Ok))))
        });
        Box::pin(translated.try_flatten())
    }
}

/// What comes with a refusal is its reason, and no content.
fn explained(frames: &mut [Frame]) {
    let content = frames.iter_mut().filter(|frame| frame.kind == FrameKind::Content);
    content.for_each(|frame| frame.kind = FrameKind::Refusal);
}

impl Way {
    fn pass(&mut self, data: &[u8], out: &mut Vec<Frame>) -> Result<(), Fault> {
        match self {
            Self::ToMessages(chunks, unweaver, events) => {
                chunks.read(data, &mut |event| unweaver.pass(event, &mut |event| events.write(event, out)))
            }
            Self::ToChat(events, chunks) => events.read(data, &mut |event| chunks.write(event, out)),
        }
    }

    fn write(&mut self, event: Event<'_>, out: &mut Vec<Frame>) -> Result<(), Fault> {
        match self {
            Self::ToMessages(.., events) => events.write(event, out),
            Self::ToChat(_, chunks) => chunks.write(event, out),
        }
    }
}
