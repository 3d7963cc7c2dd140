//! The simulated cluster inside this process: the default, needs nothing installed.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use kube::config::Kubeconfig;
use simcluster::ImageStore;

use super::{Backend, BackendError, Capability, Leftovers};

const NAME: &str = "simulated";

/// A cluster that lives and dies with this value.
#[derive(Debug)]
pub struct Simulated {
    cluster: simcluster::Cluster,
}

impl Simulated {
    /// Starts a cluster with one node that runs images of `images`.
    pub async fn start(images: Arc<ImageStore>) -> Result<Self, BackendError> {
        let cluster = simcluster::Cluster::builder()
            .images(images)
            .start()
            .await
            .map_err(|source| failed("start", source))?;
        Ok(Self { cluster })
    }

    /// The cluster itself, for what only this backend can do.
    pub fn cluster(&self) -> &simcluster::Cluster {
        &self.cluster
    }
}

impl Backend for Simulated {
    fn name(&self) -> &'static str {
        NAME
    }

    fn client(&self) -> kube::Client {
        self.cluster.client()
    }

    fn kubeconfig(&self) -> BoxFuture<'_, Result<Kubeconfig, BackendError>> {
        std::future::ready(Ok(self.cluster.kubeconfig().clone())).boxed()
    }

    fn can(&self, capability: Capability) -> bool {
        match capability {
            Capability::LocalImages | Capability::OwnCluster | Capability::History => true,
        }
    }

    fn simulated(&self) -> Option<&simcluster::Cluster> {
        Some(&self.cluster)
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Leftovers> {
        async move {
            self.cluster.shutdown().await;
            Leftovers::default()
        }
        .boxed()
    }
}

fn failed(
    action: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> BackendError {
    BackendError {
        backend: NAME,
        action,
        source: Box::new(source),
    }
}
