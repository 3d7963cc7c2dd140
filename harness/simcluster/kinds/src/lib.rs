//! What each built-in Kubernetes kind has beyond its schema: defaults, what a write keeps and
//! drops, validation, immutability, the fields selectors may name, and the columns of tables.
//!
//! One file per kind, found by [`rules`]. Everything is a function of its arguments: no store, no
//! clock, no randomness. Types, enums, unknown fields and the way Go writes zero values are the
//! schema's business (`simcluster_machinery`): objects that come here were decoded by it.
//!
//! # A write's way through the rules
//! * create: decode, [`KindRules::default`], mutating admission ([`admission`]), metadata filled in
//!   by the server (name, uid, creationTimestamp), addresses allocated ([`service`]),
//!   [`KindRules::prepare_create`], [`KindRules::check_create`].
//! * update: decode, [`KindRules::default`], admission, [`KindRules::prepare_update`],
//!   [`KindRules::check_update`].
//! * status: decode, [`KindRules::default`], [`KindRules::prepare_status_update`],
//!   [`KindRules::check_status_update`].

mod meta;
mod read;
mod registry;
mod rules;
pub mod table;

pub use meta::{
    NameRule, Scope, carry_server_fields, validate as validate_meta,
    validate_update as validate_meta_update,
};
pub use registry::rules;
pub use rules::KindRules;
