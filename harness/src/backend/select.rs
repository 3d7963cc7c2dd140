//! Which cluster a run is on: from the command line or from the environment.
//!
//! | variable | meaning |
//! |---|---|
//! | `HARNESS_CLUSTER` | `simulated` (the default), `existing` or `k3s` |
//! | `HARNESS_KUBECONFIG`, `HARNESS_CONTEXT` | which existing cluster; one of them must be given |
//! | `HARNESS_ALLOW_REMOTE` | `yes`: the existing cluster need not be on this machine |
//! | `HARNESS_K3S_IMAGE` | the image of the k3s container |
//!
//! `KUBECONFIG` and `~/.kube/config` are never read unless a context is given by name.

use std::{env, path::PathBuf, sync::Arc};

use simcluster::ImageStore;

use super::{
    Backend, BackendError,
    existing::{self, Existing},
    k3s::{self, K3s},
    simulated::Simulated,
};
use crate::Cluster;

/// The cluster that a run shall be on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// In this process.
    #[default]
    Simulated,
    /// Of a kubeconfig.
    Existing(existing::Access),
    /// In a container of its own.
    K3s(k3s::Settings),
}

/// Words that select no cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No such backend.
    #[error("there is no cluster {0:?}; choose simulated, existing or k3s")]
    Unknown(String),
    /// An existing cluster that was not named.
    #[error(
        "an existing cluster must be named: give --kubeconfig or --context (HARNESS_KUBECONFIG, HARNESS_CONTEXT); \
         your current context is never used unasked"
    )]
    Unnamed,
}

impl Selection {
    /// What the environment says.
    pub fn from_environment() -> Result<Self, SelectionError> {
        Self::from_variables(&|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, SelectionError> {
        let access = existing::Access {
            kubeconfig: get("HARNESS_KUBECONFIG").map(PathBuf::from),
            context: get("HARNESS_CONTEXT"),
            allow_remote: get("HARNESS_ALLOW_REMOTE").as_deref() == Some("yes"),
        };
        let name = get("HARNESS_CLUSTER").unwrap_or_else(|| "simulated".to_owned());
        Self::named(&name, access, get("HARNESS_K3S_IMAGE").as_deref())
    }

    /// The cluster of this name.
    pub fn named(
        name: &str,
        access: existing::Access,
        k3s_image: Option<&str>,
    ) -> Result<Self, SelectionError> {
        match name {
            "simulated" => Ok(Self::Simulated),
            "existing" if access.kubeconfig.is_none() && access.context.is_none() => {
                Err(SelectionError::Unnamed)
            }
            "existing" => Ok(Self::Existing(access)),
            "k3s" => Ok(Self::K3s(k3s_image.map_or_else(
                k3s::Settings::default,
                |image| k3s::Settings {
                    image: image.to_owned(),
                    ..k3s::Settings::default()
                },
            ))),
            other => Err(SelectionError::Unknown(other.to_owned())),
        }
    }

    /// `simulated`, `existing`, `k3s`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Existing(_) => "existing",
            Self::K3s(_) => "k3s",
        }
    }

    /// Starts it. `images` are what a simulated cluster runs; those named in `carried` are also given to
    /// a k3s container, for it has no other source of them.
    pub async fn start(
        &self,
        images: Arc<ImageStore>,
        carried: &[&str],
    ) -> Result<Cluster, BackendError> {
        let (backend, namespace): (Box<dyn Backend>, String) = match self {
            Self::Simulated => (
                Box::new(Simulated::start(images).await?),
                "default".to_owned(),
            ),
            Self::Existing(access) => {
                let existing = Existing::enter(access).await?;
                let namespace = existing.namespace().to_owned();
                (Box::new(existing), namespace)
            }
            Self::K3s(settings) => (
                Box::new(K3s::start(settings, &images, carried).await?),
                "default".to_owned(),
            ),
        };
        Ok(Cluster::new(backend, namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(variables: &[(&str, &str)]) -> Result<Selection, SelectionError> {
        Selection::from_variables(&|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_a_word_the_cluster_is_simulated() {
        assert_eq!(select(&[]), Ok(Selection::Simulated));
        // Whatever kubectl would use is of no interest.
        assert_eq!(select(&[("KUBECONFIG", "/prod")]), Ok(Selection::Simulated));
    }

    #[test]
    fn an_existing_cluster_is_used_only_by_name() {
        assert_eq!(
            select(&[("HARNESS_CLUSTER", "existing")]),
            Err(SelectionError::Unnamed)
        );
        assert!(matches!(
            select(&[("HARNESS_CLUSTER", "existing"), ("HARNESS_CONTEXT", "kind")]),
            Ok(Selection::Existing(_))
        ));
    }

    #[test]
    fn an_unknown_cluster_is_refused() {
        assert_eq!(
            select(&[("HARNESS_CLUSTER", "minikube")]),
            Err(SelectionError::Unknown("minikube".to_owned()))
        );
    }
}
