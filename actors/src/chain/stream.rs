//! An answer that is handed on while it is being written.
//!
//! Up to the first content nothing has reached the caller, and a broken stream is just a failed attempt.
//! From then on it goes on or ends with an explicit [`Interrupted`]: an end without the dialect's own sign of
//! completeness is never passed off as one (RS6). Buffers hold the few frames before the first content and
//! nothing else; a slow caller slows the provider down.

use std::{
    collections::VecDeque,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures_util::Stream;
use tokio::time::Sleep;

use super::{
    attempt::{Limits, end, late, panicked},
    recorder::{Playback, Recorder},
};
use crate::{
    call::{Frame, FrameKind, FrameStream, Story, StreamReply},
    commons::Commons,
    error::{ErrorKind, Interrupted, ProviderError},
    provider::permit::Permit,
};

/// Frames that may come before the first content; a provider that sends more is not answering.
const PRELUDE: usize = 64;

/// A stream that has begun, and who is writing it.
pub struct ReplyStream {
    /// Who answers, and what it took.
    pub story: Story,
    source: Source,
    recorder: Option<Box<Recorder>>,
}

enum Source {
    Live(Box<AnswerStream>),
    Kept(Playback),
}

impl ReplyStream {
    pub(super) fn new(mut frames: AnswerStream, mut story: Story) -> Self {
        frames.id = story.id.clone();
        story.upstream_request_id.clone_from(&frames.request_id);
        story.lacks.clone_from(&frames.lacks);
        Self { story, source: Source::Live(Box::new(frames)), recorder: None }
    }

    /// One that is kept, given again.
    pub(super) fn kept(playback: Playback, story: Story) -> Self {
        Self { story, source: Source::Kept(playback), recorder: None }
    }

    /// Has what is handed over noted.
    pub(super) fn record(&mut self, recorder: Option<Recorder>) {
        self.recorder = recorder.map(Box::new);
    }

    /// How many content frames have been handed over.
    pub fn delivered(&self) -> u64 {
        match &self.source {
            Source::Live(frames) => frames.delivered,
            Source::Kept(playback) => playback.delivered(),
        }
    }
}

impl Stream for ReplyStream {
    type Item = Result<Frame, Interrupted>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = match &mut self.source {
            Source::Live(frames) => frames.poll_frame(cx),
            Source::Kept(playback) => playback.poll_frame(cx).map(|frame| frame.map(Ok)),
        };
        if let (Poll::Ready(heard), Some(recorder)) = (&polled, &mut self.recorder) {
            // One that broke, or has nothing more to note, lets those go on who wait for it.
            let goes_on = matches!(heard, Some(Ok(frame)) if recorder.hear(frame));
            self.recorder.take_if(|_| !goes_on);
        }
        polled
    }
}

pub(super) struct AnswerStream {
    frames: FrameStream,
    pub(super) request_id: Option<String>,
    lacks: Vec<&'static str>,
    prelude: VecDeque<Frame>,
    /// The call's id, for the log.
    id: Arc<str>,
    /// None once the attempt's end is told.
    permit: Option<Permit>,
    provider: Arc<str>,
    limits: Limits,
    commons: Commons,
    timer: Pin<Box<Sleep>>,
    /// Since when the provider, not the caller, keeps us waiting.
    waiting_since: Option<Instant>,
    delivered: u64,
}

impl AnswerStream {
    /// Waits for the first content, or for a complete answer without any.
    pub(super) async fn open(
        reply: StreamReply,
        permit: Permit,
        limits: Limits,
        commons: Commons,
    ) -> Result<Self, ProviderError> {
        let provider = permit.desk().name().clone();
        let first = limits.first().0;
        let alarm = permit.slow_at(true).map_or(first, |slow_at| slow_at.min(first));
        let timer = Box::pin(tokio::time::sleep_until(alarm.into()));
        let StreamReply { frames, request_id, lacks, allowances } = reply;
        let (prelude, mut permit) = (VecDeque::new(), Some(permit));
        permit.iter_mut().for_each(|permit| permit.allowed(allowances.clone()));
        let mut stream = Self {
            frames,
            request_id,
            lacks,
            prelude,
            id: "".into(),
            permit,
            provider,
            limits,
            commons,
            timer,
            waiting_since: None,
            delivered: 0,
        };
        stream.read_prelude().await.map_err(|error| stream.give_up(error))?;
        stream.rest();
        Ok(stream)
    }

