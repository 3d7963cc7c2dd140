//! A running cluster: its parts, how one reaches it, and its end.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use kube::config::Kubeconfig;
use simcluster_apiserver::{ApiServer, Identity, Listening, UsedPermissions};
use simcluster_controllers::HorizontalSettings;
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
        for path in builder.image_archives {
            let offer = Arc::clone(&images);
            let reading = tokio::task::spawn_blocking(move || {
                let offered = offer.offer_archive(&path);
                offered.map_err(|source| StartError::Archive { path, source })
            });
            match reading.await {
                Ok(offered) => offered.map(drop)?,
                Err(failed) => std::panic::resume_unwind(failed.into_panic()),
            }
        }
        let mut config = simcluster_apiserver::Config {
            names: builder.names,
            ..simcluster_apiserver::Config::default()
        };
        if builder.model.is_some() {
            config.clock = tokios_clock();
        }
        let api = ApiServer::start(config);
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let inner = Arc::new(api.listen(loopback).await.map_err(StartError::ApiServer)?);
        let model = builder.model.is_some();
        let directory = builder
            .directory
            .or_else(|| memory_directory().filter(|_| model))
            .unwrap_or_else(std::env::temp_dir);
        let mut cluster = Self {
            api,
            images,
            nodes: Vec::new(),
            controllers: None,
            stop: CancellationToken::new(),
            inner,
            outer: Mutex::default(),
        };
        // A switch between nodes is made only where there is more than one.
        let connected = builder.nodes > 1 && builder.model.is_none();
        let fabric = connected.then(simcluster_node::Fabric::default);
        for index in 0..builder.nodes {
            let mut config = cluster.node_config(&format!("node-{}", index + 1), &directory);
            config.pod_cidr = simcluster_node::Cidr::of_node(index);
            config.fabric.clone_from(&fabric);
            config.model.clone_from(&builder.model);
            let name = config.name.clone();
            let node = Node::start(config)
                .await
                .map_err(|source| StartError::Node {
                    name: name.clone(),
                    source: Box::new(source),
                })?;
            cluster.api.register_kubelet(&name, node.kubelet());
            cluster.nodes.push(node);
        }
        cluster.start_controllers(builder.autoscaling)?;
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

    fn start_controllers(&mut self, horizontal: HorizontalSettings) -> Result<(), StartError> {
        let mut settings = simcluster_controllers::Settings {
            root_ca: Some(self.api.ca_certificate().map_err(StartError::ApiServer)?),
            horizontal,
            ..simcluster_controllers::Settings::default()
        };
        let authority = self.api.authority().map_err(StartError::ApiServer)?;
        settings.sign_certificate = Some(Arc::new(move |order| {
            let terms = simcluster_http::Terms {
                usages: order.usages,
                not_before: order.not_before,
                not_after: order.not_after,
            };
            let signed = authority.issue(order.request, &terms);
            signed.map_err(|error| error.to_string())
        }));
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

    /// Which permissions a user has used so far, to prove that a role grants no more.
    pub fn used_permissions(&self, user: &str) -> UsedPermissions {
        self.api.used_permissions(user)
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

/// Wall time that moves with tokio's clock, as that of controllers and nodes does.
fn tokios_clock() -> simcluster_apiserver::Clock {
    let (wall, start) = (jiff::Timestamp::now(), tokio::time::Instant::now());
    simcluster_apiserver::Clock::new(move || {
        let passed = jiff::SignedDuration::try_from(start.elapsed());
        wall.saturating_add(passed.unwrap_or(jiff::SignedDuration::MAX))
            .unwrap_or(jiff::Timestamp::MAX)
    })
}

/// A directory whose files are in memory: what thousands of model pods write is not worth a disk's time.
fn memory_directory() -> Option<std::path::PathBuf> {
    let path = std::path::Path::new("/dev/shm");
    let mine = tempfile::tempdir_in(path).is_ok();
    mine.then(|| path.to_owned())
}
