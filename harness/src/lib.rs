//! Clusters for the tests of a Kubernetes operator, waiting on conditions, and evidence of what failed.
//!
//! A test is a function of a [`Cluster`]: it applies objects, waits for what a user would see, and
//! returns an error or panics when a promise is broken. [`prove`] gives it a cluster of its own, ends
//! the cluster whatever happens, and keeps [`evidence`] of a failure.
//!
//! ```no_run
//! use harness::{conditions, prove};
//! use k8s_openapi::api::apps::v1::Deployment;
//!
//! prove(async |cluster| {
//!     cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}").await?;
//!     let deployments = cluster.namespaced::<Deployment>();
//!     cluster.wait(&deployments, "web", conditions::deployment_available()).await?;
//!     Ok(())
//! });
//! ```
//!
//! | module | its one job |
//! |---|---|
//! | [`cluster`] | a client and a namespace to work in; typed and untyped access |
//! | [`backend`] | where the cluster comes from, and how it ends |
//! | [`objects`] | manifests: parse, apply, delete |
//! | [`conditions`] | what one waits for, as values |
//! | [`wait`] | watch until a condition holds; say what was last seen |
//! | [`port_forward`] | a local port that leads into a pod |
//! | [`sql`] | a MySQL client through such a port |
//! | [`journal`] | the requests of the operator under test, recorded |
//! | [`faults`] | what goes wrong at the operator's requests, and the proof that it did |
//! | [`scenario`] | scenarios as YAML: chainsaw's dialect, kuttl's folders, and what a laboratory adds |
//! | [`operator`] | the operator under test, as a task or as a process |
//! | [`history`] | every version of an object: what changed, when, by whom, why |
//! | [`past`] | a cluster as it was at a revision, served read-only |
//! | [`report`] | runs as JUnit XML, as one page with a picture, and on a terminal |
//! | [`evidence`] | what a failed run leaves behind |
//! | [`proof`] | one test's life: start, body, evidence, end |
//!
//! It does not know any particular operator, and MySQL only as a database that a scenario speaks to.

pub mod backend;
pub mod cluster;
pub mod conditions;
pub mod evidence;
pub mod faults;
pub mod history;
pub mod journal;
pub mod objects;
pub mod operator;
pub mod past;
pub mod port_forward;
pub mod proof;
pub mod report;
pub mod scenario;
pub mod sql;
pub mod wait;

pub use cluster::Cluster;
pub use proof::{Failure, prove};
