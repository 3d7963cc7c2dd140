//! A node as a whole: what it is made with, how it starts and ends.

use std::{
    fmt, io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::{
    core::v1::{Node as ApiNode, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, store::Writer},
        watcher,
    },
};
use simcluster_kubelet_api::Kubelet;
use simcluster_runtime::{Fabric, Runtime, RuntimeConfig, spec::NetworkSpec};
use tokio::{
    net::TcpStream,
    sync::{Notify, broadcast},
    task::JoinHandle,
};

use crate::{
    addresses::{Addresses, Cidr},
    agent::{self, Pods},
    clock::Clock,
    context::Context,
    directory::{Directory, remove_tree},
    dns::{server, zone::Zone},
    events::Recorder,
    host_ports::HostPorts,
    images::Images,
    kubelet::NodeKubelet,
    model::{ModelRuntime, Programs},
    proxy::Proxy,
    registration::{self, Machine},
    runtime::{Ground, PodRuntime},
    services::Services,
    stats::{self, Stats},
    stock::{self, Stock},
    tasks::Tasks,
    volumes::place::NodePaths,
};

/// Bits of the network that the pods of connected nodes have in common: [`Cidr::of_node`]'s first two numbers.
const CLUSTER_PREFIX: u8 = 16;

/// How long the end of a node waits for the removal of what dead ones have left.
const SWEEP_LIMIT: Duration = Duration::from_secs(1);

/// Takes a pod's connection to the API server's Service.
pub type ApiServerConnect = Arc<dyn Fn(TcpStream) + Send + Sync>;

/// What a node is made with.
#[derive(Clone)]
pub struct NodeConfig {
    /// `metadata.name` of the Node.
    pub name: String,
    /// The API server, as a node's identity reaches it.
    pub client: Client,
    /// Where images come from.
    pub images: Arc<dyn Images>,
    /// Under this directory the node makes one of its own, and removes it at the end. Those that died
    /// nodes have left there are removed, too.
    pub directory: PathBuf,
    /// Addresses for pods; the first one is the node's.
    pub pod_cidr: Cidr,
    /// What connects its pods with those of other nodes, which are given the same one.
    pub fabric: Option<Fabric>,
    /// Where pods find the cluster's DNS.
    pub dns_ip: Ipv4Addr,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// Takes the connections of pods to the Service `kubernetes` in `default`.
    pub api_server: ApiServerConnect,
    /// Programs that are functions, to run instead of processes; they are the images, too.
    pub model: Option<Programs>,
}

