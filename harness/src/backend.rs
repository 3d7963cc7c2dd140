//! Where a cluster comes from, and how it ends.
//!
//! Three backends: [`simulated`], the default; [`existing`], the cluster of a kubeconfig; [`k3s`], a
//! container. What a backend cannot do, a scenario asks by [`Capability`] and never by its name.
//! [`select`] chooses one from the environment, so that the same tests run on each.

use std::fmt;

use futures::future::BoxFuture;

pub mod existing;
pub mod k3s;
pub mod select;
pub mod simulated;

pub use select::{Selection, SelectionError};

/// Something a scenario may need that not every cluster can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Images made by this process can be run by name without a registry.
    LocalImages,
    /// The whole cluster belongs to this run: cluster-wide objects may be made and removed freely.
    OwnCluster,
    /// The cluster remembers every version of every object.
    History,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LocalImages => "images without a registry",
            Self::OwnCluster => "a cluster of its own",
            Self::History => "the history of objects",
        })
    }
}

/// What a run could not remove, a line each; empty when nothing is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers(pub Vec<String>);

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// A running cluster.
pub trait Backend: Send + Sync + fmt::Debug {
    /// `simulated`, `existing`, `k3s`.
    fn name(&self) -> &'static str;

    /// A client with all permissions that the cluster gives us.
    fn client(&self) -> kube::Client;

    /// The kubeconfig of an HTTPS address of this cluster, opened at the first call.
    fn kubeconfig(&self) -> BoxFuture<'_, Result<kube::config::Kubeconfig, BackendError>>;

    /// Whether this cluster can do that.
    fn can(&self, capability: Capability) -> bool;

    /// The cluster's own logs, as evidence: name and text.
    fn logs(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// The simulated cluster itself, for what only it can do.
    fn simulated(&self) -> Option<&simcluster::Cluster> {
        None
    }

    /// Ends the cluster, or our part of it, and waits until nothing is left or it is known what is.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Leftovers>;
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
