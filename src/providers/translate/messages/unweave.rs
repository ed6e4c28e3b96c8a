//! Puts what a provider weaves together one after the other, as the blocks of the messages dialect stand.
//!
//! What is told first is passed on at once; what begins before that is over waits, within a bound. A call is
//! over when its arguments are a whole JSON object, a text when something else comes, and everything when the
//! answer is.

use std::mem;

use crate::providers::translate::{
    json::Fault,
    words::{Event, Tell},
};

/// The most that may wait, in bytes.
const MAX_HELD: usize = 1 << 20;

/// Follows one stream.
#[derive(Default)]
pub(crate) struct Unweaver {
    /// The call that is being told, and how far its input has come.
    current: Option<(u64, Input)>,
    /// How many calls have been told, or begun to be.
    told: u64,
    /// What waits, in the order in which it came.
    held: Vec<Event<'static>>,
    held_bytes: usize,
}

impl Unweaver {
    /// Tells what can be told after `event`.
    pub(crate) fn pass<'a>(&mut self, event: Event<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        if event == Event::Complete {
            self.end(tell)?;
        }
        if self.waits(&event) {
            self.hold(event.into_owned())?;
            return tell(Event::Thinking);
        }
        self.tell(event, tell)?;
        self.release(tell)
    }

    fn waits(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Arguments { call, .. } => *call >= self.told,
            Event::Text(_) | Event::Refusal(_) | Event::Call { .. } => {
                !self.is_free() || !self.held.is_empty()
            }
            _ => false,
        }
    }

    /// May another block begin?
    fn is_free(&self) -> bool {
        self.current.as_ref().is_none_or(|(_, input)| input.whole)
    }

    fn hold(&mut self, event: Event<'static>) -> Result<(), Fault> {
        self.held_bytes += event.size();
        if self.held_bytes > MAX_HELD {
            let woven = format!("tool calls that are woven together over more than {MAX_HELD} bytes");
            return Err(Fault::unsupported(woven));
        }
        self.held.push(event);
        Ok(())
    }

    fn tell<'a>(&mut self, event: Event<'a>, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        match (&event, &mut self.current) {
            (Event::Call { call, .. }, current) => {
                *current = Some((*call, Input::default()));
                self.told = call + 1;
            }
            (Event::Text(_) | Event::Refusal(_), current) => *current = None,
            (Event::Arguments { call, piece }, Some((open, input))) if call == open => {
                input.add(piece);
            }
            (Event::Arguments { piece, .. }, _) if piece.trim_ascii().is_empty() => return Ok(()),
            (Event::Arguments { .. }, _) => {
                return Err(Fault::shape("a tool call that goes on after its arguments were whole"));
            }
            _ => {}
        }
        tell(event)
    }

    /// Tells what need not wait any more.
    fn release<'a>(&mut self, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        while self.is_free() && !self.held.is_empty() {
            self.held_bytes = 0;
            for event in mem::take(&mut self.held) {
                if self.waits(&event) { self.hold(event)? } else { self.tell(event, tell)? }
            }
        }
        Ok(())
    }

    /// Nothing more comes: what is being told is over.
    fn end<'a>(&mut self, tell: &mut Tell<'_, 'a>) -> Result<(), Fault> {
        while !self.held.is_empty() {
            self.current = None;
            self.release(tell)?;
        }
        Ok(())
    }
}

/// How far a JSON object is written.
#[derive(Default)]
struct Input {
    depth: u64,
    in_text: bool,
    escaped: bool,
    whole: bool,
}

impl Input {
    fn add(&mut self, piece: &str) {
        piece.bytes().for_each(|byte| self.step(byte));
    }

    fn step(&mut self, byte: u8) {
        match byte {
            _ if mem::take(&mut self.escaped) => {}
            b'\\' if self.in_text => self.escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.whole |= self.depth == 0;
            }
            _ => {}
        }
    }
}
