//! What can be made to go wrong, and how it is written down.
//!
//! One word, for some with a number: `hang`, `cut-after=2`. A status may carry headers: `status=429;
//! retry-after=2`, and an exact answer its body. The same grammar serves models, headers, the control endpoint and the command line.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};

/// One way to fail. Numbers count the events of a stream, those before its first word included; a whole answer
/// has no events, and breaks in its middle whatever the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `status=CODE`, then any `; name=value` headers: an error answer of the vendor's kind.
    Status(u16, Vec<(HeaderName, HeaderValue)>),
    /// `exact=CODE`, any `; name=value` headers, then `; body=` and all that follows: exactly this answer.
    Exact(u16, Vec<(HeaderName, HeaderValue)>, Bytes),
    /// `hang`: the request is read and nothing ever comes.
    Hang,
    /// `hang-after=N`: silence after N events.
    HangAfter(usize),
    /// `cut-after=N`: the body ends properly after N events.
    CutAfter(usize),
    /// `reset`: the connection is reset before an answer.
    Reset,
    /// `reset-after=N`: the connection is reset after N events.
    ResetAfter(usize),
    /// `malformed`: what should be JSON is not.
    Malformed,
    /// `slow=MS`: the first event, or the whole answer's body, comes late.
    Slow(Duration),
    /// `no-done`: everything comes but the last event.
    NoDone,
    /// `error-after=N`: an error event after N events; in place of a whole answer, with status 200.
    ErrorAfter(usize),
    /// `pings`: keep-alives for ever and nothing else; a whole answer hangs after its headers.
    Pings,
    /// `empty`: an answer without a body.
    Empty,
}

/// Not a fault; says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a fault; try status=503, status=429; retry-after=2, exact=200; body=x, hang, hang-after=2, cut-after=2, reset, \
         reset-after=2, malformed, slow=500, no-done, error-after=2, pings or empty"
)]
pub struct UnknownFault(String);

impl Fault {
    /// Its word, without numbers: what counters are kept by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status(..) => "status",
            Self::Exact(..) => "exact",
            Self::Hang => "hang",
            Self::HangAfter(_) => "hang-after",
            Self::CutAfter(_) => "cut-after",
            Self::Reset => "reset",
            Self::ResetAfter(_) => "reset-after",
            Self::Malformed => "malformed",
            Self::Slow(_) => "slow",
            Self::NoDone => "no-done",
            Self::ErrorAfter(_) => "error-after",
            Self::Pings => "pings",
            Self::Empty => "empty",
        }
    }

    /// An error answer without further headers.
    pub fn status(code: u16) -> Self {
        Self::Status(code, Vec::new())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Status(code, headers) => write_head(f, *code, headers),
            Self::Exact(code, headers, body) => {
                write_head(f, *code, headers)?;
                write!(f, "; body={}", String::from_utf8_lossy(body))
            }
            Self::HangAfter(n) | Self::CutAfter(n) | Self::ResetAfter(n) | Self::ErrorAfter(n) => {
                write!(f, "={n}")
            }
            Self::Slow(wait) => write!(f, "={}", wait.as_millis()),
            _ => Ok(()),
        }
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, code: u16, headers: &[(HeaderName, HeaderValue)]) -> fmt::Result {
    write!(f, "={code}")?;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().try_for_each(|(name, value)| write!(f, "; {name}={}", text(value)))
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        parse(text).ok_or_else(|| UnknownFault(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<Fault> {
    if let Some(exact) = text.strip_prefix("exact=") {
        return self::exact(exact);
    }
    let mut parts = text.split(';').map(str::trim);
    let head = parts.next()?;
    let fault = match head.split_once('=') {
        Some(("status", code)) => {
            return Some(Fault::Status(status(code)?, parts.map(header).collect::<Option<_>>()?));
        }
        Some(("hang-after", n)) => Fault::HangAfter(n.parse().ok()?),
        Some(("cut-after", n)) => Fault::CutAfter(n.parse().ok()?),
        Some(("reset-after", n)) => Fault::ResetAfter(n.parse().ok()?),
        Some(("error-after", n)) => Fault::ErrorAfter(n.parse().ok()?),
        Some(("slow", ms)) => Fault::Slow(Duration::from_millis(ms.parse().ok()?)),
        Some(_) => return None,
        None => word(head)?,
    };
    parts.next().is_none().then_some(fault)
}

fn word(word: &str) -> Option<Fault> {
    Some(match word {
        "hang" => Fault::Hang,
        "reset" => Fault::Reset,
        "malformed" => Fault::Malformed,
        "no-done" => Fault::NoDone,
        "pings" => Fault::Pings,
        "empty" => Fault::Empty,
        _ => return None,
    })
}

/// Its body may hold anything, so it is what is left after the first mark of one.
fn exact(text: &str) -> Option<Fault> {
    let (head, body) = text.split_once("; body=")?;
    let mut parts = head.split(';').map(str::trim);
    let code = parts.next()?.parse().ok().filter(|code| (200..600).contains(code))?;
    Some(Fault::Exact(code, parts.map(header).collect::<Option<_>>()?, body.to_string().into()))
}

fn status(code: &str) -> Option<u16> {
    code.parse().ok().filter(|code| (300..600).contains(code))
}

/// The framing of the answer is the server's own.
fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let name: HeaderName = name.trim().parse().ok()?;
    let framing = matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection");
    let value = HeaderValue::from_str(value.trim()).ok()?;
    (!framing).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_fault() -> impl Strategy<Value = Fault> {
        let header = ("x-[a-z]{1,8}", "[!-:<-~]{1,8}");
        let headers = prop::collection::vec(header, 0..3).prop_map(|pairs| {
            pairs.into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect()
        });
        prop_oneof![
            (300u16..600, headers.clone()).prop_map(|(code, headers)| Fault::Status(code, headers)),
            (200u16..600, headers, ".{0,20}").prop_map(|(code, headers, b)| Fault::Exact(
                code,
                headers,
                b.into()
            )),
            any::<usize>().prop_map(Fault::HangAfter),
            any::<usize>().prop_map(Fault::CutAfter),
            any::<usize>().prop_map(Fault::ResetAfter),
            any::<usize>().prop_map(Fault::ErrorAfter),
            any::<u64>().prop_map(|ms| Fault::Slow(Duration::from_millis(ms))),
            prop::sample::select(vec![
                Fault::Hang,
                Fault::Reset,
                Fault::Malformed,
                Fault::NoDone,
                Fault::Pings,
                Fault::Empty,
            ]),
        ]
    }

    #[test]
    fn what_is_not_a_fault_is_refused_with_examples() {
        for text in [
            "",
            "hung",
            "hang=1",
            "cut-after",
            "slow=-1",
            "status=200",
            "status=503; x",
            "hang; x=1",
            "status=503; content-length=9",
            "exact=200",
            "exact=199; body=",
            "exact=200; content-length=9; body=",
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains("try status=503"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(fault in any_fault()) {
            prop_assert_eq!(fault.to_string().parse(), Ok(fault));
        }

        #[test]
        fn hostile_text_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Fault>();
        }
    }
}
