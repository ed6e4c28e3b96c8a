//! Splits server-sent events out of a byte stream without taking them apart.
//!
//! Events are forwarded as they came, so a whole event is one slice of the input, its blank line included;
//! bytes are copied only where an event lies across two chunks. What an event means in a dialect is not known
//! here.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// The largest event that is taken, in bytes; a provider that sends a larger one is not making sense.
pub const MAX_EVENT: usize = 1 << 20;

/// An event is larger than the splitter's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub struct TooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// What was left when the bytes ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: the last event was whole.
    Nothing,
    /// A last whole event, of which only the end of the bytes could tell that it was over.
    Event(Bytes),
    /// The beginning of an event, this many bytes of it: the stream was cut.
    Cut(usize),
}

/// Takes bytes in chunks of any size and gives whole events out.
///
/// The same bytes give the same events however they are cut into chunks. Blank lines between events come out
/// as events without fields, so that no byte is lost.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    /// The beginning of an event, from earlier chunks.
    held: BytesMut,
    chunk: Bytes,
    at: At,
}

/// Where in an event's lines the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    InLine,
    /// After the `\r` of a line with text: a `\n` would belong to it.
    AfterCr,
    /// After the `\r` of a blank line: the event is over, but a `\n` would belong to it.
    BlankCr,
}

/// How far one byte takes an event.
enum Step {
    On(At),
    EndsHere,
    EndedBefore,
}

impl At {
    fn step(self, byte: u8) -> Step {
        match (self, byte) {
            (Self::LineStart | Self::BlankCr, b'\n') | (Self::AfterCr, b'\r') => Step::EndsHere,
            (Self::BlankCr, _) => Step::EndedBefore,
            (Self::LineStart, b'\r') => Step::On(Self::BlankCr),
            (Self::InLine, b'\r') => Step::On(Self::AfterCr),
            (Self::InLine | Self::AfterCr, b'\n') => Step::On(Self::LineStart),
            _ => Step::On(Self::InLine),
        }
    }
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new(MAX_EVENT)
    }
}

impl Splitter {
    /// A splitter that takes events of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, held: BytesMut::new(), chunk: Bytes::new(), at: At::LineStart }
    }

    /// Adds a chunk; [`next_event`](Self::next_event) must have emptied the one before.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the chunk before is not read");
        self.chunk = chunk;
    }

    /// The next whole event, or `None` when another chunk is needed. After an error nothing sensible follows.
    pub fn next_event(&mut self) -> Result<Option<Bytes>, TooLarge> {
        let end = self.scan();
        let length = self.held.len() + end.unwrap_or(self.chunk.len());
        if length > self.limit {
            return Err(TooLarge { limit: self.limit });
        }
        match end {
            Some(end) => Ok(Some(self.take(end))),
            None => {
                self.held.extend_from_slice(&self.chunk);
                self.chunk.clear();
                Ok(None)
            }
        }
    }

    /// What is left when no more bytes come.
    pub fn finish(self) -> Rest {
        match self.at {
            At::BlankCr => Rest::Event(self.held.freeze()),
            _ if self.held.is_empty() => Rest::Nothing,
            _ => Rest::Cut(self.held.len()),
        }
    }

    /// How much of the chunk still belongs to the event under way, if it ends there.
    fn scan(&mut self) -> Option<usize> {
        for (i, byte) in self.chunk.iter().enumerate() {
            match self.at.step(*byte) {
                Step::On(at) => self.at = at,
                Step::EndsHere => return Some(i + 1),
                Step::EndedBefore => return Some(i),
            }
        }
        None
    }

    fn take(&mut self, end: usize) -> Bytes {
        self.at = At::LineStart;
        let tail = self.chunk.split_to(end);
        if self.held.is_empty() {
            return tail;
        }
        self.held.extend_from_slice(&tail);
        self.held.split().freeze()
    }
}

/// The fields of an event that a dialect looks at; both absent in a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The value of `event:`.
    pub name: Option<&'a [u8]>,
    /// The value of `data:`; several lines are joined.
    pub data: Option<Cow<'a, [u8]>>,
}

