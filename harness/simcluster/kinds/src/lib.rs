//! What each built-in Kubernetes kind has beyond its schema: defaults, what a write keeps and
//! drops, validation, immutability, the fields selectors may name, and the columns of tables.
//!
//! One file per kind, found by [`rules`]. Everything is a function of its arguments: no store, no
//! clock, no randomness. Types, enums, unknown fields and the way Go writes zero values are the
//! schema's business (`simcluster_machinery`): objects that come here were decoded by it.
//!
//! # A write's way through the rules
//! * create: decode, [`KindRules::default`], mutating admission ([`admission`]), metadata filled in
//!   by the server (name, uid, creationTimestamp), addresses allocated ([`service::wanted`]),
//!   [`KindRules::prepare_create`], [`KindRules::check_create`].
//! * update: decode, [`KindRules::default`], admission, [`carry_server_fields`], addresses,
//!   [`KindRules::prepare_update`], [`KindRules::check_update`].
//! * status: decode, [`KindRules::default`], [`KindRules::prepare_status_update`],
//!   [`KindRules::stamp_status`], [`KindRules::check_status_update`].

mod addresses;
pub mod admission;
mod admission_binding;
pub mod admission_cel;
mod admission_policy;
pub mod certificate_signing_request;
mod checks;
mod config_map;
mod cron_job;
mod daemon_set;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod event;
mod flow_control;
mod horizontal_pod_autoscaler;
mod infrastructure;
mod ingress;
mod job;
mod lease;
mod limit_range;
mod meta;
mod mutating_policy;
pub mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
pub mod pod;
mod pod_disruption_budget;
mod priority_class;
mod rbac;
mod read;
mod registry;
mod replica_set;
mod replication_controller;
mod resource_quota;
mod resources;
mod rules;
mod secret;
pub mod service;
mod service_account;
mod stateful_set;
mod storage_class;
mod stored;
pub mod table;
mod warnings;
mod webhook_configuration;
mod workload_status;

pub use meta::{
    NameRule, Scope, carry_server_fields, dedup_owner_references, finalizer_warnings,
    keep_all_but_status, validate as validate_meta, validate_update as validate_meta_update,
};
pub use registry::rules;
pub use rules::KindRules;
