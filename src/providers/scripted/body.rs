//! Sends an answer, or what a fault leaves of it.
//!
//! A body is a list of steps; a fault edits the list. The guard in it counts a caller that leaves early.

use std::{collections::VecDeque, convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;

use super::{
    answer::{self, Answer},
    fault::Fault,
    plan::Book,
};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How often a keep-alive comment is sent by `pings`.
const PING_EVERY: Duration = Duration::from_millis(50);

/// What is sent next.
enum Step {
    Send(Bytes),
    Wait(Duration),
    Hang,
    Reset,
    PingForEver,
}

/// A request under way; dropped before its end, its caller has left.
pub(super) struct InProgress {
    book: Arc<Book>,
    over: bool,
}

impl InProgress {
    pub(super) fn new(book: Arc<Book>) -> Self {
        Self { book, over: false }
    }

    /// The answer is as complete as it will be.
    pub(super) fn over(mut self) {
        self.over = true;
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.book.end(!self.over);
    }
}

/// A body that is there at once.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A stream of events, `pace` apart.
pub(super) fn events(answer: &Answer, pace: Duration, fault: Option<&Fault>, guard: InProgress) -> Body {
    let mut events = answer.events();
    let mut last = None;
    let mut first = None;
    match fault {
        Some(Fault::HangAfter(n)) => (events.truncate(*n), last) = ((), Some(Step::Hang)),
        Some(Fault::CutAfter(n)) => events.truncate(*n),
        Some(Fault::ResetAfter(n)) => (events.truncate(*n), last) = ((), Some(Step::Reset)),
        _ => {}
    }
    todo!()
}
