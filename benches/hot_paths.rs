//! Costs of the hot paths.
fn main() {}
