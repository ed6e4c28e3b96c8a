//! What happens in a stream, as chat chunks.
//!
//! The finish reason is held back until the provider has said that its answer is complete: a caller that has
//! seen one may believe in what came before it.

use mainstay_actors::call::{Frame, FrameKind};
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::{Usage, finish_reason};
use crate::providers::translate::{
    json::Fault,
    out::{frame, short},
    words::{End, Event, Tokens},
};

/// Writes one stream.
pub(crate) struct ChunksOut {
    created: u64,
    tell_usage: bool,
    id: String,
    model: String,
    end: Option<End>,
    tokens: Tokens,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u8,
    delta: Delta<'a>,
    logprobs: &'static RawValue,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Piece<'a>; 1]>,
}

#[derive(Serialize)]
struct Piece<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl ChunksOut {
    pub(crate) fn new(created: u64, tell_usage: bool) -> Self {
        Self {
            created,
            tell_usage,
            id: String::new(),
            model: String::new(),
            end: None,
            tokens: Tokens::default(),
        }
    }

    pub(crate) fn write(&mut self, event: Event<'_>, out: &mut Vec<Frame>) -> Result<(), Fault> {
        match event {
            Event::Start { id, model } => {
                (self.id, self.model) = (short(&id), short(&model));
                let delta = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
                out.push(self.delta(delta, FrameKind::Note));
            }
            Event::Text(text) => {
                let delta = Delta { content: Some(&text), ..Delta::default() };
                out.push(self.delta(delta, FrameKind::Content));
            }
            Event::Refusal(text) => {
                let delta = Delta { refusal: Some(&text), ..Delta::default() };
                out.push(self.delta(delta, FrameKind::Content));
            }
            Event::Call { call, id, name } => out.push(self.call(call, Some(&id), Some(&name), "")),
            Event::Arguments { call, piece } => out.push(self.call(call, None, None, &piece)),
            Event::Thinking => out.push(Frame::new(": thinking\n\n", FrameKind::Content)),
            Event::Ping => out.push(Frame::new(": ping\n\n", FrameKind::Ping)),
            Event::End(end) => self.end = self.end.or(Some(end)),
            Event::Tokens(tokens) => self.tokens = tokens,
            Event::Complete => self.complete(out)?,
        }
        Ok(())
    }

    fn complete(&mut self, out: &mut Vec<Frame>) -> Result<(), Fault> {
        let end = self.end.ok_or_else(Fault::truncated)?;
        let choice = |delta, end| Choice { index: 0, delta, logprobs: RawValue::NULL, finish_reason: end };
        let last = choice(Delta::default(), Some(finish_reason(end)));
        out.push(self.chunk(&[last], None, end.frame()));
        if self.tell_usage {
            out.push(self.chunk(&[], Some(self.tokens.into()), FrameKind::Note));
        }
        out.push(Frame::new("data: [DONE]\n\n", FrameKind::End));
        Ok(())
    }

    fn call(&self, index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Frame {
        let piece =
            Piece { index, id, r#type: id.map(|_| "function"), function: Function { name, arguments } };
        self.delta(Delta { tool_calls: Some([piece]), ..Delta::default() }, FrameKind::Content)
    }

    fn delta(&self, delta: Delta<'_>, kind: FrameKind) -> Frame {
        let choice = Choice { index: 0, delta, logprobs: RawValue::NULL, finish_reason: None };
        self.chunk(&[choice], None, kind)
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<Usage>, kind: FrameKind) -> Frame {
        let Self { id, model, created, .. } = self;
        let object = "chat.completion.chunk";
        frame(None, &Chunk { id, object, created: *created, model, choices, usage }, kind)
    }
}
