//! The events of a messages stream, as what happens in it.
//!
//! The vendor writes one block after the other. Events say which block they belong to, so servers that write
//! several at once are understood too.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Piece, StopDetails, Usage, end, unknown};
use crate::providers::translate::{
    json::{Fault, Text},
    words::{Event, Tell, Tokens},
};

/// The most blocks that are written at the same time.
const MAX_OPEN: usize = 128;

/// Follows one stream.
#[derive(Default)]
pub(crate) struct EventsIn {
    started: bool,
    /// The blocks that are being written, by their place.
    open: BTreeMap<u64, Open>,
    /// How many calls have begun.
    calls: u64,
    tokens: Tokens,
}

/// A block that is being written.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Text,
    Thought,
    Call {
        call: u64,
        /// Has some of its input been told?
        argued: bool,
    },
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    message: Option<Head<'a>>,
    #[serde(borrow)]
    content_block: Option<Piece<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_details: Option<StopDetails<'a>>,
}

impl EventsIn {
    /// What the next event's data tells.
    pub(crate) fn read<'a>(&mut self, data: &'a [u8], tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        let told: Told<'a> =
            serde_json::from_slice(data).map_err(|_| Fault::shape("not an event of the dialect"))?;
        let missing = || Fault::shape("an event that is not whole");
        match &*told.r#type.0 {
            "message_start" => self.start(told.message.ok_or_else(missing)?, tell),
            "ping" => tell(Event::Ping),
            "content_block_start"
            | "content_block_delta"
            | "content_block_stop"
            | "message_delta"
            | "message_stop"
                if !self.started =>
            {
                Err(Fault::shape("an answer without a beginning"))
            }
            "content_block_start" => {
                let block = told.content_block.ok_or_else(missing)?;
                self.close(told.index, tell)?;
                self.block(told.index, block, tell)
            }
            "content_block_delta" => self.delta(told.index, told.delta.ok_or_else(missing)?, tell),
            "content_block_stop" => self.close(told.index, tell),
            "message_delta" => self.ending(told.delta, told.usage, tell),
            "message_stop" => self.complete(tell),
            // Events that are new to us are to be ignored, says the dialect.
            _ => Ok(()),
        }
    }

    fn start<'a>(&mut self, head: Head<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        if std::mem::replace(&mut self.started, true) {
            return Err(Fault::shape("an answer with two beginnings"));
        }
        let name = |text: Option<Text<'a>>| text.map_or("".into(), |text| text.0);
        tell(Event::Start { id: name(head.id), model: name(head.model) })?;
        self.count(head.usage, tell)
    }

    fn count<'a>(&mut self, usage: Option<Usage>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        let Some(usage) = usage else { return Ok(()) };
        self.tokens = usage.after(self.tokens);
        tell(Event::Tokens(self.tokens))
    }

    fn block<'a>(&mut self, place: u64, piece: Piece<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        let missing = || Fault::shape("a block that is not whole");
        if self.open.len() == MAX_OPEN {
            return Err(Fault::shape(format!("more than {MAX_OPEN} blocks at the same time")));
        }
        match &*piece.r#type.0 {
            "text" => {
                self.open.insert(place, Open::Text);
                piece.text.filter(|text| !text.0.is_empty()).map_or(Ok(()), |text| tell(Event::Text(text.0)))
            }
            "tool_use" => {
                let (call, id, name) =
                    (self.calls, piece.id.ok_or_else(missing)?.0, piece.name.ok_or_else(missing)?.0);
                self.calls += 1;
                tell(Event::Call { call, id, name })?;
                // Servers that do not write it piece by piece give all of it at once.
                let given = piece.input.map(RawValue::get).filter(|input| !matches!(*input, "{}" | "null"));
                self.open.insert(place, Open::Call { call, argued: given.is_some() });
                given.map_or(Ok(()), |input| tell(Event::Arguments { call, piece: Cow::Borrowed(input) }))
            }
            "thinking" | "redacted_thinking" => {
                self.open.insert(place, Open::Thought);
                tell(Event::Thinking)
            }
            _ => Err(unknown()),
        }
    }

    fn delta<'a>(&mut self, place: u64, delta: Delta<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        let kind = delta.r#type.as_ref().map_or("", |kind| &*kind.0);
        let filled = |text: Option<Text<'a>>| text.map(|text| text.0).filter(|text| !text.is_empty());
        let event = match (kind, self.open.get_mut(&place)) {
            ("text_delta", Some(Open::Text)) => filled(delta.text).map(Event::Text),
            ("input_json_delta", Some(Open::Call { call, argued })) => {
                let piece = filled(delta.partial_json);
                *argued |= piece.is_some();
                piece.map(|piece| Event::Arguments { call: *call, piece })
            }
            ("thinking_delta", Some(Open::Thought)) => Some(Event::Thinking),
            ("text_delta" | "input_json_delta" | "thinking_delta", _) => {
                return Err(Fault::shape("a delta that is not of its block's type"));
            }
            _ => None,
        };
        event.map_or(Ok(()), tell)
    }

    /// A call without input has an empty object of it, which the other dialect writes.
    fn close<'a>(&mut self, place: u64, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        match self.open.remove(&place) {
            Some(Open::Call { call, argued: false }) => tell(Event::Arguments { call, piece: "{}".into() }),
            _ => Ok(()),
        }
    }

    fn complete<'a>(&mut self, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        while let Some(place) = self.open.keys().next().copied() {
            self.close(place, tell)?;
        }
        tell(Event::Complete)
    }

    fn ending<'a>(
        &mut self,
        delta: Option<Delta<'a>>,
        usage: Option<Usage>,
        tell: &mut Tell<'_, 'a>,
    ) -> Result<(), Fault> {
        self.count(usage, tell)?;
        let Some(delta) = delta else { return Ok(()) };
        if let Some(explanation) = delta.stop_details.and_then(|details| details.explanation) {
            tell(Event::Refusal(explanation.0))?;
        }
        let Some(reason) = delta.stop_reason else { return Ok(()) };
        tell(Event::End(end(&reason.0)?))
    }
}
