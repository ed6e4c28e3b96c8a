//! The one form in which a kept answer leaves the memory, for a file or for a server shared with others.
//!
//! A row is a version, a seal, a head and a body. The seal is a digest keyed with a secret; it covers all the rest and
//! the key under which the row stands, so that neither a damaged row nor one moved elsewhere is ever taken for an
//! answer. With a public secret it is a checksum; with a real one nobody else can make rows. Even behind a good seal
//! every length is checked before it is believed. Verdicts on requests have no row: they never leave the memory.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_actors::{
    cache::{
        entry::{Entry, Kept, KeptFrame, UnixMs, Windows},
        key::{Key, Scope},
    },
    call::{FrameKind, Usage},
};
use serde::{Deserialize, Serialize};

/// Keys the seal.
pub type Secret = [u8; 32];

/// The largest answer that any policy lets be kept, in bytes.
pub const LARGEST: usize = 16 << 20;
/// The form of rows; a higher one was written by a newer Mainstay.
const VERSION: u8 = 1;
const SEAL: usize = 16;
/// Version and seal.
const PREFIX: usize = 1 + SEAL;
/// What a row may take beyond its answer: names, tags, the places of frames.
const ROOM: usize = 1 << 20;

/// Why a row is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Its form is not known here.
    #[error(
        "a newer Mainstay wrote it (form {0}): use that one for all who share the cache, or let it expire"
    )]
    Newer(u8),
    /// The seal does not fit: the row is damaged, was moved, or was made with another secret.
    #[error("its seal is broken")]
    Seal,
    /// It is sealed but says what cannot be.
    #[error("it is sealed but makes no sense")]
    Senseless,
    /// Its answer is larger than allowed.
    #[error("its answer is larger than allowed")]
    TooLarge,
}

/// All of an entry but its answer.
#[derive(Serialize, Deserialize)]
struct Head {
    scope: Scope,
    tags: Vec<Arc<str>>,
    begun: UnixMs,
    /// `made`, `fresh`, `stale`, `error`.
    windows: [UnixMs; 4],
    provider: Arc<str>,
    model: Arc<str>,
    upstream_request_id: Option<Arc<str>>,
    /// Tokens read and written.
    usage: Option<(u64, u64)>,
    took_ms: u64,
    is_stream: bool,
    /// Bytes of the body as it was before it was compressed. A body that takes as many was not.
    size: u64,
}

/// The place of one frame in the body: its length, kind and time.
type FrameMark = (u32, u8, u64);

const KINDS: [FrameKind; 4] = [FrameKind::Ping, FrameKind::Note, FrameKind::Content, FrameKind::End];

/// The row of an entry under `key`; none for what must not leave the memory.
pub fn seal(key: &Key, entry: &Entry, secret: &Secret) -> Option<Vec<u8>> {
    let body = body(&entry.answer)?;
    let mut row = vec![0; PREFIX];
    row[0] = VERSION;
    row = postcard::to_extend(&head(entry, body.len()), row).ok()?;
    let packed = lz4_flex::block::compress(&body);
    row.extend_from_slice(if packed.len() < body.len() { &packed } else { &body });
    let seal = seal_of(key, &row, secret);
    row[1..PREFIX].copy_from_slice(&seal);
    Some(row)
}

/// The entry of a row found under `key`, if its answer takes at most `largest` bytes.
pub fn open(key: &Key, row: &[u8], secret: &Secret, largest: usize) -> Result<Entry, Corrupt> {
    if row.len() > largest.saturating_add(ROOM) {
        return Err(Corrupt::TooLarge);
    }
    let rest = after_version(row)?;
    if !is_same(&rest[..SEAL], &seal_of(key, row, secret)) {
        return Err(Corrupt::Seal);
    }
    let (head, packed) = take::<Head>(&rest[SEAL..])?;
    let answer = answer(&head, packed, largest)?;
    head.entry(answer)
}

/// What the beginning of a row says of its entry, without the answer. The seal is not looked at: this is for
/// tidying, never for answering.
pub fn peek(row: &[u8]) -> Result<Entry, Corrupt> {
    let (head, _) = take::<Head>(&after_version(row)?[SEAL..])?;
    head.entry(Kept::Whole(Bytes::new()))
}

/// Seal and all that follows it.
fn after_version(row: &[u8]) -> Result<&[u8], Corrupt> {
    match row.split_first() {
        Some((&VERSION, rest)) if rest.len() >= SEAL => Ok(rest),
        Some((&version, _)) if version > VERSION => Err(Corrupt::Newer(version)),
        _ => Err(Corrupt::Seal),
    }
}

