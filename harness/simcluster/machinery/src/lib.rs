//! The pure machinery of the Kubernetes API: schemas, validation, patches, server-side apply,
//! selectors, quantities.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness, no async.

pub mod apply;
#[cfg(test)]
mod arbitrary;
pub mod cel;
pub mod crd;
pub mod custom;
pub mod decode;
pub mod default;
pub mod field;
pub mod go;
pub mod jsonpath;
pub mod kind;
pub mod name;
pub mod patch;
mod pattern;
pub mod prune;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod status;
pub mod validate;
