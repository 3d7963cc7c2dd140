//! Container images as root file systems on disk: where they come from and the cache that keeps them.
//!
//! It does not run anything of an image and does not know Kubernetes.

use std::path::PathBuf;

/// An image that is ready to run.
#[derive(Clone, Debug)]
pub struct Image {
    /// What was asked for: `mysql:5.7`.
    pub reference: String,
    /// What it truly is: `mysql:9.7.4 (Debian mysql-server-core 9.7.4-1)`; equals the reference when genuine.
    pub resolved: String,
    /// `sha256:…` of the content.
    pub digest: String,
    /// Root file system layers, lowest first, each a directory that nobody writes to.
    pub layers: Vec<PathBuf>,
    /// How to run it.
    pub config: ImageConfig,
    /// Where `resolved` stands in for `reference`: a sentence that says so, for an Event and for users.
    pub substitution: Option<String>,
}

/// The part of an OCI image configuration that running needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageConfig {
    /// `ENTRYPOINT`
    pub entrypoint: Vec<String>,
    /// `CMD`
    pub cmd: Vec<String>,
    /// `ENV`, as `NAME=value`
    pub env: Vec<String>,
    /// `USER`: name or number, optionally `:group`; empty means root.
    pub user: String,
    /// `WORKDIR`
    pub working_dir: String,
    /// `STOPSIGNAL`, for example `SIGTERM`.
    pub stop_signal: Option<String>,
}