/// The seal that a row must bear, whatever stands in its place.
fn seal_of(key: &Key, row: &[u8], secret: &Secret) -> [u8; SEAL] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&key.0).update(&row[..1]).update(&row[PREFIX..]);
    let mut seal = [0; SEAL];
    hasher.finalize_xof().fill(&mut seal);
    seal
}

/// Takes equally long wherever they differ, so that no seal can be guessed byte by byte.
fn is_same(a: &[u8], b: &[u8; SEAL]) -> bool {
    a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Corrupt> {
    postcard::take_from_bytes(bytes).map_err(|_| Corrupt::Senseless)
}

fn head(entry: &Entry, size: usize) -> Head {
    let Windows { made, fresh, stale, error } = entry.windows;
    Head {
        scope: entry.scope.clone(),
        tags: entry.tags.clone(),
        begun: entry.begun,
        windows: [made, fresh, stale, error],
        provider: entry.provider.clone(),
        model: entry.model.clone(),
        upstream_request_id: entry.upstream_request_id.clone(),
        usage: entry.usage.map(|usage| (usage.input_tokens, usage.output_tokens)),
        took_ms: entry.took_ms,
        is_stream: matches!(entry.answer, Kept::Stream(_)),
        size: size as u64,
    }
}

impl Head {
    fn entry(self, answer: Kept) -> Result<Entry, Corrupt> {
        let [made, fresh, stale, error] = self.windows;
        if !self.windows.is_sorted() {
            return Err(Corrupt::Senseless);
        }
        Ok(Entry {
            scope: self.scope,
            tags: self.tags,
            begun: self.begun,
            windows: Windows { made, fresh, stale, error },
            provider: self.provider,
            model: self.model,
            upstream_request_id: self.upstream_request_id,
            usage: self.usage.map(|(input_tokens, output_tokens)| Usage { input_tokens, output_tokens }),
            took_ms: self.took_ms,
            answer,
        })
    }
}

/// An answer as one piece: that of a stream begins with the places of its frames.
fn body(answer: &Kept) -> Option<Bytes> {
    let frames = match answer {
        Kept::Whole(body) => return Some(body.clone()),
        Kept::Refused(_) => return None,
        Kept::Stream(frames) => frames,
    };
    let marks: Option<Vec<FrameMark>> = frames.iter().map(mark).collect();
    let mut body = postcard::to_allocvec(&marks?).ok()?;
    frames.iter().for_each(|frame| body.extend_from_slice(&frame.bytes));
    Some(body.into())
}

fn mark(frame: &KeptFrame) -> Option<FrameMark> {
    let kind = KINDS.iter().position(|kind| *kind == frame.kind)?;
    Some((frame.bytes.len().try_into().ok()?, kind as u8, frame.after_ms))
}

fn answer(head: &Head, packed: &[u8], largest: usize) -> Result<Kept, Corrupt> {
    let body = unpack(head.size, packed, largest)?;
    if !head.is_stream {
        return Ok(Kept::Whole(body));
    }
    let (marks, rest) = take::<Vec<FrameMark>>(&body)?;
    let mut rest = body.slice_ref(rest);
    let frames = marks.into_iter().map(|mark| frame(mark, &mut rest)).collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(Kept::Stream(frames)) } else { Err(Corrupt::Senseless) }
}

fn frame((len, kind, after_ms): FrameMark, rest: &mut Bytes) -> Result<KeptFrame, Corrupt> {
    let kind = *KINDS.get(kind as usize).ok_or(Corrupt::Senseless)?;
    if len as usize > rest.len() {
        return Err(Corrupt::Senseless);
    }
    Ok(KeptFrame { bytes: rest.split_to(len as usize), kind, after_ms })
}

/// Never allocates more than was said and is allowed.
fn unpack(size: u64, packed: &[u8], largest: usize) -> Result<Bytes, Corrupt> {
    let size = usize::try_from(size).map_err(|_| Corrupt::TooLarge)?;
    if size > largest.saturating_add(ROOM) {
        return Err(Corrupt::TooLarge);
    }
    if size == packed.len() {
        return Ok(Bytes::copy_from_slice(packed));
    }
    let mut body = vec![0; size];
    match lz4_flex::block::decompress_into(packed, &mut body) {
        Ok(written) if written == size => Ok(body.into()),
        _ => Err(Corrupt::Senseless),
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
