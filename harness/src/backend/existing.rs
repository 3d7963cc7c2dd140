//! The cluster of a kubeconfig: somebody else's, so we keep to a namespace of our own and clean up.
//!
//! It is used only when named, and refused unless it is on this machine or the user says otherwise.
//! Everything we make is labelled [`RUN`]; the namespace has a random name. It starts no cluster, hands
//! no images to the nodes, and does not see the nodes' disks.

use std::{fmt, path::PathBuf, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, ServiceAccount};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use tempfile::Builder;

use super::{Backend, BackendError, Capability, Leftovers};
use crate::{conditions, wait};

const NAME: &str = "existing";

/// The label of everything that a run makes in a cluster that is not its own; its value is the namespace.
pub const RUN: &str = "harness.otus.homework/run";

/// How long the clean-up may take before it is given up and said.
const CLEAN_UP: Duration = Duration::from_secs(90);

/// Which cluster, and how far from here it may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig; the user's ordinary one if only a context is given.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it; the current one if only a kubeconfig is given.
    pub context: Option<String>,
    /// Whether a cluster that is not on this machine may be used.
    pub allow_remote: bool,
}

/// Why an existing cluster is not entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The kubeconfig.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Far away.
    #[error(
        "context {context:?} leads to {server}, which is not on this machine; \
         if that is the cluster you mean, add --yes-this-cluster (HARNESS_ALLOW_REMOTE=yes)"
    )]
    Remote {
        /// The context.
        context: String,
        /// The server's address.
        server: String,
    },
    /// The cluster answered with an error.
    #[error("the cluster at {server} did not let us {action}")]
    Cluster {
        /// The server's address.
        server: String,
        /// What we wanted.
        action: &'static str,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The namespace was made, but pods cannot be made in it.
    #[error("the namespace {namespace} has no service account")]
    ServiceAccount {
        /// The namespace.
        namespace: String,
        /// What was waited for.
        #[source]
        source: Box<wait::WaitError>,
    },
}

/// Our namespace in somebody's cluster.
pub struct Existing {
    client: Client,
    kubeconfig: Kubeconfig,
    namespace: String,
    server: String,
}

impl fmt::Debug for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Existing")
            .field("server", &self.server)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Existing {
    /// Connects, and makes a namespace with a random name.
    pub async fn enter(access: &Access) -> Result<Self, BackendError> {
        enter(access).await.map_err(|source| BackendError {
            backend: NAME,
            action: "be entered",
            source: Box::new(source),
        })
    }

    /// The namespace that was made.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The address of the cluster's API server.
    pub fn server(&self) -> &str {
        &self.server
    }
}

async fn enter(access: &Access) -> Result<Existing, EnterError> {
    let kubeconfig = match &access.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await?;
    let server = config.cluster_url.to_string();
    if !access.allow_remote && !is_on_this_machine(config.cluster_url.host().unwrap_or_default()) {
        let context = access.context.clone().or(kubeconfig.current_context);
        return Err(EnterError::Remote {
            context: context.unwrap_or_default(),
            server,
        });
    }
    let failed = |action, source| EnterError::Cluster {
        server: server.clone(),
        action,
        source: Box::new(source),
    };
    let client = Client::try_from(config).map_err(|error| failed("connect", error))?;
    let namespace = random_name();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut object = Namespace::default();
    object.metadata.name = Some(namespace.clone());
    object.metadata.labels = Some([(RUN.to_owned(), namespace.clone())].into());
    namespaces
        .create(&PostParams::default(), &object)
        .await
        .map_err(|error| failed("make a namespace", error))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    wait::until(&accounts, "default", conditions::exists(), wait::LIMIT)
        .await
        .map_err(|source| EnterError::ServiceAccount {
            namespace: namespace.clone(),
            source: Box::new(source),
        })?;
    let mut kubeconfig = kubeconfig;
    if let Some(context) = &access.context {
        kubeconfig.current_context = Some(context.clone());
    }
    Ok(Existing {
        client,
        kubeconfig,
        namespace,
        server,
    })
}

