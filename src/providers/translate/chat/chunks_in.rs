//! The chunks of a chat stream, as what happens in it.
//!
//! One choice is followed: more than one is never asked for. Calls may be woven together, piece by piece.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Usage, end};
use crate::providers::translate::{
    json::{Element, Fault, First, Text, each},
    out::short,
    words::{Event, Tell, Tokens},
};

/// The most calls in one answer, and the most pieces of them in one chunk.
const MAX_CALLS: usize = 128;

/// Follows one stream.
#[derive(Default)]
pub(crate) struct ChunksIn {
    started: bool,
    /// The calls so far, in the order in which they began.
    calls: Vec<Begun>,
}

struct Begun {
    index: u64,
    id: String,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Option<First<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Called<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

impl<'a> Element<'a> for Called<'a> {
    const EXPECTED: &'static str = "expected a piece of a tool call";
}

impl ChunksIn {
    /// What the next event's data tells.
    pub(crate) fn read<'a>(&mut self, data: &'a [u8], tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        if data == b"[DONE]" {
            return tell(Event::Complete);
        }
        let chunk: Chunk<'a> =
            serde_json::from_slice(data).map_err(|_| Fault::shape("not a chunk of the dialect"))?;
        if let Some(choice) = chunk.choices.and_then(|choices| choices.0) {
            if !self.started {
                self.started = true;
                let name = |text: Option<Text<'a>>| text.map_or("".into(), |text| text.0);
                tell(Event::Start { id: name(chunk.id), model: name(chunk.model) })?;
            }
            self.choice(choice, tell)?;
        }
        chunk.usage.map_or(Ok(()), |usage| tell(Event::Tokens(Tokens::from(usage))))
    }

    fn choice<'a>(&mut self, choice: Choice<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        if let Some(delta) = choice.delta {
            self.delta(delta, tell)?;
        }
        let Some(reason) = choice.finish_reason.filter(|reason| !reason.0.is_empty()) else { return Ok(()) };
        tell(Event::End(end(&reason.0, !self.calls.is_empty())?))
    }

    fn delta<'a>(&mut self, delta: Delta<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        let filled = |text: &Text<'a>| !text.0.is_empty();
        let thoughts = delta.reasoning.or(delta.reasoning_content);
        if thoughts.is_some_and(|thought| thought.get() != "\"\"") {
            tell(Event::Thinking)?;
        }
        if let Some(text) = delta.content.filter(filled) {
            tell(Event::Text(text.0))?;
        }
        if let Some(text) = delta.refusal.filter(filled) {
            tell(Event::Refusal(text.0))?;
        }
        let Some(calls) = delta.tool_calls else { return Ok(()) };
        let mut pieces = 0;
        each(calls, |called| {
            pieces += 1;
            if pieces > MAX_CALLS { Err(too_many()) } else { self.call(called, tell) }
        })
    }

    fn call<'a>(&mut self, called: Called<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        let Called { index, id, function } = called;
        let (name, arguments) = function.map_or((None, None), |function| (function.name, function.arguments));
        let id = id.map(|id| id.0).filter(|id| !id.is_empty());
        let call = match self.known(index, id.as_deref()) {
            Some(call) => call,
            None => {
                let missing = || Fault::shape("a tool call that does not begin with its id and its name");
                let (id, name) = (id.ok_or_else(missing)?, name.ok_or_else(missing)?.0);
                let call = self.begin(index, &id)?;
                tell(Event::Call { call, id, name })?;
                call
            }
        };
        match arguments {
            Some(Text(piece)) if !piece.is_empty() => tell(Event::Arguments { call, piece }),
            _ => Ok(()),
        }
    }

    /// Which call a piece belongs to. Some vendors repeat the id with each, some give no index.
    fn known(&self, index: Option<u64>, id: Option<&str>) -> Option<u64> {
        let id = id.map(short);
        let fits = |call: &Begun| {
            index.is_none_or(|index| index == call.index) && id.as_ref().is_none_or(|id| *id == call.id)
        };
        self.calls.iter().rposition(fits).map(|call| call as u64)
    }

    fn begin(&mut self, index: Option<u64>, id: &str) -> Result<u64, Fault> {
        if self.calls.len() == MAX_CALLS {
            return Err(too_many());
        }
        let call = self.calls.len() as u64;
        self.calls.push(Begun { index: index.unwrap_or(call), id: short(id) });
        Ok(call)
    }
}

fn too_many() -> Fault {
    Fault::shape(format!("more than {MAX_CALLS} tool calls"))
}
