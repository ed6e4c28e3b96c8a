//! Who watches whom, and what happens after a crash.
//!
//! [`policy`] holds the settings; [`decision`] decides, as a pure state machine; [`supervisor`] is the actor that
//! carries it out; [`child`] is what it knows of a child, and [`life`] one life of it; [`slot`] is the address that
//! outlives it; [`below`] and [`tree`] are what is seen of it all; [`admin`] is what can be asked of a supervisor; a [`vault`]
//! holds what one life leaves to the next.

pub mod admin;
pub(crate) mod below;
pub mod child;
mod decision;
pub(crate) mod life;
pub mod policy;
pub mod slot;
pub mod supervisor;
pub mod tree;
pub mod vault;

pub use admin::{AdminError, BadSpec, Children};
pub use child::ChildSpec;
pub use policy::{AutoShutdown, Restart, RestartPolicy, Shutdown, Strategy};
pub use slot::{CallError, Handle, Patience, Reply, SlotState, Undelivered};
pub use supervisor::Supervisor;
pub use vault::{Legacy, Vault};

#[cfg(test)]
mod tests;
