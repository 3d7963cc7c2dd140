//! An operator that runs MySQL from a custom resource and never loses a row.
//!
//! It speaks only to the Kubernetes API. Whatever touches MySQL is a Job that runs `mysql-job` in the
//! instance's own image. Read [`controller`] first: it is one screen, and every step is a module of
//! its own. [`crd`] is what users write, [`names`] what they find, [`ledger`] what is remembered,
//! [`watch`] what wakes the operator up, [`cache`] what that has seen and [`recent`] what it may not have seen
//! yet; [`schedule`], [`quantity`] and [`upgrade`] are small rules on their own.

pub mod arguments;
pub mod cache;
pub mod controller;
pub mod crd;
pub mod hands;
pub mod http;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod names;
pub mod quantity;
pub mod recent;
pub mod retries;
pub mod schedule;
pub mod settings;
pub mod telemetry;
pub mod upgrade;
pub mod watch;
mod written;

pub use settings::Settings;
pub use watch::{Error, run};
