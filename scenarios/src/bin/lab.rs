//! Placeholder until the facade lands.
fn main() {}
