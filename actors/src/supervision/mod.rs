//! Who watches whom, and what happens after a crash.
//!
//! [`decision`] decides, as a pure state machine; [`supervisor`] is the actor that carries it out; [`child`]
//! starts one life and waits for its end; [`slot`] is the address that outlives it; [`tree`] is what is
//! published of it all. What one life leaves to the next is plain data that the child's factory holds.

pub mod child;
mod decision;
pub mod slot;
pub mod supervisor;
pub mod tree;

pub use child::ChildSpec;
pub use decision::RestartPolicy;
pub use slot::{Handle, SlotState, Undelivered};
pub use supervisor::Supervisor;

#[cfg(test)]
mod tests;
