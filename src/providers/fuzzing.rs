//! What must hold for every input that comes from outside, as properties of plain bytes.
//!
//! `fuzz/run` looks for inputs that break them; every input kept in `fuzz/corpus` is tried by each `cargo test`.
//! A property fails by panicking. Nothing here runs in a shipped program.

use std::{
    iter,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use mainstay_actors::{
    cache::key::Scope,
    call::{Allowance, Allowances, Api, Frame, FrameKind, Request},
    error::{ErrorKind, ProviderError},
    ports::CacheRules,
};
use serde_json::Value;

use super::{
    anthropic::Messages,
    body::{outgoing, read},
    dialect::{Dialect, Meaning},
    errors::{self, Told},
    openai::{Chat, Embeddings, Responses},
    redact::Redactor,
    sse::{Rest, Splitter, TooLarge},
    translate::{self, Back},
};
use crate::caching::Rules;

/// A property of one parser.
pub type Property = fn(&[u8]);

/// All properties, by the name of their corpus.
pub const PROPERTIES: [(&str, Property); 8] = [
    ("sse", sse),
    ("chat", dialect::<Chat>),
    ("messages", dialect::<Messages>),
    ("responses", dialect::<Responses>),
    ("embeddings", dialect::<Embeddings>),
    ("requests", requests),
    ("translation", translation),
    ("errors", answers_other_than_success),
];

/// The key that no message may show.
const KEY: &str = "key-0123456789abcdef";

/// More than any bounded line.
const LINE: usize = 400;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(31 * 24 * 60 * 60);

fn secrets() -> Redactor {
    Redactor::new(Some(KEY.into()))
}

/// The first byte says how the rest is cut into chunks: it gives the same events as in one piece, and no byte
/// is lost.
fn sse(data: &[u8]) {
    let Some((size, text)) = data.split_first() else { return };
    let whole = split(iter::once(text));
    assert_eq!(split(text.chunks(usize::from(*size) + 1)), whole, "the chunking changed the events");
    if let (events, Ok(rest)) = whole {
        let given = events.concat();
        let left = match rest {
            Rest::Nothing => 0,
            Rest::Event(event) => event.len(),
            Rest::Cut(length) => length,
        };
        assert!(text.starts_with(&given) && given.len() + left == text.len(), "bytes were lost");
    }
}

/// The events of these chunks, with a limit that inputs of a fuzzer reach.
fn split<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, Result<Rest, TooLarge>) {
    let (mut splitter, mut events) = (Splitter::new(64), Vec::new());
    for chunk in chunks {
        splitter.push(Bytes::copy_from_slice(chunk));
        loop {
            match splitter.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, Ok(splitter.finish()))
}

/// Any answer, whole or streamed, is understood or refused in one bounded line without the key.
fn dialect<D: Dialect>(data: &[u8]) {
    let secrets = secrets();
    if let Err(error) = D::whole(data, &secrets) {
        is_presentable(&error);
    }
    let mut splitter = Splitter::default();
    splitter.push(Bytes::copy_from_slice(data));
    let mut dialect = D::default();
    while let Ok(Some(event)) = splitter.next_event() {
        if let Err(error) = dialect.event(&event, &secrets) {
            return is_presentable(&error);
        }
    }
}

/// A request that is taken is sent with another model and with or without a stream, and otherwise unchanged. Any may be
/// asked for its key.
fn requests(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for api in [Api::Chat, Api::Messages, Api::Responses, Api::Embeddings] {
        let request = Request::new(body.clone(), 0..0, false).api(api);
        let _ = Rules.key(&request, &Scope::default(), "p/m", true);
        let Ok(asked) = read(api, body.clone()) else { continue };
        for stream in [true, false] {
            let request = Request { stream, ..asked.request.clone() };
            let Ok(sent) = outgoing(&request, "other \"model\"") else {
                panic!("a request that was taken cannot be sent")
            };
            // What nests deeper than we compare is forwarded all the same.
            let Ok(mut before) = serde_json::from_slice::<Value>(&body) else { continue };
            let Ok(mut after) = serde_json::from_slice::<Value>(&sent) else {
                panic!("what is sent is not JSON")
            };
            assert_eq!(before["model"].take(), asked.model);
            assert_eq!(after["model"].take(), "other \"model\"");
            assert_eq!(after["stream"].take().as_bool().unwrap_or_default(), stream);
            before["stream"].take();
            after["stream"].take();
            assert_eq!(before, after, "another member changed");
        }
    }
}

/// A request, a zero and an answer, whole or streamed: what a translation gives out, the other dialect takes.
fn translation(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (request, answer) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for (from, to) in [(Api::Chat, Api::Messages), (Api::Messages, Api::Chat)] {
        for stream in [true, false] {
            let Ok(translated) = translate::request((from, to), request, "m", stream, 0) else { continue };
            let asked = read(to, translated.body);
            assert!(asked.is_ok_and(|asked| asked.model == "m" && asked.request.stream == stream));
        }
    }
    answers::<Messages, Chat>(back(Api::Chat, Api::Messages), answer);
    answers::<Chat, Messages>(back(Api::Messages, Api::Chat), answer);
}

fn back(from: Api, to: Api) -> Back {
    let request = br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let Ok(translated) = translate::request((from, to), request, "m", true, 0) else {
        panic!("a plain request is not translated")
    };
    translated.back
}

fn answers<From: Dialect, To: Dialect>(back: Back, answer: &[u8]) {
    let secrets = secrets();
    if let Ok(whole) = back.answer(answer) {
        assert!(To::whole(&whole, &secrets).is_ok(), "a translated answer is not taken");
    }
    let (mut from, mut to, mut translator) = (From::default(), To::default(), back.stream());
    let mut splitter = Splitter::default();
    splitter.push(Bytes::copy_from_slice(answer));
    while let Ok(Some(bytes)) = splitter.next_event() {
        let Ok(Meaning { kind, usage, .. }) = from.event(&bytes, &secrets) else { return };
        let Ok(frames) = translator.frame(&Frame { usage, ..Frame::new(bytes, kind) }) else { return };
        for frame in frames {
            let taken = to.event(&frame.bytes, &secrets).map(|taken| taken.kind).ok();
            // Signs of work count as content here, so that no timeout strikes; the other way none is missed. What
            // explains a refusal may be content of its own.
            let may_differ = matches!(frame.kind, FrameKind::Content | FrameKind::Refusal);
            let differs = may_differ && taken.is_some_and(|taken| taken != FrameKind::End);
            assert!(differs || taken == Some(frame.kind), "{frame:?} is taken for {taken:?}");
        }
    }
}

/// A status, headers line by line, a blank line and a body: any such answer ends in a presentable error, and
/// what its headers tell is sensible.
fn answers_other_than_success(data: &[u8]) {
    let Some((&[high, low], rest)) = data.split_first_chunk() else { return };
    let status = 300 + u16::from_be_bytes([high, low]) % 300;
    let mut lines = rest.split(|byte| *byte == b'\n');
    let headers: HeaderMap = lines.by_ref().take_while(|line| !line.is_empty()).filter_map(header).collect();
    let body = Bytes::from(lines.collect::<Vec<_>>().join(&b'\n'));
    is_sensible(&Told::read(&headers, SystemTime::UNIX_EPOCH + 20_000 * DAY));
    let error = errors::answer(status, &headers, body.clone(), &secrets());
    is_presentable(&error);
    assert!(error.body.is_none_or(|sent| sent == body));
    is_presentable(&errors::inside(&body, &secrets()));
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

fn is_sensible(told: &Told) {
    assert!(
        told.request_id.as_ref().is_none_or(|id| id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()))
    );
    let Some(allowances) = told.allowances.as_deref() else { return };
    let Allowances { requests, tokens, input_tokens, output_tokens } = *allowances;
    for Allowance { limit, remaining, reset } in [requests, tokens, input_tokens, output_tokens] {
        assert!(limit != Some(0) && limit.max(remaining).is_none_or(|count| count <= 1_000_000_000_000));
        assert!(reset.is_none_or(|reset| !reset.is_zero() && reset <= DAY));
    }
}

fn is_presentable(error: &ProviderError) {
    let ProviderError { kind, message, body, retry_after, .. } = error;
    let longest = if *kind == ErrorKind::QuotaExhausted { MONTH } else { DAY };
    assert!(retry_after.is_none_or(|wait| !wait.is_zero() && wait <= longest), "{error:?}");
    assert!(message.chars().count() <= LINE && !message.contains(char::is_control), "{message:?}");
    let shows = |bytes: &[u8]| bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
    assert!(!shows(message.as_bytes()) && !body.as_deref().is_some_and(shows), "the key is shown");
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn every_input_that_was_kept_holds() {
        for (name, property) in PROPERTIES {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let inputs: Vec<_> = fs::read_dir(&corpus).unwrap().map(|input| input.unwrap().path()).collect();
            assert!(inputs.len() >= 3, "{name} has a corpus");
            for input in inputs {
                property(&fs::read(input).unwrap());
            }
        }
    }
}
