//! From the specs of a pod and an image to what the runtime is told to run. Pure.
//!
//! Nothing here reads the API or starts anything: references are fetched before (see [`references`]),
//! and the worker of a pod acts on the result.

pub(crate) mod command;
pub(crate) mod environment;
pub(crate) mod expansion;
pub(crate) mod fields;
pub(crate) mod identity;
pub(crate) mod references;
pub(crate) mod service_links;