impl NodeConfig {
    /// A node with the usual addresses: pods in 10.42.0.0/24, DNS at 10.96.0.10, `cluster.local`.
    pub fn new(
        name: &str,
        client: Client,
        images: Arc<dyn Images>,
        directory: PathBuf,
        api_server: ApiServerConnect,
    ) -> Self {
        Self {
            name: name.to_owned(),
            client,
            images,
            directory,
            pod_cidr: Cidr::of_node(0),
            fabric: None,
            dns_ip: Ipv4Addr::new(10, 96, 0, 10),
            cluster_domain: "cluster.local".into(),
            api_server,
            model: None,
        }
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartNodeError {
    /// No directory for its files.
    #[error("node {node} cannot make a directory of its own under {}: choose one that this user may write to", directory.display())]
    Directory {
        /// Which node.
        node: String,
        /// Where.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No namespaces for its pods.
    #[error("node {node} cannot run containers on this machine")]
    Runtime {
        /// Which node.
        node: String,
        /// What is missing, and what to do about it.
        source: simcluster_runtime::Error,
    },
    /// The address of the cluster's DNS cannot be used.
    #[error(
        "node {node} cannot serve DNS at {address}: choose an address outside of the pods' range"
    )]
    Dns {
        /// Which node.
        node: String,
        /// Where.
        address: Ipv4Addr,
        /// Why not.
        source: simcluster_runtime::Error,
    },
    /// The API server did not take the Node object.
    #[error("node {node} could not register itself with the API server")]
    Register {
        /// Which node.
        node: String,
        /// What it answered.
        source: kube::Error,
    },
}

/// A node that runs. Dropping it ends everything that runs on it; [`Node::shutdown`] also waits for that.
pub struct Node {
    context: Arc<Context>,
    pods: Pods,
    /// Removes what dead nodes have left.
    sweeping: JoinHandle<()>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.context.node)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node and registers it. It is Ready when this returns.
    pub async fn start(config: NodeConfig) -> Result<Self, StartNodeError> {
        let node = config.name.clone();
        let directory = Directory::create(&config.directory).map_err(|source| {
            let directory = config.directory.clone();
            StartNodeError::Directory {
                node: node.clone(),
                directory,
                source,
            }
        })?;
        let tasks = Tasks::default();
        let clock = Clock::start();
        let changed = Arc::new(Notify::new());
        let services = follow_services(&config.client, &tasks, &changed);
        let host_ip = config.pod_cidr.gateway();
        let abandoned = directory.abandoned();
        let (ground, paths, runtime): (_, _, Arc<dyn PodRuntime>) =
            if let Some(programs) = config.model.clone() {
                let model = ModelRuntime::new(programs, services.clone(), directory);
                let paths = NodePaths::new(model.directory().path());
                (None, paths, model)
            } else {
                let runtime = start_runtime(&config).await?;
                let ground = Arc::new(Ground { runtime, directory });
                let paths = NodePaths::new(ground.directory.path());
                (Some(Arc::clone(&ground)), paths, ground)
            };
        let (own_node, own_node_writer) = reflector::store();
        let (recorder, record) = Recorder::new(config.client.clone(), node.clone(), clock);
        tasks.spawn(record);
        let machine = match config.model {
            Some(_) => Machine::model(),
            None => Machine::read(),
        };
        let context = Arc::new(Context {
            client: config.client.clone(),
            runtime,
            images: match &config.model {
                Some(programs) => Arc::new(programs.clone()),
                None => Arc::clone(&config.images),
            },
            host_ports: HostPorts::new(host_ip, Arc::clone(&changed)),
            stock: Stock::default(),
            stats: Stats::default(),
            recorder,
            services: services.services.clone(),
            own_node,
            changes: broadcast::channel(1024).0,
            paths,
            clock,
            tasks: tasks.clone(),
            addresses: Mutex::new(Addresses::new(config.pod_cidr)),
            node: node.clone(),
            host_ip,
            dns_ip: config.dns_ip,
            domain: config.cluster_domain.clone(),
            cpu: machine.cpus.to_string(),
            memory: format!("{}Ki", machine.memory_kib),
        });
        let this = Self {
            sweeping: sweep(&context, abandoned),
            context: Arc::clone(&context),
            pods: Pods::default(),
        };
        // A model has no sockets that names and proxies could lead to: its network knows Services itself.
        if let Some(ground) = ground {
            let zone = Zone {
                domain: config.cluster_domain,
                services: services.clone(),
            };
            serve_dns(&ground.runtime, &tasks, config.dns_ip, Arc::new(zone))
                .await
                .map_err(|source| StartNodeError::Dns {
                    node: node.clone(),
                    address: config.dns_ip,
                    source,
                })?;
            let proxy = Proxy {
                context: Arc::clone(&context),
                ground,
                services,
                api_server: config.api_server,
                changed,
                host_ip,
                dns_ip: config.dns_ip,
                tasks: tasks.clone(),
            };
            tasks.spawn(proxy.run());
        }
        registration::register(&context, &machine, &config.pod_cidr.to_string())
            .await
            .map_err(|source| StartNodeError::Register { node, source })?;
        tasks.spawn(follow_node(Arc::clone(&context), own_node_writer));
        tasks.spawn(registration::keep_lease(Arc::clone(&context)));
        tasks.spawn(stock::tell(Arc::clone(&context)));
        tasks.spawn(stats::keep(Arc::clone(&context)));
        tasks.spawn(agent::follow_config_maps(Arc::clone(&context)));
        tasks.spawn(agent::follow_secrets(Arc::clone(&context)));
        tasks.spawn(agent::follow_pods(context, this.pods.clone()));
        Ok(this)
    }

    /// How the API server reaches this node. It does not keep the node alive.
    pub fn kubelet(&self) -> Arc<dyn Kubelet> {
        Arc::new(NodeKubelet::new(&self.context, self.pods.clone()))
    }

    /// Where a pod's `hostPath` lies on this machine.
    pub fn host_path(&self, path: &str) -> PathBuf {
        self.context.paths.host(path)
    }

    /// As [`Node::host_path`], for whoever outlives the borrow.
    pub fn host_paths(&self) -> impl Fn(&str) -> PathBuf + Send + Sync + use<> {
        let paths = self.context.paths.clone();
        move |path| paths.host(path)
    }

