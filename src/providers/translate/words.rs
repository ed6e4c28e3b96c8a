//! What both dialects can say, in neither's words.
//!
//! A reader of one dialect makes these, a writer of the other puts them into its own form. Texts are borrowed
//! from the body; tool inputs and schemas are passed on as they were written, byte for byte.

use std::borrow::Cow;

use mainstay_actors::call::FrameKind;
use serde_json::value::RawValue;

use super::json::{Fault, Object, each, is_text, text};

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
        if let Some(what) = parts.iter().find_map(Part::attachment).filter(|_| role != Role::User) {
            return Err(Fault::unsupported(format!("{what} that is not the user's")).at("content"));
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
    Pdf(Pdf<'a>),
    Call(Call<'a>),
    Outcome(Outcome<'a>),
}

impl<'a> Part<'a> {
    /// Content as both dialects have it: a string, or a list whose objects `read` takes. Empty texts say nothing.
    pub(super) fn all<P: IntoIterator<Item = Self>>(
        content: Option<&'a RawValue>,
        mut read: impl FnMut(Object<'a>) -> Result<P, Fault>,
    ) -> Result<Vec<Self>, Fault> {
        let mut parts = Vec::new();
        match content {
            None => {}
            Some(content) if is_text(content) => parts.push(Self::Text(text(content)?)),
            Some(list) => each(list, |object| read(object).map(|read| parts.extend(read)))?,
        }
        parts.retain(|part| !part.is_empty());
        Ok(parts)
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    /// What it shows, where that is no text.
    pub(super) fn attachment(&self) -> Option<&'static str> {
        match self {
            Self::Image(_) => Some("an image"),
            Self::Pdf(_) => Some("a document"),
            Self::Text(_) | Self::Call(_) | Self::Outcome(_) => None,
        }
    }
}

pub(super) enum Image<'a> {
    Url(Cow<'a, str>),
    Base64 { media_type: Cow<'a, str>, data: Cow<'a, str> },
}

/// A PDF document.
pub(super) struct Pdf<'a> {
    pub(super) name: Option<Cow<'a, str>>,
    /// In base64.
    pub(super) data: Cow<'a, str>,
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
    /// Texts, images and documents.
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
    /// A call begins; calls are counted in the order in which they do.
    Call {
        call: u64,
        id: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    /// A piece of a call's arguments. Several calls may be told at the same time, and texts between them.
    Arguments {
        call: u64,
        piece: Cow<'a, str>,
    },
    /// The model is at work on what cannot be told yet, or never: thoughts that one vendor has signed are refused
    /// by the other.
    Thinking,
    End(End),
    Tokens(Tokens),
    /// The dialect's own sign of completeness.
    Complete,
    Ping,
}

impl Event<'_> {
    pub(super) fn into_owned(self) -> Event<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Event::Start { id, model } => Event::Start { id: own(id), model: own(model) },
            Event::Text(text) => Event::Text(own(text)),
            Event::Refusal(text) => Event::Refusal(own(text)),
            Event::Call { call, id, name } => Event::Call { call, id: own(id), name: own(name) },
            Event::Arguments { call, piece } => Event::Arguments { call, piece: own(piece) },
            Event::Thinking => Event::Thinking,
            Event::End(end) => Event::End(end),
            Event::Tokens(tokens) => Event::Tokens(tokens),
            Event::Complete => Event::Complete,
            Event::Ping => Event::Ping,
        }
    }

    /// What it takes to keep it, in bytes.
    pub(super) fn size(&self) -> usize {
        let texts = match self {
            Event::Start { id, model: text } | Event::Call { id, name: text, .. } => id.len() + text.len(),
            Event::Text(text) | Event::Refusal(text) | Event::Arguments { piece: text, .. } => text.len(),
            _ => 0,
        };
        size_of::<Self>() + texts
    }
}
