//! A pod's volumes: what each needs, the files it holds, where it lies on the node, how it is mounted.
//!
//! [`payload`] (which files with which bytes) and [`mounts`] (which volume where in a container) are
//! pure. [`place`] makes directories, [`mod@write`] writes files so that readers see all of a change or
//! nothing of it, [`setup`] fetches what a pod's volumes refer to and puts them in place.

pub(crate) mod in_memory;
pub(crate) mod mounts;
pub(crate) mod payload;
pub(crate) mod place;
pub(crate) mod setup;
pub(crate) mod write;
