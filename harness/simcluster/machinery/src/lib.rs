//! The pure machinery of the Kubernetes API: schemas, validation, patches, server-side apply,
//! selectors, quantities.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness, no async. What
//! an API server does with a request passes through it in this order:
//!
//! 1. [`decode`] reads the body by its [`schema`]: built-in kinds ([`schema::builtin`]) as Go
//!    would, custom resources with [`custom`], which [`prune`]s them.
//! 2. [`patch`] or [`apply`] makes the new object of the live one; [`apply`] also keeps the record
//!    of who manages which fields.
//! 3. [`default`] and [`validate`] and the rules in [`cel`] speak for custom resources; [`crd`]
//!    judges their definitions. What holds for one built-in kind only is not known here.
//! 4. [`status`] says what went wrong, in the words of the real server, with [`field`] errors as
//!    causes.
//!
//! [`selector`], [`quantity`], [`name`], [`cron`] and [`jsonpath`] read the small languages in between; [`go`]
//! writes values as Go does where a text shows them.

pub mod apply;
#[cfg(test)]
mod arbitrary;
pub mod cel;
pub mod crd;
pub mod cron;
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
pub mod webhook_client;
