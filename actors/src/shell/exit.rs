//! How a life ended, as a value: whatever a callback does, it becomes an [`Exit`].
//!
//! What a failure says is cut short here, so that no report, event or log line ever carries more.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::FutureExt;
use serde::Serialize;

/// How many characters of a failure's text are told.
pub(crate) const TOLD: usize = 500;

/// Why a life ends early, in one line for people.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "how", content = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exit {
    /// It stopped by itself or was asked to.
    Normal,
    /// A handler returned an error.
    Failed(String),
    /// A callback panicked.
    Panicked(String),
    /// It was killed, or its task was cancelled.
    Killed,
    /// A callback ran, or a ping waited, for so many milliseconds, and the life was killed.
    Hung(u64),
    /// It did not want to start.
    Skipped,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Panicked(why) => write!(f, "panicked: {why}"),
            Self::Killed => f.write_str("killed"),
            Self::Hung(ms) => write!(f, "hung: no progress for {ms} ms"),
            Self::Skipped => f.write_str("did not want to start"),
        }
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        Self::Failed(told(&failure.0))
    }
}

/// Runs foreign code; a panic becomes a value.
pub(crate) fn contain<T>(
    work: impl Future<Output = Result<T, Exit>>,
) -> impl Future<Output = Result<T, Exit>> {
    let done = AssertUnwindSafe(work).catch_unwind();
    done.map(|done| done.unwrap_or_else(|panic| Err(Exit::Panicked(panic_text(&*panic)))))
}

/// The same for what does not wait.
pub(crate) fn contain_now(work: impl FnOnce()) -> Result<(), Exit> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Exit::Panicked(panic_text(&*panic)))
}

/// The text of a panic, where it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    told(text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message"))
}

fn told(text: &str) -> String {
    match text.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}
