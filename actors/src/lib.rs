//! Mainstay's actors: who decides, who supervises whom, and what callers see of it.
//!
//! ```text
//! root                      one for one; gives up -> EMERGENCY, then an orderly stop
//! ├── mode                  first up, last down
//! ├── cache                 one for one: memory, and what the host adds
//! ├── providers             one for one
//! │     └── NAME            a provider with its circuit and its probe
//! ├── egress                if the host knows how to check it: is it the network, and no provider?
//! └── (what the host adds)  a listener, for example
//! ```
//!
//! One idea runs through all rooms: *actors decide and publish; callers act on what is published, in their own
//! task; everything that happened goes back to the actor as a message.* So a crash of an actor delays nobody,
//! its last decision stands until its next life publishes, and dropping a call drops all that belongs to it.
//!
//! - [`ports`] is what the outside must provide, [`call`], [`error`] and [`event`] are the words that all share.
//! - [`shell`] is the one place that implements ractor's `Actor`; [`supervision`] starts, restarts and stops.
//! - [`provider`] protects one provider, [`chain`] leads one call through several, [`mode`] tells how the
//!   system is.
//! - [`retry`] tries the calls of any other service again, by strategies with names.
//! - [`system`] puts a whole together, [`change`] puts another in its place while it runs; `testing` puts one on virtual time (feature `testing`).
//!
//! Each room keeps its rules beside its actor: a rule is a plain struct with `now` and chance as arguments,
//! tested without a runtime; the actor is what remains.
//!
//! Not here: any network, disk, clock but one, configuration format or dialect. They are the `mainstay` crate's
//! business.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod cache;
pub mod call;
pub mod chain;
pub mod change;
pub mod clock;
pub mod commons;
pub mod egress;
pub mod error;
pub mod event;
pub mod mode;
pub mod ports;
pub mod provider;
pub mod retry;
pub mod shell;
pub mod supervision;
pub mod system;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
