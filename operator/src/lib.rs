//! An operator that runs MySQL from a custom resource and never loses a row.
//!
//! It speaks only to the Kubernetes API. Whatever touches MySQL is a Job that runs `mysql-job` in the
//! instance's own image. Read [`controller`] first: it is one screen, and every step is a module of
//! its own. [`crd`] is what users write, [`names`] what they find, [`ledger`] what is remembered,
//! [`watch`] what wakes the operator up.

pub mod arguments;
pub mod controller;
pub mod crd;
pub mod http;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod names;
pub mod retries;
pub mod settings;
pub mod telemetry;
pub mod watch;

pub use settings::Settings;
pub use watch::{Error, run};