/// `harness-` and some letters that nobody else has.
fn random_name() -> String {
    // The names of temporary files are random enough, and already at hand.
    let file = Builder::new().prefix("").rand_bytes(10).tempfile();
    let random = file.map_or_else(
        |_| std::process::id().to_string(),
        |file| {
            let name = file.path().file_name().unwrap_or_default();
            name.to_string_lossy().to_lowercase()
        },
    );
    format!("harness-{random}")
}

/// Loopback, by name or by address.
fn is_on_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Backend for Existing {
    fn name(&self) -> &'static str {
        NAME
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> BoxFuture<'_, Result<Kubeconfig, BackendError>> {
        std::future::ready(Ok(self.kubeconfig.clone())).boxed()
    }

    fn can(&self, capability: Capability) -> bool {
        match capability {
            Capability::LocalImages | Capability::OwnCluster | Capability::History => false,
        }
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Leftovers> {
        async move { self.leave().await }.boxed()
    }
}

impl Existing {
    /// Removes the namespace, and the volumes that were made for claims in it.
    async fn leave(self) -> Leftovers {
        let mut left = Vec::new();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let name = self.namespace.as_str();
        match namespaces.delete(name, &DeleteParams::default()).await {
            Ok(_) => {
                let gone = wait::until(&namespaces, name, conditions::absent(), CLEAN_UP);
                if gone.await.is_err() {
                    left.push(self.why_stuck(&namespaces).await);
                }
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => left.push(format!("namespace {name}: {error}")),
        }
        left.extend(self.remove_volumes().await);
        Leftovers(left)
    }

    /// What the namespace's conditions say remains in it.
    async fn why_stuck(&self, namespaces: &Api<Namespace>) -> String {
        let name = &self.namespace;
        let conditions = match namespaces.get_opt(name).await {
            Ok(Some(namespace)) => namespace.status.and_then(|status| status.conditions),
            Ok(None) => return format!("namespace {name} went only after {CLEAN_UP:?}"),
            Err(error) => return format!("namespace {name}: {error}"),
        };
        let remaining: Vec<String> = conditions
            .unwrap_or_default()
            .into_iter()
            .filter(|condition| condition.status == "True")
            .filter_map(|condition| condition.message)
            .collect();
        format!(
            "namespace {name} is still there after {CLEAN_UP:?}: {}",
            remaining.join("; ")
        )
    }

    async fn remove_volumes(&self) -> Vec<String> {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let list = match volumes.list(&ListParams::default()).await {
            Ok(list) => list,
            Err(error) => return vec![format!("persistent volumes: {error}")],
        };
        let mut left = Vec::new();
        for volume in list {
            let spec = volume.spec.as_ref();
            let claim = spec.and_then(|spec| spec.claim_ref.as_ref());
            if claim.and_then(|claim| claim.namespace.as_ref()) != Some(&self.namespace) {
                continue;
            }
            let name = volume.name_any();
            let host_path = spec.and_then(|spec| spec.host_path.as_ref());
            if let Some(host_path) = host_path {
                let path = &host_path.path;
                left.push(format!("directory {path} of volume {name} on its node"));
            }
            match volumes.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => left.push(format!("persistent volume {name}: {error}")),
                Ok(_) => {}
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for host in [
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "localhost",
            "a.localhost",
        ] {
            assert!(is_on_this_machine(host), "{host}");
        }
        for host in [
            "10.0.0.1",
            "192.168.49.2",
            "localhost.example.org",
            "0.0.0.0",
            "",
        ] {
            assert!(!is_on_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_random_name_is_a_name_that_the_api_takes() {
        let name = random_name();
        assert!(name.starts_with("harness-"), "{name}");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{name}"
        );
        assert_ne!(name, random_name());
    }
}