/// Reads the fields of one event.
pub fn fields(event: &[u8]) -> Fields<'_> {
    let mut fields = Fields::default();
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(value) = value_of(line, b"data") {
            fields.data = Some(joined(fields.data, value));
        } else if let Some(value) = value_of(line, b"event") {
            fields.name = Some(value);
        }
    }
    fields
}

fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(field)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

fn joined<'a>(before: Option<Cow<'a, [u8]>>, line: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(before) = before else { return Cow::Borrowed(line) };
    let mut all = before.into_owned();
    all.push(b'\n');
    all.extend_from_slice(line);
    Cow::Owned(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All events of `chunks`, and what was left.
    fn split(chunks: &[&[u8]]) -> (Vec<Bytes>, Rest) {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for chunk in chunks {
            splitter.push(Bytes::copy_from_slice(chunk));
            while let Some(event) = splitter.next_event().unwrap() {
                events.push(event);
            }
        }
        (events, splitter.finish())
    }

    #[test]
    fn every_kind_of_line_end_ends_events() {
        for text in ["a\n\nb\n\n", "a\r\n\r\nb\r\n\r\n", "a\r\rb\r\r"] {
            let (events, rest) = split(&[text.as_bytes()]);
            let (first, second) = text.split_at(text.len() / 2);
            assert_eq!((events, rest), (vec![first.into(), second.into()], Rest::Nothing), "{text:?}");
        }
    }

    #[test]
    fn an_event_within_a_chunk_is_a_slice_of_it() {
        let chunk = Bytes::from_static(b"data: 1\n\ndata: 2\n\n");
        let mut splitter = Splitter::default();
        splitter.push(chunk.clone());
        for at in [0, 9] {
            let event = splitter.next_event().unwrap().unwrap();
            assert_eq!(event.as_ptr(), chunk[at..].as_ptr());
        }
    }

    #[test]
    fn what_is_cut_off_is_reported_and_never_given_out_as_an_event() {
        for cut in ["data: x", "data: x\n", "data: x\r\n", "\n\nx"] {
            let (events, rest) = split(&[cut.as_bytes()]);
            assert!(events.iter().all(|event| event == "\n"), "{cut:?}");
            assert!(matches!(rest, Rest::Cut(_)), "{cut:?}");
        }
    }

    #[test]
    fn an_event_beyond_the_limit_is_refused_whole_or_in_pieces() {
        for size in [1, 4, 64] {
            let mut splitter = Splitter::new(16);
            let mut result = Ok(None);
            for chunk in b"data: 0123456789\n\n".chunks(size) {
                splitter.push(Bytes::copy_from_slice(chunk));
                result = result.and_then(|_| splitter.next_event());
                if result.is_err() {
                    break;
                }
            }
            assert_eq!(result, Err(TooLarge { limit: 16 }), "in chunks of {size}");
        }
    }

    #[test]
    fn fields_are_found_with_and_without_a_space_and_lines_are_joined() {
        let read = fields(b": note\r\nevent: error\ndata:one\ndata: two\nid: 7\n\n");
        assert_eq!(read.name, Some(&b"error"[..]));
        assert_eq!(read.data.as_deref(), Some(&b"one\ntwo"[..]));
    }

    #[test]
    fn one_data_line_is_borrowed_and_a_comment_has_no_fields() {
        assert!(matches!(fields(b"data: x\n\n").data, Some(Cow::Borrowed(b"x"))));
        assert_eq!(fields(b": keep-alive\n\n"), Fields::default());
        assert_eq!(fields(b"database: x\n\n"), Fields::default());
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(text in "[ab:\r\n]{0,40}", cuts in prop::collection::vec(0usize..41, 0..6)) {
            let whole = split(&[text.as_bytes()]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                chunks.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(split(&chunks), whole);
        }

        #[test]
        fn no_byte_is_lost(text in "[ab\r\n]{0,40}") {
            let (events, rest) = split(&[text.as_bytes()]);
            let given: usize = events.iter().map(Bytes::len).sum();
            let left = match rest {
                Rest::Nothing => 0,
                Rest::Event(event) => event.len(),
                Rest::Cut(length) => length,
            };
            prop_assert_eq!(given + left, text.len());
        }
    }
}
