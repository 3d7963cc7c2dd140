//! Container images as root file systems on disk: where they come from and the cache that keeps them.
//!
//! An [`ImageStore`] turns a reference into an [`Image`]: directories that can be mounted over one
//! another, and how to run what is in them. It asks its sources in turn:
//!
//! 1. [`local`]: images that the program itself registered, made of single files.
//! 2. [`oci`]: OCI layouts and `docker save` archives on disk, or imported into the cache before.
//! 3. [`registry`]: pulled from where the reference says, with this user's credentials or a [`login`] of the asker's.
//! 4. [`engine`]: what the local Docker engine has.
//! 5. [`apt`]: root file systems assembled from the distribution's packages, with an
//!    [`entrypoint`] of our own. No root, no daemon, and nothing gets installed.
//!
//! It does not run anything of an image for others and does not know Kubernetes.

use std::path::PathBuf;

mod apt;
mod blocking;
mod digest;
mod engine;
mod entrypoint;
mod error;
mod local;
mod login;
mod oci;
mod progress;
mod reference;
mod registry;
mod source;
mod store;
#[cfg(test)]
mod testing;
mod unpack;

pub use crate::{
    error::{ImageError, Tried},
    local::{Content, LocalFile, LocalImage},
    login::{Logins, ParseLoginsError},
    oci::Archived,
    progress::{Event, Progress},
    reference::{ParseReferenceError, Reference},
    store::{CachedImage, ImageStore, PullOptions, StoreConfig},
};

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
