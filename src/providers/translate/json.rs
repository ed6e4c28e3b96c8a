//! Takes JSON apart member by member, so that nothing that a caller wrote can be overlooked.
//!
//! Whoever reads an object takes the members it knows; what is left over is judged by a table
//! ([`loss`](super::loss)). Values that are not looked into stay slices of the body. What a fault says never
//! quotes the body: that may be a prompt.

use std::{borrow::Cow, fmt, marker::PhantomData};

use mainstay_actors::error::{ErrorKind, ProviderError};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::loss::{Loss, Notes};

/// More members than any object of a dialect has; an object with more is not making sense.
const MAX_MEMBERS: usize = 64;

/// Why something cannot be translated, and where it stands.
#[derive(Debug)]
pub(super) struct Fault {
    kind: Kind,
    problem: Cow<'static, str>,
    place: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Shape,
    Unsupported,
    Truncated,
}

impl Fault {
    /// What stands there is not what its dialect promises.
    pub(super) fn shape(problem: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Shape, problem.into())
    }

    /// It makes sense, but the other dialect has no words for it and it must not be lost.
    pub(super) fn unsupported(part: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unsupported, part.into())
    }

    /// A stream says that it is complete, and has not told why.
    pub(super) fn truncated() -> Self {
        Self::new(Kind::Truncated, "the stream ended without a reason".into())
    }

    fn new(kind: Kind, problem: Cow<'static, str>) -> Self {
        Self { kind, problem, place: String::new() }
    }

    /// Further out, it stands in `step`.
    pub(super) fn at(mut self, step: impl fmt::Display) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{step}{dot}{}", self.place);
        self
    }

    /// The error it ends in: `shape` for what is not as promised, by whoever promised it.
    pub(super) fn into_error(self, shape: ErrorKind) -> ProviderError {
        let Self { kind, problem, place } = self;
        let place = if place.is_empty() { place } else { format!(" (`{place}`)") };
        let (kind, what) = match kind {
            Kind::Shape => (shape, "cannot be translated"),
            Kind::Unsupported => (ErrorKind::Unsupported, "cannot be said in the other dialect"),
            Kind::Truncated => (ErrorKind::Truncated, "not whole"),
        };
        ProviderError::new(kind, format!("{what}: {problem}{place}"))
    }
}

/// What lists are made of.
pub(super) trait Element<'a>: Deserialize<'a> {
    /// What is wrong with anything else.
    const EXPECTED: &'static str;
}

/// A string that is borrowed where it holds no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'a> Element<'a> for Text<'a> {
    const EXPECTED: &'static str = "expected a string";
}

/// The first element of a list; the others are looked at by nobody.
pub(super) struct First<T>(pub(super) Option<T>);

/// An object, as its members that nobody has taken yet.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Element<'a> for Object<'a> {
    const EXPECTED: &'static str = "expected an object without repeated members";
}

