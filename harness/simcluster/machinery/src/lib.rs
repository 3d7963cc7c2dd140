//! The pure machinery of the Kubernetes API: schemas, validation, patches, server-side apply,
//! selectors, quantities.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness, no async.

pub mod field;
pub mod kind;
pub mod name;
pub mod quantity;
pub mod schema;
pub mod status;
