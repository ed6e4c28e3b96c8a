//! What happens in a stream, as events of the messages dialect.
//!
//! Blocks come one after the other, each between its start and its stop; what is to be told must come so
//! ([`Unweaver`](super::unweave::Unweaver)). The stop reason is held back until
//! the provider has said that its answer is complete: a caller that has seen one may believe in what came
//! before it.

use mainstay_actors::call::{Frame, FrameKind};
use serde::Serialize;

use super::answer::{Usage, Written, stop_reason};
use crate::providers::translate::{
    json::Fault,
    out::{frame, short},
    words::{End, Event, Tokens},
};

const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// Writes one stream.
#[derive(Default)]
pub(crate) struct EventsOut {
    /// The place of the next block.
    next: u32,
    /// The block that is being written.
    open: Option<Open>,
    refused: bool,
    end: Option<End>,
    tokens: Tokens,
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    Text,
    Call,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told<'a> {
    MessageStart { message: Written<'a> },
    ContentBlockStart { index: u32, content_block: Block<'a> },
    ContentBlockDelta { index: u32, delta: Delta<'a> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: Ending, usage: Usage },
    MessageStop,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'static str },
    ToolUse { id: &'a str, name: &'a str, input: Nothing },
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

#[derive(Serialize)]
struct Ending {
    stop_reason: &'static str,
    stop_sequence: Option<&'static str>,
}

impl EventsOut {
    pub(crate) fn write(&mut self, event: Event<'_>, out: &mut Vec<Frame>) -> Result<(), Fault> {
        match event {
            Event::Start { id, model } => {
                let (id, model) = (short(&id), short(&model));
                let message = Written::begun(&id, &model, Tokens::default());
                out.push(told(&Told::MessageStart { message }, FrameKind::Note));
            }
            Event::Text(text) => self.text(&text, out),
            Event::Refusal(text) => {
                self.refused = true;
                self.text(&text, out);
            }
            Event::Call { id, name, .. } => {
                let block = Block::ToolUse { id: &id, name: &name, input: Nothing {} };
                self.begin(Open::Call, block, FrameKind::Content, out);
            }
            Event::Arguments { piece, .. } => {
                out.push(self.delta(Delta::InputJsonDelta { partial_json: &piece }));
            }
            Event::Thinking => out.push(Frame::new(PING, FrameKind::Content)),
            Event::Ping => out.push(Frame::new(PING, FrameKind::Ping)),
            Event::End(end) => self.end = self.end.or(Some(end)),
            Event::Tokens(tokens) => self.tokens = tokens,
            Event::Complete => self.complete(out)?,
        }
        Ok(())
    }

    fn text(&mut self, text: &str, out: &mut Vec<Frame>) {
        if self.open != Some(Open::Text) {
            self.begin(Open::Text, Block::Text { text: "" }, FrameKind::Note, out);
        }
        out.push(self.delta(Delta::TextDelta { text }));
    }

    fn begin(&mut self, open: Open, content_block: Block<'_>, kind: FrameKind, out: &mut Vec<Frame>) {
        self.close(out);
        self.open = Some(open);
        self.next += 1;
        out.push(told(&Told::ContentBlockStart { index: self.index(), content_block }, kind));
    }

    fn close(&mut self, out: &mut Vec<Frame>) {
        if self.open.take().is_some() {
            out.push(told(&Told::ContentBlockStop { index: self.index() }, FrameKind::Note));
        }
    }

    fn delta(&self, delta: Delta<'_>) -> Frame {
        told(&Told::ContentBlockDelta { index: self.index(), delta }, FrameKind::Content)
    }

    /// The place of the block that is, or was, being written.
    fn index(&self) -> u32 {
        self.next.saturating_sub(1)
    }

    fn complete(&mut self, out: &mut Vec<Frame>) -> Result<(), Fault> {
        let end = self.end.ok_or_else(Fault::truncated)?;
        let end = if self.refused { End::Refused } else { end };
        self.close(out);
        let delta = Ending { stop_reason: stop_reason(end), stop_sequence: None };
        out.push(told(&Told::MessageDelta { delta, usage: self.tokens.into() }, end.frame()));
        out.push(told(&Told::MessageStop, FrameKind::End));
        Ok(())
    }
}

fn told(event: &Told<'_>, kind: FrameKind) -> Frame {
    let name = match event {
        Told::MessageStart { .. } => "message_start",
        Told::ContentBlockStart { .. } => "content_block_start",
        Told::ContentBlockDelta { .. } => "content_block_delta",
        Told::ContentBlockStop { .. } => "content_block_stop",
        Told::MessageDelta { .. } => "message_delta",
        Told::MessageStop => "message_stop",
    };
    frame(Some(name), event, kind)
}
