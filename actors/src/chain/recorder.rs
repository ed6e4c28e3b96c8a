//! A stream on its way into the cache, and one on its way out.
//!
//! Events are noted as they are handed to the caller, up to a bound; only a stream that came to its own end in order
//! is kept (CA5). One that is given again comes at once, or as slowly as it came.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::time::Sleep;

use crate::{
    cache::{
        Cache, Leader, Question,
        control::CacheControl,
        entry::{Entry, Kept, KeptFrame},
    },
    call::{Finish, Frame, FrameKind},
};

/// Notes the events of a stream.
pub(super) struct Recorder {
    cache: Cache,
    question: Question,
    control: CacheControl,
    entry: Entry,
    frames: Vec<KeptFrame>,
    bytes: usize,
    finish: Option<Finish>,
    started: Instant,
    /// Those who ask the same wait for the end of this.
    _leader: Option<Leader>,
}

impl Recorder {
    pub(super) fn new(
        cache: Cache,
        question: Question,
        control: CacheControl,
        entry: Entry,
        started: Instant,
        leader: Option<Leader>,
    ) -> Self {
        let (frames, bytes, finish) = Default::default();
        Self { cache, question, control, entry, frames, bytes, finish, started, _leader: leader }
    }

    /// Notes an event; false when there is nothing more to note.
    pub(super) fn hear(&mut self, frame: &Frame) -> bool {
        if frame.kind == FrameKind::Ping {
            return true;
        }
        let after = self.cache.clock().now().saturating_duration_since(self.started);
        let refused = (frame.kind == FrameKind::Refusal).then_some(Finish::Refused);
        self.finish = frame.finish.max(refused).max(self.finish);
        self.entry.usage = frame.usage.or(self.entry.usage);
        self.bytes += frame.bytes.len();
        self.entry.took_ms = after.as_millis() as u64;
        self.frames.push(KeptFrame {
            bytes: frame.bytes.clone(),
            kind: frame.kind,
            after_ms: self.entry.took_ms,
        });
        let is_good = self.cache.may_keep(self.finish, self.bytes);
        if is_good && frame.kind == FrameKind::End {
            self.keep();
        }
        is_good && frame.kind != FrameKind::End
    }

    fn keep(&mut self) {
        let answer = Kept::Stream(std::mem::take(&mut self.frames));
        let windows = self.cache.windows(&self.control);
        self.cache.keep(&self.question, Entry { answer, windows, ..self.entry.clone() });
    }
}

/// A kept stream that is given again.
pub(super) struct Playback {
    entry: Arc<Entry>,
    next: usize,
    delivered: u64,
    /// When the next event is due, if it is given as slowly as it came.
    pace: Option<(tokio::time::Instant, Pin<Box<Sleep>>)>,
}

impl Playback {
    /// Gives it as slowly as it came, if it begins at some instant, and otherwise at once.
    pub(super) fn new(entry: Arc<Entry>, begins: Option<Instant>) -> Self {
        let pace = begins.map(|now| (now.into(), Box::pin(tokio::time::sleep_until(now.into()))));
        Self { entry, next: 0, delivered: 0, pace }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let Kept::Stream(frames) = &self.entry.answer else { return Poll::Ready(None) };
        let Some(kept) = frames.get(self.next) else { return Poll::Ready(None) };
        if let Some((started, timer)) = &mut self.pace {
            let due = *started + std::time::Duration::from_millis(kept.after_ms);
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
        }
        self.next += 1;
        self.delivered += u64::from(kept.kind == FrameKind::Content);
        Poll::Ready(Some(Frame::new(kept.bytes.clone(), kept.kind)))
    }
}