    /// Kills everything that runs on the node at once, and waits until nothing of it is left: no process,
    /// network, mount or file. The API server is told nothing.
    pub async fn shutdown(mut self) {
        // A short life, too, leaves nothing of the dead; their files may be many, so not at any price.
        let _ = tokio::time::timeout(SWEEP_LIMIT, &mut self.sweeping).await;
        self.context.tasks.end().await;
        let uids = self.pods.uids();
        let runtime = &self.context.runtime;
        let removals = uids.iter().map(|uid| runtime.remove_sandbox(uid));
        for result in futures::future::join_all(removals).await {
            if let Err(error) = result {
                tracing::debug!(%error, "sandbox not removed");
            }
        }
        // Containers may have left what only they can remove.
        if let Err(error) = runtime.remove_tree(self.context.paths.root()).await {
            tracing::debug!(%error, "the node's directory not removed from inside");
        }
    }
}

/// Removes what nodes that were killed have left behind, beside everything else.
fn sweep(context: &Context, abandoned: Vec<PathBuf>) -> JoinHandle<()> {
    let runtime = Arc::clone(&context.runtime);
    context.tasks.spawn_joined(async move {
        for path in abandoned {
            tracing::info!(directory = %path.display(), "removing what a dead node has left");
            if let Err(error) = runtime.remove_tree(&path).await {
                tracing::warn!(%error, "a dead node's directory not removed");
            }
            if let Err(error) = remove_tree(&path) {
                tracing::warn!(%error, "a dead node's directory not removed");
            }
        }
    })
}

impl Drop for Node {
    fn drop(&mut self) {
        // The last task to let go of the ground ends the runtime and removes the directory.
        self.context.tasks.cancel();
    }
}

/// The namespaces for a node's pods.
async fn start_runtime(config: &NodeConfig) -> Result<Runtime, StartNodeError> {
    let network = NetworkSpec {
        gateway: config.pod_cidr.gateway(),
        // Connected nodes are one network; a lone one's is its range.
        prefix: match &config.fabric {
            Some(_) => CLUSTER_PREFIX,
            None => config.pod_cidr.prefix(),
        },
    };
    let own = RuntimeConfig {
        hostname: config.name.clone(),
        fabric: config.fabric.clone(),
        ..RuntimeConfig::new(network)
    };
    let started = Runtime::start(own).await;
    started.map_err(|source| StartNodeError::Runtime {
        node: config.name.clone(),
        source,
    })
}

/// Keeps caches of Services and EndpointSlices; `changed` is told of each change.
fn follow_services(client: &Client, tasks: &Tasks, changed: &Arc<Notify>) -> Services {
    let (services, writer) = reflector::store();
    tasks.spawn(fill::<Service>(client.clone(), writer, Arc::clone(changed)));
    let (slices, writer) = reflector::store();
    tasks.spawn(fill::<EndpointSlice>(
        client.clone(),
        writer,
        Arc::clone(changed),
    ));
    Services { services, slices }
}

/// Keeps what is known of the node's own object up to date, until the task is dropped.
async fn follow_node(context: Arc<Context>, mut writer: Writer<ApiNode>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={}", context.node));
    let api: Api<ApiNode> = Api::all(context.client.clone());
    let mut events = watcher(api, config)
        .default_backoff()
        .modify(agent::forget_managers)
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => writer.apply_watcher_event(&event),
            Err(error) => tracing::debug!(%error, "node watch interrupted"),
        }
    }
}

async fn fill<K>(client: Client, mut writer: Writer<K>, changed: Arc<Notify>)
where
    K: Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let mut events = watcher(Api::<K>::all(client), watcher::Config::default())
        .default_backoff()
        .modify(agent::forget_managers)
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                writer.apply_watcher_event(&event);
                changed.notify_one();
            }
            Err(error) => tracing::debug!(%error, "watch interrupted"),
        }
    }
}

async fn serve_dns(
    runtime: &Runtime,
    tasks: &Tasks,
    address: Ipv4Addr,
    zone: Arc<Zone>,
) -> Result<(), simcluster_runtime::Error> {
    const PORT: u16 = 53;
    runtime.add_address(address).await?;
    let socket = runtime.udp(address, PORT).await?;
    let listener = runtime.listen(address, PORT).await?;
    tasks.spawn(server::serve_udp(socket, Arc::clone(&zone)));
    tasks.spawn(server::serve_tcp(listener, zone));
    Ok(())
}
