//! Entries for tests.

use std::sync::Arc;

use super::{
    control::{CacheControl, CachePolicy},
    entry::{Entry, Kept, Windows},
    key::Scope,
};
use crate::call::Usage;

/// An answer of so many bytes, made at 1 s after the epoch under the default policy.
pub(super) fn entry(bytes: usize) -> Arc<Entry> {
    Arc::new(Entry {
        scope: Scope::default(),
        tags: Vec::new(),
        begun: 1_000,
        windows: Windows::new(1_000, &CachePolicy::default(), &CacheControl::default()),
        provider: "a".into(),
        model: "m".into(),
        upstream_request_id: None,
        usage: Some(Usage { input_tokens: 7, output_tokens: 9 }),
        took_ms: 1_500,
        answer: Kept::Whole(vec![b'x'; bytes].into()),
    })
}
