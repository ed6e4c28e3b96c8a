//! Sends an answer, or what a fault leaves of it.
//!
//! A body is a list of steps; a fault only changes the list. The guard in it counts a caller that leaves early.

use std::{collections::VecDeque, convert::Infallible, future::pending, io, iter, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use mainstay_actors::call::Api;
use tokio::{task::yield_now, time::sleep};

use super::{answer, fault::Fault, plan::Book};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How often `pings` sends its ping.
const PING_EVERY: Duration = Duration::from_millis(50);

/// What is done next.
enum Step {
    Send(Bytes),
    Wait(Duration),
    Hang,
    Reset,
    PingForEver(Api),
}

/// A request under way; dropped before it is over, its caller has left.
pub(super) struct InProgress {
    book: Arc<Book>,
    over: bool,
}

impl InProgress {
    pub(super) fn new(book: Arc<Book>) -> Self {
        Self { book, over: false }
    }

    /// Nothing more will be sent.
    pub(super) fn over(&mut self) {
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

/// A stream of events, each `pace` after the one before.
pub(super) fn streamed(
    api: Api,
    events: Vec<Bytes>,
    pace: Duration,
    fault: Option<&Fault>,
    guard: InProgress,
) -> Body {
    let (kept, end) = match fault {
        Some(Fault::HangAfter(n)) => (*n, Some(Step::Hang)),
        Some(Fault::CutAfter(n)) => (*n, None),
        Some(Fault::ResetAfter(n)) => (*n, Some(Step::Reset)),
        Some(Fault::ErrorAfter(n)) => (*n, Some(Step::Send(answer::error_event(api, 500, *n)))),
        Some(Fault::Malformed) => (1, Some(Step::Send(answer::nonsense(api)))),
        Some(Fault::NoDone) => (events.len() - 1, None),
        Some(Fault::Pings) => (0, Some(Step::PingForEver(api))),
        Some(Fault::Empty) => (0, None),
        _ => (events.len(), None),
    };
    let sent = events.into_iter().take(kept).flat_map(|event| [Step::Wait(pace), Step::Send(event)]);
    run(delay(fault).chain(sent).chain(end).collect(), guard)
}

/// A whole answer in one piece, unless the fault breaks it in its middle.
pub(super) fn whole(api: Api, body: Bytes, fault: Option<&Fault>, guard: InProgress) -> Body {
    let half = Step::Send(body.slice(..body.len() / 2));
    let steps = match fault {
        Some(Fault::HangAfter(_)) => vec![half, Step::Hang],
        Some(Fault::CutAfter(_) | Fault::Malformed) => vec![half],
        Some(Fault::ResetAfter(_)) => vec![half, Step::Reset],
        Some(Fault::ErrorAfter(_)) => vec![Step::Send(answer::error_of(api, 500).to_string().into())],
        Some(Fault::Pings) => vec![Step::Hang],
        Some(Fault::Empty) => vec![],
        _ => delay(fault).chain([Step::Send(body)]).collect(),
    };
    run(steps.into(), guard)
}

fn delay(fault: Option<&Fault>) -> impl Iterator<Item = Step> {
    let wait = match fault {
        Some(Fault::Slow(wait)) => *wait,
        _ => Duration::ZERO,
    };
    iter::once(Step::Wait(wait))
}

fn run(steps: VecDeque<Step>, guard: InProgress) -> Body {
    let frames = stream::try_unfold((steps, guard), async |(mut steps, mut guard)| {
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Send(bytes) => {
                    // Whoever has the last piece may leave.
                    guard.over |= steps.is_empty();
                    return Ok(Some((Frame::data(bytes), (steps, guard))));
                }
                Step::Wait(Duration::ZERO) => {}
                Step::Wait(wait) => sleep(wait).await,
                Step::Hang => pending().await,
                Step::Reset => {
                    guard.over();
                    // What was sent before leaves the buffer while this waits.
                    yield_now().await;
                    return Err(reset());
                }
                Step::PingForEver(api) => {
                    sleep(PING_EVERY).await;
                    steps.push_front(Step::PingForEver(api));
                    return Ok(Some((Frame::data(answer::ping(api)), (steps, guard))));
                }
            }
        }
        guard.over();
        Ok(None)
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Ends the connection without a word.
pub(super) fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