    async fn read_prelude(&mut self) -> Result<(), ProviderError> {
        loop {
            let frame = poll_fn(|cx| self.poll_first(cx)).await?;
            let kind = frame.kind;
            if kind == FrameKind::Ping {
                self.patience_for_pings()?;
                continue;
            }
            self.prelude.push_back(frame);
            match kind {
                FrameKind::Content => {
                    self.permit.iter().for_each(Permit::first_token);
                    return Ok(());
                }
                FrameKind::End => {
                    self.settle();
                    return Ok(());
                }
                _ if self.prelude.len() == PRELUDE => {
                    return Err(ProviderError::new(ErrorKind::Malformed, "many frames without any content"));
                }
                _ => {}
            }
        }
    }

    /// The whole answer is here: whenever its caller reads it, the provider is done with it.
    fn settle(&mut self) {
        let usage = self.prelude.iter().rev().find_map(|frame| frame.usage);
        if let Some(mut permit) = self.permit.take() {
            permit.used(usage);
            permit.answered();
        }
    }

    /// Is it a whole answer that says nothing but that a content policy refused?
    pub(super) fn is_refused(&self) -> bool {
        self.permit.is_none() && self.prelude.iter().any(|frame| frame.kind == FrameKind::Refusal)
    }

    /// Pings may come so fast that nobody ever waits; the time is up all the same.
    fn patience_for_pings(&self) -> Result<(), ProviderError> {
        let (until, too_late) = self.limits.first();
        if self.commons.now() < until { Ok(()) } else { Err(late(too_late)) }
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, ProviderError>> {
        if let Poll::Ready(read) = self.poll_provider(cx) {
            return Poll::Ready(read);
        }
        let (until, too_late) = self.limits.first();
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.commons.now() >= until {
                return Poll::Ready(Err(late(too_late)));
            }
            self.permit.iter_mut().for_each(Permit::tell_slow);
            self.timer.as_mut().reset(until.into());
        }
    }

    /// The next frame from the provider; an end without a sign of completeness is an error.
    fn poll_provider(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, ProviderError>> {
        let frames = &mut self.frames;
        let polled = catch_unwind(AssertUnwindSafe(|| frames.as_mut().poll_next(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Some(read))) => Poll::Ready(read),
            Ok(Poll::Ready(None)) => Poll::Ready(Err(ProviderError::new(
                ErrorKind::Truncated,
                "the stream ended before it was complete",
            ))),
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Interrupted>>> {
        if let Some(frame) = self.prelude.pop_front() {
            return Poll::Ready(Some(Ok(self.hand_over(frame))));
        }
        if self.permit.is_none() {
            return Poll::Ready(None);
        }
        let read = match self.poll_provider(cx) {
            // A keep-alive is no progress, however often it comes (PC18).
            Poll::Ready(Ok(ping)) if ping.kind == FrameKind::Ping => match self.poll_patience(cx) {
                Poll::Ready(error) => Err(error),
                Poll::Pending => Ok(ping),
            },
            Poll::Ready(read) => read,
            Poll::Pending => Err(ready!(self.poll_patience(cx))),
        };
        Poll::Ready(Some(match read {
            Ok(frame) => Ok(self.hand_over(frame)),
            Err(error) => {
                let (provider, delivered, kind) = (self.provider.clone(), self.delivered, error.kind);
                tracing::warn!(request_id = %self.id, %provider, %kind, delivered, "a stream broke off");
                metrics::counter!("mainstay_streams_interrupted_total", "provider" => provider.to_string())
                    .increment(1);
                Err(Interrupted { provider, delivered, error: self.give_up(error) })
            }
        }))
    }

    fn hand_over(&mut self, frame: Frame) -> Frame {
        if frame.usage.is_some() {
            self.permit.iter_mut().for_each(|permit| permit.used(frame.usage));
        }
        match frame.kind {
            FrameKind::Ping => return frame,
            FrameKind::Content => self.delivered += 1,
            FrameKind::End => self.permit.take().into_iter().for_each(Permit::answered),
            FrameKind::Note | FrameKind::Refusal => {}
        }
        self.waiting_since = None;
        frame
    }

    /// Resolves when the provider has been silent for too long, or the attempt's time is over. The timer is
    /// moved only when it fires: frames come often, timeouts hardly ever.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<ProviderError> {
        let now = self.commons.now();
        let idle_end = *self.waiting_since.get_or_insert(now) + self.limits.idle;
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = self.commons.now();
            let (end, too_late) = self.limits.end;
            if now >= end {
                return Poll::Ready(late(too_late));
            }
            if now >= idle_end {
                return Poll::Ready(late(ErrorKind::IdleTimeout));
            }
            self.timer.as_mut().reset(idle_end.min(end).into());
        }
    }

    /// From the first content on, silence is measured instead.
    fn rest(&mut self) {
        let now = self.commons.now();
        self.timer.as_mut().reset((now + self.limits.idle).min(self.limits.end.0).into());
    }

    fn give_up(&mut self, error: ProviderError) -> ProviderError {
        match self.permit.take() {
            Some(permit) => end(permit, error),
            None => error,
        }
    }
}
