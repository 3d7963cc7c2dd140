//! Where a cluster comes from, and how it ends.
//!
//! One backend so far, [`simulated`]; a container with k3s and the cluster of a kubeconfig are to
//! implement the same trait. What a backend cannot do, a scenario asks by [`Capability`] and never by
//! the backend's name.

use std::fmt;

use futures::future::BoxFuture;

pub mod simulated;

/// Something a scenario may need that not every cluster can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Images made by this process can be run by name without a registry.
    LocalImages,
    /// The whole cluster belongs to this run: cluster-wide objects may be made and removed freely.
    OwnCluster,
}

/// A running cluster.
pub trait Backend: Send + Sync + fmt::Debug {
    /// A client with all permissions.
    fn client(&self) -> kube::Client;

    /// The kubeconfig of an HTTPS address of this cluster, opened at the first call.
    fn kubeconfig(&self) -> BoxFuture<'_, Result<kube::config::Kubeconfig, BackendError>>;

    /// Whether this cluster can do that.
    fn can(&self, capability: Capability) -> bool;

    /// Ends the cluster and waits until nothing of it is left.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A cluster that could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {backend} cluster could not {action}; `cargo lab doctor` says what this machine lacks"
)]
pub struct BackendError {
    /// Which backend.
    pub backend: &'static str,
    /// What it was to do: "start".
    pub action: &'static str,
    /// Why it could not.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
