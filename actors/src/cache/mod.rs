//! Answers that are kept, so that a repeated question costs nothing and an outage is not felt.
//!
//! An [`Entry`](entry::Entry) is kept under a [`Key`](key::Key) and never changes; its instants go with it wherever it
//! is copied. What is purged is not searched for: a [mark](marks) makes everything invisible that was begun before
//! it, in every tier at once. How the bytes of a key come about, and what an entry looks like on a disk or on a wire,
//! is the [`ports`](crate::ports)' business.

pub mod control;
pub mod entry;
mod flight;
pub mod gate;
pub mod key;
pub mod marks;
pub mod memory;
mod shelf;
pub mod stats;
mod story;
#[cfg(test)]
mod testing;
pub mod tier;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub(crate) use flight::Leader;
pub use shelf::{Cache, CachePlan, CacheStatus, Purged};
pub(crate) use shelf::{Held, Landed, Question};
pub use story::{CacheStory, Lack};
