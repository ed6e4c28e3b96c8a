//! What travels on a call: the request's bytes, and the answer's.
//!
//! Bodies are opaque here. The adapter of a dialect finds the few members that matter before the call starts
//! and everything else is forwarded as it came; nothing in this crate parses JSON.

use std::{ops::Range, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;

use crate::{
    cache::{CacheStory, control::CacheControl},
    error::{AttemptReport, ProviderError},
};

/// What is asked for, and in whose words. A provider forwards what it speaks itself, translates what it can, and
/// answers always in the words it was asked in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Api {
    /// OpenAI's chat completions.
    #[default]
    Chat,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's responses.
    Responses,
    /// OpenAI's embeddings.
    Embeddings,
}

/// A request as the caller sent it, with the members that matter already found.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for.
    pub api: Api,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Where the value of `model` stands in the body, quotes included: a provider puts its own there.
    pub model: Range<usize>,
    /// Does the caller want a stream?
    pub stream: bool,
    /// Does the body itself ask for one? Where it does not say what `stream` says, the adapter rewrites it.
    pub body_streams: bool,
    /// The caller's headers that change what the body means, by lower-case name; a provider passes on those
    /// that its dialect has.
    pub headers: Vec<(&'static str, String)>,
    /// How many tokens the answer may have, if the request says so: rate limits count them before it is written.
    pub max_tokens: Option<u64>,
    /// The caller's id for this call; one is made when absent.
    pub id: Option<Arc<str>>,
    /// How long the caller waits for the whole call; `None` leaves it to the attempts' own timeouts.
    pub timeout: Option<Duration>,
    /// How long it waits for an answer to begin: for a stream's first content, or for a whole answer.
    pub patience: Option<Duration>,
    /// What it asks of the cache.
    pub cache: CacheControl,
}

impl Request {
    /// A chat request whose `model` value stands at `model` in `body`, and whose body asks for a stream or not.
    pub fn new(body: Bytes, model: Range<usize>, stream: bool) -> Self {
        Self {
            api: Api::Chat,
            body,
            model,
            stream,
            body_streams: stream,
            max_tokens: None,
            headers: Vec::new(),
            id: None,
            timeout: None,
            patience: None,
            cache: CacheControl::default(),
        }
    }

    /// Asks for something else than a chat.
    #[must_use]
    pub fn api(mut self, api: Api) -> Self {
        self.api = api;
        self
    }

    /// Sends a header of the caller's along.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Gives the call an id of the caller's own.
    #[must_use]
    pub fn id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Limits the whole call, all attempts included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// What a frame of a stream means to the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A keep-alive: no progress (PC18).
    Ping,
    /// Part of the answer without content yet: role, usage, finish reason.
    Note,
    /// A note that a content policy refused to answer, or to go on.
    Refusal,
    /// The first or a further piece of content: from here on the answer is committed.
    Content,
    /// The dialect's own sign that the answer is complete.
    End,
}

/// Why an answer ends where it does, as its provider says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finish {
    /// It has said all.
    Complete,
    /// It wants the caller's tools to be called.
    ToolCalls,
    /// It had to stop: at a limit, or for a reason that is not known here.
    CutShort,
    /// A content policy refused to answer, or to go on.
    Refused,
}

/// One event of a stream, as it came from the wire, blank line included.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The event's bytes.
    pub bytes: Bytes,
    /// What it means.
    pub kind: FrameKind,
    /// The tokens used so far, where this event tells them.
    pub usage: Option<Usage>,
    /// Why the answer ends, where this event tells it.
    pub finish: Option<Finish>,
}

impl Frame {
    /// An event that tells no usage.
    pub fn new(bytes: impl Into<Bytes>, kind: FrameKind) -> Self {
        Self { bytes: bytes.into(), kind, usage: None, finish: None }
    }
}

/// What an answer took, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Read, cached ones included.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
}

/// What a provider says, with an answer or a refusal, about our limits there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowances {
    /// Requests.
    pub requests: Allowance,
    /// Tokens read and written together.
    pub tokens: Allowance,
    /// Tokens read.
    pub input_tokens: Allowance,
    /// Tokens written.
    pub output_tokens: Allowance,
}

/// One limit, as far as it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// How many a minute.
    pub limit: Option<u64>,
    /// How many are left.
    pub remaining: Option<u64>,
    /// How long until all of them are there again.
    pub reset: Option<Duration>,
}

/// Frames as a provider yields them. It must end with [`FrameKind::End`]: an end without it is a truncation.
pub type FrameStream = Pin<Box<dyn Stream<Item = Result<Frame, ProviderError>> + Send>>;

/// A provider's answer.
pub enum ProviderReply {
    /// A whole answer.
    Full(FullReply),
    /// An answer that is still being written.
    Stream(StreamReply),
}

/// A whole answer of a provider.
#[derive(Clone, Debug, Default)]
pub struct FullReply {
    /// The body, byte for byte.
    pub body: Bytes,
    /// The provider's own id of the request.
    pub request_id: Option<String>,
    /// The tokens it took, if it says so.
    pub usage: Option<Usage>,
    /// Our limits there, if it says so.
    pub allowances: Option<Box<Allowances>>,
    /// What was asked for and this provider cannot do, in a word each: the answer was made without it.
    pub lacks: Vec<&'static str>,
    /// Why it ends where it does, if it says so.
    pub finish: Option<Finish>,
}

impl FullReply {
    /// An answer of which nothing else is known.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// A streamed answer of a provider.
pub struct StreamReply {
    /// The events.
    pub frames: FrameStream,
    /// The provider's own id of the request.
    pub request_id: Option<String>,
    /// Our limits there, if it says so.
    pub allowances: Option<Box<Allowances>>,
    /// What was asked for and this provider cannot do, in a word each: the answer is made without it.
    pub lacks: Vec<&'static str>,
}

impl StreamReply {
    /// A stream of which nothing else is known.
    pub fn new(frames: FrameStream) -> Self {
        Self { frames, request_id: None, allowances: None, lacks: Vec::new() }
    }
}

/// Who answered, and what it took.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The call's id.
    pub id: Arc<str>,
    /// The chain that was asked.
    pub chain: Arc<str>,
    /// Who answered.
    pub provider: Arc<str>,
    /// With which model.
    pub model: Arc<str>,
    /// The provider's own id of the request.
    pub upstream_request_id: Option<String>,
    /// What was asked for and the provider cannot do, in a word each: the answer was made without it.
    pub lacks: Vec<&'static str>,
    /// The attempts and refusals before the one that answered.
    pub failed: Vec<AttemptReport>,
    /// What the cache had to do with it; nothing, where there is no cache.
    pub cache: Option<CacheStory>,
}

impl Story {
    /// How many times a provider was asked, the answering one included; a kept answer asked none.
    pub fn attempts(&self) -> usize {
        let is_kept = self.cache.as_ref().is_some_and(CacheStory::is_kept);
        usize::from(!is_kept) + self.failed.iter().filter(|a| a.asked).count()
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The body, byte for byte.
    pub body: Bytes,
    /// Who answered, and what it took.
    pub story: Story,
}
