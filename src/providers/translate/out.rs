//! Puts what a writer has made into bytes: bodies, and events of a stream.

use bytes::Bytes;
use mainstay_actors::call::{Frame, FrameKind};
use serde::Serialize;

/// The longest id or model name that is repeated in a stream; each chunk carries both.
const MAX_NAME: usize = 256;

/// Only maps whose keys are no strings cannot be written, and no dialect has one.
pub(super) fn bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// An event of a stream, with its name where the dialect has names.
pub(super) fn frame(name: Option<&str>, data: &impl Serialize, kind: FrameKind) -> Frame {
    let mut event = match name {
        Some(name) => format!("event: {name}\ndata: ").into_bytes(),
        None => b"data: ".to_vec(),
    };
    event.extend_from_slice(&bytes(data));
    event.extend_from_slice(b"\n\n");
    Frame::new(event, kind)
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

/// A name of bounded length.
pub(super) fn short(name: &str) -> String {
    let end = name.char_indices().nth(MAX_NAME).map_or(name.len(), |(end, _)| end);
    name[..end].to_string()
}