impl<'a> Object<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(json).map_err(|_| Fault::shape("not UTF-8"))?;
        let wrong = |error: serde_json::Error| if error.is_data() { Self::EXPECTED } else { "not JSON" };
        serde_json::from_str(text).map_err(|error| Fault::shape(wrong(error)))
    }

    pub(super) fn read(raw: &'a RawValue) -> Result<Self, Fault> {
        serde_json::from_str(raw.get()).map_err(|_| Fault::shape(Self::EXPECTED))
    }

    /// A member as it stands; one that is `null` is as good as absent.
    pub(super) fn any(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(member, _)| member == name)?;
        let (_, value) = self.0.swap_remove(at);
        (value.get() != "null").then_some(value)
    }

    fn take<T: Deserialize<'a>>(&mut self, name: &'static str, expected: &str) -> Result<Option<T>, Fault> {
        let Some(value) = self.any(name) else { return Ok(None) };
        let read = serde_json::from_str(value.get());
        read.map(Some).map_err(|_| Fault::shape(format!("expected {expected}")).at(name))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, Fault> {
        Ok(self.take::<Text<'a>>(name, "a string")?.map(|text| text.0))
    }

    pub(super) fn whole(&mut self, name: &'static str) -> Result<Option<u64>, Fault> {
        self.take(name, "a whole number")
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Fault> {
        self.take(name, "a number")
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        self.take(name, "a boolean")
    }

    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Self>, Fault> {
        self.any(name).map(Self::read).transpose().map_err(|fault| fault.at(name))
    }

    /// Gives each element of a list to `f`; an absent list has none.
    pub(super) fn each<T: Element<'a>>(
        &mut self,
        name: &'static str,
        f: impl FnMut(T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.any(name).map_or(Ok(()), |list| each(list, f)).map_err(|fault| fault.at(name))
    }

    /// Judges what nobody has taken.
    pub(super) fn rest(self, losses: &[Loss], notes: &mut Notes) -> Result<(), Fault> {
        let written = self.0.into_iter().filter(|(_, value)| value.get() != "null");
        written.into_iter().try_for_each(|(member, value)| notes.judge(&member, value.get(), losses))
    }
}

/// A member that must be there.
pub(super) fn needed<T>(member: Option<T>, name: &'static str) -> Result<T, Fault> {
    member.ok_or_else(|| Fault::shape(format!("`{name}` is missing")))
}

pub(super) fn is_text(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

pub(super) fn text(raw: &RawValue) -> Result<Cow<'_, str>, Fault> {
    let text: Result<Text<'_>, _> = serde_json::from_str(raw.get());
    text.map(|text| text.0).map_err(|_| Fault::shape(Text::EXPECTED))
}

/// Gives each element of `list` to `f`, one after the other: a list is never held as a whole.
pub(super) fn each<'a, T: Element<'a>>(
    list: &'a RawValue,
    f: impl FnMut(T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut fault = None;
    let elements = Elements { f, fault: &mut fault, of: PhantomData };
    let read = serde_json::Deserializer::from_str(list.get()).deserialize_seq(elements);
    read.map_err(|_| fault.unwrap_or_else(|| Fault::shape("expected an array")))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<First<T>, A::Error> {
                let first = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }

        deserializer.deserialize_seq(List(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some((Text(name), value)) = map.next_entry()? {
            // Of two members of one name, the other provider may take the other one.
            if members.len() == MAX_MEMBERS || members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("too many members"));
            }
            members.push((name, value));
        }
        Ok(Object(members))
    }
}

struct Elements<'f, F, T> {
    f: F,
    fault: &'f mut Option<Fault>,
    of: PhantomData<T>,
}

impl<'de, T: Element<'de>, F: FnMut(T) -> Result<(), Fault>> Visitor<'de> for Elements<'_, F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let told = match seq.next_element() {
                Ok(None) => break,
                Ok(Some(element)) => (self.f)(element),
                Err(_) => Err(Fault::shape(T::EXPECTED)),
            };
            if let Err(fault) = told {
                *self.fault = Some(fault.at(format_args!("[{index}]")));
                return Err(A::Error::custom("a fault"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(fault: Fault) -> String {
        fault.into_error(ErrorKind::BadRequest).message
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let mut object = Object::parse(br#"{"messages":[{"content":"a"},{"content":[7]}]}"#).unwrap();
        let fault = object.each("messages", |message| {
            let mut message: Object<'_> = message;
            message.each("content", |_: Object<'_>| Ok(()))
        });
        let first = place_of(fault.unwrap_err());
        assert_eq!(first, "cannot be translated: expected an array (`messages[0].content`)");
        let mut object = Object::parse(br#"{"messages":[{"content":[{},7]}]}"#).unwrap();
        let fault = object.each("messages", |message| {
            let mut message: Object<'_> = message;
            message.each("content", |_: Object<'_>| Ok(()))
        });
        assert!(place_of(fault.unwrap_err()).ends_with("(`messages[0].content[1]`)"));
    }

    #[test]
    fn a_member_that_stands_twice_and_one_too_many_are_refused() {
        assert!(Object::parse(br#"{"a":1,"\u0061":2}"#).is_err());
        let many =
            |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
        assert!(Object::parse(many(MAX_MEMBERS).as_bytes()).is_ok());
        assert!(Object::parse(many(MAX_MEMBERS + 1).as_bytes()).is_err()); // GW6
    }

    #[test]
    fn null_is_as_good_as_absent_and_wrong_types_are_named_without_quoting() {
        let mut object = Object::parse(br#"{"a":null,"b":"secret"}"#).unwrap();
        assert!(object.text("a").unwrap().is_none());
        let message = place_of(object.whole("b").unwrap_err());
        assert_eq!(message, "cannot be translated: expected a whole number (`b`)"); // SE4
    }
}
