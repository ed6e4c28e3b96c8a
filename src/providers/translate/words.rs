//! What both dialects can say, in neither's words.
//!
//! A reader of one dialect makes these, a writer of the other puts them into its own form. Texts are borrowed
//! from the body; tool inputs and schemas are passed on as they were written, byte for byte.

use std::borrow::Cow;

use mainstay_actors::call::FrameKind;
use serde_json::value::RawValue;

use super::json::Fault;

/// A request.
#[derive(Default)]
pub(super) struct Ask<'a> {
    pub(super) turns: Vec<Turn<'a>>,
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Option<Choice<'a>>,
    /// May several tools be called at once? `None`: as the provider likes.
    pub(super) parallel: Option<bool>,
    /// The JSON schema that the answer must follow.
    pub(super) schema: Option<&'a RawValue>,
    pub(super) stop: Vec<Cow<'a, str>>,
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) user: Option<Cow<'a, str>>,
    /// Is the caller to be told the tokens at the end of a stream?
    pub(super) tell_usage: bool,
}

impl<'a> Ask<'a> {
    /// Adds a turn; one without anything in it is none.
    pub(super) fn say(&mut self, role: Role, parts: Vec<Part<'a>>) -> Result<(), Fault> {
        if role != Role::User && parts.iter().any(|part| matches!(part, Part::Image(_))) {
            return Err(Fault::unsupported("an image that is not the user's").at("content"));
        }
        if !parts.is_empty() {
            self.turns.push(Turn { role, parts });
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Assistant,
}

pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) parts: Vec<Part<'a>>,
}

pub(super) enum Part<'a> {
    Text(Cow<'a, str>),
    Image(Image<'a>),
    Call(Call<'a>),
    Outcome(Outcome<'a>),
}

impl Part<'_> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

pub(super) enum Image<'a> {
    Url(Cow<'a, str>),
    Base64 { media_type: Cow<'a, str>, data: Cow<'a, str> },
}

/// The assistant calls a tool.
pub(super) struct Call<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) input: Input<'a>,
}

/// What a tool is called with: an object, as it was written.
pub(super) struct Input<'a>(Cow<'a, RawValue>);

impl<'a> Input<'a> {
    pub(super) fn new(json: &'a RawValue) -> Option<Self> {
        json.get().starts_with('{').then_some(Self(Cow::Borrowed(json)))
    }

    /// The arguments as models write them: JSON in a string, or nothing at all.
    pub(super) fn parse(arguments: Cow<'a, str>) -> Option<Self> {
        if arguments.trim_ascii().is_empty() {
            return serde_json::from_str("{}").ok().and_then(Self::new);
        }
        match arguments {
            Cow::Borrowed(text) => serde_json::from_str(text).ok().and_then(Self::new),
            Cow::Owned(text) => {
                let json = RawValue::from_string(text).ok()?;
                json.get().starts_with('{').then_some(Self(Cow::Owned(json)))
            }
        }
    }

    pub(super) fn json(&self) -> &RawValue {
        &self.0
    }
}

/// What a called tool gave back.
pub(super) struct Outcome<'a> {
    pub(super) id: Cow<'a, str>,
    /// Texts and images.
    pub(super) parts: Vec<Part<'a>>,
    pub(super) is_error: bool,
}

pub(super) struct Tool<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) description: Option<Cow<'a, str>>,
    pub(super) schema: Option<&'a RawValue>,
}

/// Which tools may or must be called.
#[derive(PartialEq)]
pub(super) enum Choice<'a> {
    Auto,
    Never,
    Any,
    One(Cow<'a, str>),
}

/// A whole answer.
pub(super) struct Said<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) model: Cow<'a, str>,
    /// Texts and calls.
    pub(super) parts: Vec<Part<'a>>,
    /// What the model, or its vendor, said in place of an answer.
    pub(super) refusal: Option<Cow<'a, str>>,
    pub(super) end: End,
    pub(super) tokens: Tokens,
}

/// Why an answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The model had said it all, or a stop sequence came.
    Done,
    /// A limit cut it.
    Length,
    /// Tools are to be called.
    Calls,
    /// A content policy ended it.
    Refused,
}

impl End {
    /// What the event means that tells it.
    pub(super) fn frame(self) -> FrameKind {
        if self == Self::Refused { FrameKind::Refusal } else { FrameKind::Note }
    }
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    /// Read, without the cached ones.
    pub(super) input: u64,
    /// Read from the provider's cache.
    pub(super) cached: u64,
    /// Read, and written into the provider's cache.
    pub(super) cache_written: u64,
    pub(super) output: u64,
}

/// Hears what happens in a stream, step by step.
pub(super) type Tell<'t, 'a> = dyn FnMut(Event<'a>) -> Result<(), Fault> + 't;

/// A step of a streamed answer.
#[derive(Debug, PartialEq)]
pub(super) enum Event<'a> {
    Start {
        id: Cow<'a, str>,
        model: Cow<'a, str>,
    },
    Text(Cow<'a, str>),
    Refusal(Cow<'a, str>),
    /// A call begins; its arguments follow before anything else does.
    Call {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Arguments(Cow<'a, str>),
    /// The model thinks. The thoughts are not passed on: signed by one vendor, they are refused by the other.
    Thinking,
    End(End),
    Tokens(Tokens),
    /// The dialect's own sign of completeness.
    Complete,
    Ping,
}
