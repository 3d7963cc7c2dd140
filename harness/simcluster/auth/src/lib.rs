//! Who may do what: RBAC rules, the roles that a cluster starts with, and service-account tokens. Pure.
//!
//! It reads objects as JSON and answers questions. It does not know requests, stores or clocks.

pub mod bootstrap;
pub mod rbac;
pub mod token;
