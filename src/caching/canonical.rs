//! The form in which equal JSON is equal bytes, and how to find one's way in it.
//!
//! A value is a letter for its kind, the length of its content, and its content. Members are names and values in turn,
//! in the order of the names' bytes; text is without escapes; a number is what [`number`](super::number) makes of it.
//!
//! That is RFC 8785 (JCS) but for two things. There a number is what a double makes of it, so that 2^53 and 2^53 + 1
//! are one and 1e400 is none; here two numbers are one if they are equal. And the result is no JSON: with lengths in
//! it, whoever looks for something steps over all the rest, and nothing needs to be escaped again.

pub(super) const NULL: u8 = b'n';
pub(super) const FALSE: u8 = b'f';
pub(super) const TRUE: u8 = b't';
pub(super) const NUMBER: u8 = b'#';
pub(super) const TEXT: u8 = b'"';
pub(super) const LIST: u8 = b'[';
pub(super) const OBJECT: u8 = b'{';

/// How many bytes stand before the content: the kind's letter and the length.
pub(super) const HEAD: usize = 1 + size_of::<u32>();

/// A value within canonical bytes. Two are equal if what they say is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) kind: u8,
    pub(super) content: &'a [u8],
}

impl<'a> Value<'a> {
    pub(super) const NULL: Self = Self { kind: NULL, content: &[] };
    pub(super) const FALSE: Self = Self { kind: FALSE, content: &[] };
    pub(super) const ZERO: Self = Self { kind: NUMBER, content: &[] };

    /// The value that these bytes begin with.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        Values(bytes).next()
    }

    pub(super) fn text(text: &'a str) -> Self {
        Self { kind: TEXT, content: text.as_bytes() }
    }

    pub(super) fn is_text(self, text: &str) -> bool {
        self.kind == TEXT && self.content == text.as_bytes()
    }

    pub(super) fn is_object(self) -> bool {
        self.kind == OBJECT
    }

    /// What is in a list; of anything else, nothing.
    pub(super) fn items(self) -> Option<impl Iterator<Item = Self>> {
        (self.kind == LIST).then_some(Values(self.content))
    }

    /// Names and values of an object; anything else has none.
    pub(super) fn members(self) -> impl Iterator<Item = (Self, Self)> {
        let mut values = Values(if self.is_object() { self.content } else { &[] });
        std::iter::from_fn(move || values.next().zip(values.next()))
    }

    /// The member of this name; `null` if there is none.
    pub(super) fn get(self, name: &str) -> Self {
        self.members().find(|(is, _)| is.is_text(name)).map_or(Self::NULL, |(_, value)| value)
    }
}

struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (&kind, rest) = self.0.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        Some(Value { kind, content })
    }
}
