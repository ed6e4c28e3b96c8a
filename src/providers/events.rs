//! The frames of a streamed answer, as they come from the wire.
//!
//! Each is forwarded as it came, with what it means. How long one may take is not decided here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mainstay_actors::{
    call::{Frame, FrameKind, FrameStream},
    error::{ErrorKind, ProviderError},
};
use tokio::time::timeout;

use super::{
    dialect::{Dialect, Meaning, malformed},
    redact::Redactor,
    sse::{Rest, Splitter},
    wire::broken,
};

/// How long a body may take to end after its last event before its connection is given up.
const SETTLE: Duration = Duration::from_millis(250);

/// The events of one answer.
pub(super) struct Events<D> {
    body: Incoming,
    splitter: Splitter,
    dialect: D,
    secrets: Redactor,
}

impl<D: Dialect> Events<D> {
    pub(super) fn new(body: Incoming, secrets: Redactor) -> Box<Self> {
        Box::new(Self { body, splitter: Splitter::default(), dialect: D::default(), secrets })
    }

    /// The stream is over after its end, and after an error.
    pub(super) fn into_frames(self: Box<Self>) -> FrameStream {
        Box::pin(stream::try_unfold(Some(self), async |events| {
            let Some(mut events) = events else { return Ok(None) };
            let Some(frame) = events.next().await? else { return Ok(None) };
            if frame.kind == FrameKind::End {
                tokio::spawn(settle(events.body));
                return Ok(Some((frame, None)));
            }
            Ok(Some((frame, Some(events))))
        }))
    }

    async fn next(&mut self) -> Result<Option<Frame>, ProviderError> {
        loop {
            if let Some(event) = self.splitter.next_event().map_err(|e| malformed(e.to_string()))? {
                return self.frame(event).map(Some);
            }
            let Some(frame) = self.body.frame().await else { return self.last() };
            let frame = frame.map_err(|e| broken(&e, &self.secrets))?;
            if let Ok(chunk) = frame.into_data() {
                self.splitter.push(chunk);
            }
        }
    }

    fn frame(&mut self, bytes: Bytes) -> Result<Frame, ProviderError> {
        let Meaning { kind, usage, finish } = self.dialect.event(&bytes, &self.secrets)?;
        Ok(Frame { usage, finish, ..Frame::new(bytes, kind) })
    }

    fn last(&mut self) -> Result<Option<Frame>, ProviderError> {
        match std::mem::take(&mut self.splitter).finish() {
            Rest::Nothing => Ok(None),
            Rest::Event(event) => self.frame(event).map(Some),
            Rest::Cut(length) => Err(ProviderError::new(
                ErrorKind::Truncated,
                format!("the stream ended {length} bytes into an event"),
            )),
        }
    }
}

/// An HTTP/1.1 connection can serve the next request only after the body's end, which comes a moment after
/// the dialect's own and which nobody else waits for.
async fn settle(mut body: Incoming) {
    let _ = timeout(SETTLE, body.frame()).await;
}
