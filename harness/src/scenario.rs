//! Scenarios as files: promises that read like the steps of a verification, run on any cluster.
//!
//! The dialect is chainsaw's (`kind: Test`), of which this runs a documented subset unmodified; folders
//! as kuttl has them; and `kind: Scenario`, the same schema with operations that only a laboratory has:
//! `sql`, `hold`, `operator`, `fault`. `docs/scenarios.md` is the reference.
//!
//! ```no_run
//! use harness::{Cluster, Failure, scenario};
//! # async fn example(cluster: &Cluster) -> Result<(), Failure> {
//! for loaded in scenario::discover("tests/scenarios".as_ref())? {
//!     let run = scenario::run(&loaded, cluster, &mut scenario::NoOperator, &mut scenario::Silent).await;
//!     run.into_result()?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | its one job |
//! |---|---|
//! | [`model`], [`operations`] | what a file says, as data; the published schema is made of it |
//! | [`parse`], [`kuttl`], [`configuration`] | from files to data, strictly |
//! | [`lint`] | what types cannot say |
//! | [`jmespath`] | pure: the language of expressions |
//! | [`expression`], [`assertion`] | pure: expressions with bindings, and fragments compared with objects |
//! | [`mod@run`] | doing it: operations in order, `catch`, `finally`, clean-up |
//! | [`record`] | what happened, as data for reports |
//!
//! It knows the operator under test only as a [`Subject`].

pub mod action;
pub mod assertion;
pub mod configuration;
pub mod duration;
mod environment;
pub mod expression;
pub mod jmespath;
pub mod kuttl;
pub mod lint;
pub mod model;
pub mod operations;
pub mod parse;
pub mod record;
pub mod run;
mod subject;
pub mod values;
mod wildcard;

pub use parse::{LoadError, Loaded, discover, load};
pub use record::{Failed, Observer, Run, Silent, Verdict};
pub use run::{Options, run, run_with};
pub use subject::{Database, NoOperator, Subject};

/// The JSON Schema of scenario files, for editors.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(model::Document).to_value();
    schema["title"] = "A scenario of the harness, or a test of chainsaw".into();
    schema
}
