//! A running cluster: its parts, how one reaches it, and its end.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use kube::config::Kubeconfig;
use simcluster_apiserver::{ApiServer, Identity, Listening};
use simcluster_images::{ImageStore, StoreConfig};
use simcluster_node::{Node, NodeConfig};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{Builder, StartError, images::StoreImages};

/// Where pods find the cluster's DNS: the tenth address of the Services' range, as kubeadm has it.
const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// A cluster that runs until [`Cluster::shutdown`] or until it is dropped; shutting down also waits.
pub struct Cluster {
    api: ApiServer,
    images: Arc<ImageStore>,
    nodes: Vec<Node>,
    controllers: Option<JoinHandle<()>>,
    stop: CancellationToken,
    /// The port that pods' connections are handed to; open from the start.
    inner: Arc<Listening>,
    /// Ports that were asked for.
    outer: Mutex<Vec<Listening>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Says what the cluster shall consist of.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) async fn start(builder: Builder) -> Result<Self, StartError> {
        let images = match builder.images {
            Some(images) => images,
            None => Arc::new(ImageStore::open(StoreConfig::default()).map_err(StartError::Images)?),
        };
        let api = ApiServer::start(simcluster_apiserver::Config::default());
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let inner = Arc::new(api.listen(loopback).await.map_err(StartError::ApiServer)?);
        let directory = builder.directory.unwrap_or_else(std::env::temp_dir);
        let mut cluster = Self {
            api,
            images,
            nodes: Vec::new(),
            controllers: None,
            stop: CancellationToken::new(),
            inner,
            outer: Mutex::default(),
        };
        for index in 0..builder.nodes {
            let mut config = cluster.node_config(&format!("node-{}", index + 1), &directory);
            config.pod_cidr = simcluster_node::Cidr::of_node(index);
            let name = config.name.clone();
            let node = Node::start(config)
                .await
                .map_err(|source| StartError::Node {
                    name: name.clone(),
                    source,
                })?;
            cluster.api.register_kubelet(&name, node.kubelet());
            cluster.nodes.push(node);
        }
        cluster.start_controllers()?;
        Ok(cluster)
    }

    fn node_config(&self, name: &str, directory: &std::path::Path) -> NodeConfig {
        let streams = self.inner.streams();
        let connect = move |stream: TcpStream| {
            // A full queue means that nobody accepts any more; the pod sees its connection closed.
            drop(streams.try_send(stream));
        };
        let mut config = NodeConfig::new(
            name,
            self.client(),
            Arc::new(StoreImages::new(Arc::clone(&self.images))),
            directory.to_owned(),
            Arc::new(connect),
        );
        config.dns_ip = DNS_ADDRESS;
        config
    }

    fn start_controllers(&mut self) -> Result<(), StartError> {
        let mut settings = simcluster_controllers::Settings {
            root_ca: Some(self.api.ca_certificate().map_err(StartError::ApiServer)?),
            ..simcluster_controllers::Settings::default()
        };
        let paths: Vec<_> = self.nodes.iter().map(Node::host_paths).collect();
        settings.remove_volume = Some(Arc::new(move |_node, path| {
            for host_path in &paths {
                match std::fs::remove_dir_all(host_path(path)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Ok(())
        }));
        let run = simcluster_controllers::run(self.client(), settings, self.stop.clone());
        self.controllers = Some(tokio::spawn(run));
        Ok(())
    }

    /// A client with all permissions, without a socket.
    pub fn client(&self) -> kube::Client {
        self.api.client(&Identity::admin())
    }

    /// A client that acts as somebody else, without a socket.
    pub fn client_as(&self, identity: &Identity) -> kube::Client {
        self.api.client(identity)
    }

    /// The API server, for what only it can do.
    pub fn api_server(&self) -> &ApiServer {
        &self.api
    }

    /// The images that the nodes run.
    pub fn images(&self) -> &Arc<ImageStore> {
        &self.images
    }

    /// A kubeconfig with all permissions, of a port on loopback that is open while the cluster runs.
    pub fn kubeconfig(&self) -> &Kubeconfig {
        self.inner.kubeconfig()
    }

    /// Opens one more port, and gives its kubeconfig.
    pub async fn listen(&self, address: SocketAddr) -> Result<Kubeconfig, StartError> {
        let listening = self
            .api
            .listen(address)
            .await
            .map_err(StartError::ApiServer)?;
        let kubeconfig = listening.kubeconfig().clone();
        self.outer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listening);
        Ok(kubeconfig)
    }

    /// Ends it, and waits until no process, mount, network, port or file of it is left.
    ///
    /// # Panics
    /// When a controller had panicked, so that no test passes over a dead controller.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let controllers = self.controllers.take();
        for node in std::mem::take(&mut self.nodes) {
            node.shutdown().await;
        }
        self.api.shutdown();
        if let Some(Err(error)) = match controllers {
            Some(controllers) => Some(controllers.await),
            None => None,
        } && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
        self.api.shutdown();
    }
}
