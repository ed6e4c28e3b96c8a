//! The system tests.
fn main() {}
