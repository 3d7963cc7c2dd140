//! The service proxy: connections to a Service's address reach a ready endpoint.
//!
//! For each TCP port of each Service with an address, a listener in the node's network accepts and
//! connects on. It listens only while something is ready, so that a client of a Service without
//! endpoints is refused at once, as by a real node. Ports of the node that lead to one pod are served in the same
//! way. UDP ports are [`udp`]'s.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use simcluster_runtime::spec::Target;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::AbortHandle,
};

use crate::{
    ApiServerConnect,
    context::Context,
    host_ports::HostPort,
    runtime::Ground,
    services::{Backend, Services, backends, cluster_ip, name_of},
    tasks::Tasks,
};

mod nearness;
mod udp;

use nearness::Here;

/// A port of an address that is open, and whether it is one for UDP.
type Port = (Ipv4Addr, u16, bool);
/// Where a port of a Service leads.
type Backends = Vec<(Ipv4Addr, u16)>;

/// What the proxy is made with.
pub(crate) struct Proxy {
    pub(crate) context: Arc<Context>,
    pub(crate) ground: Arc<Ground>,
    pub(crate) services: Services,
    pub(crate) api_server: ApiServerConnect,
    /// Told when Services, EndpointSlices or ports of the node have changed.
    pub(crate) changed: Arc<Notify>,
    /// The node's own address: NodePorts are open there.
    pub(crate) host_ip: Ipv4Addr,
    /// The address of the cluster's DNS, which is not proxied whatever Service has it.
    pub(crate) dns_ip: Ipv4Addr,
    pub(crate) tasks: Tasks,
}

/// What is behind one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Upstream {
    ApiServer,
    Endpoints { backends: Backends, sticky: bool },
}

struct Open {
    upstream: watch::Sender<Upstream>,
    task: AbortHandle,
}

impl Proxy {
    /// Works until the task is dropped.
    pub(crate) async fn run(self) {
        let mut open: HashMap<Port, Open> = HashMap::new();
        let mut addresses: BTreeSet<Ipv4Addr> = BTreeSet::new();
        loop {
            let wanted = self.wanted();
            // An address is there as soon as its Service is, whether or not anything is ready.
            let needed = self.service_addresses();
            for address in needed.difference(&addresses) {
                if let Err(error) = self.ground.runtime.add_address(*address).await {
                    tracing::warn!(%error, %address, "service address not added");
                }
            }
            open.retain(|at, open| {
                let keep = wanted.contains_key(at);
                if !keep {
                    open.task.abort();
                }
                keep
            });
            for address in addresses.difference(&needed) {
                if let Err(error) = self.ground.runtime.remove_address(*address).await {
                    tracing::debug!(%error, %address, "service address not removed");
                }
            }
            addresses = needed;
            let mut failed = false;
            for (at, upstream) in wanted {
                if let Some(open) = open.get(&at) {
                    open.upstream.send_replace(upstream);
                    continue;
                }
                match self.open(at, upstream).await {
                    Ok(opened) => {
                        open.insert(at, opened);
                    }
                    Err(error) => {
                        failed = true;
                        tracing::debug!(%error, "service port not opened yet");
                    }
                }
            }
            // A port that was closed a moment ago may still be taken: look again soon.
            let pause = if failed {
                Duration::from_millis(100)
            } else {
                Duration::from_secs(3600)
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn open(
        &self,
        (address, port, udp): Port,
        upstream: Upstream,
    ) -> Result<Open, simcluster_runtime::Error> {
        let (upstream, watch) = watch::channel(upstream);
        let (ground, tasks) = (Arc::clone(&self.ground), self.tasks.clone());
        let task = if udp {
            let socket = self.ground.runtime.udp(address, port).await?;
            self.tasks
                .spawn(udp::serve(socket, watch, ground, self.host_ip, tasks))
        } else {
            let listener = self.ground.runtime.listen(address, port).await?;
            let connect = Arc::clone(&self.api_server);
            self.tasks
                .spawn(accept(listener, watch, ground, connect, tasks))
        };
        Ok(Open { upstream, task })
    }

    fn service_addresses(&self) -> BTreeSet<Ipv4Addr> {
        self.services
            .services
            .state()
            .iter()
            .filter_map(|s| cluster_ip(s))
            .filter(|address| *address != self.dns_ip)
            .collect()
    }

    fn wanted(&self) -> BTreeMap<Port, Upstream> {
        let slices = self.services.slices_by_service();
        let node = self.context.own_node.state().first().cloned();
        let labels = node.as_ref().and_then(|node| node.metadata.labels.as_ref());
        let here = Here {
            node: self.context.node.clone(),
            zone: labels.and_then(|labels| labels.get(ZONE_LABEL).cloned()),
        };
        let mut all = BTreeMap::new();
        for HostPort { at, udp, to } in self.context.host_ports.list() {
            let upstream = Upstream::Endpoints {
                backends: vec![to],
                sticky: false,
            };
            all.insert((at.0, at.1, udp), upstream);
        }
        for service in self.services.services.state() {
            let Some(address) = cluster_ip(&service).filter(|ip| *ip != self.dns_ip) else {
                continue;
            };
            let slices = slices.get(&name_of(&service.metadata));
            let slices = slices.map(Vec::as_slice).unwrap_or_default();
            for port in ports(&service, slices, &here) {
                if let (Some(number), Some(upstream)) = (port.node_port, port.outside) {
                    all.insert((self.host_ip, number, port.udp), upstream);
                }
                if let Some(upstream) = port.inside {
                    all.insert((address, port.number, port.udp), upstream);
                }
            }
        }
        all
    }
}

/// The label of a node that says which zone it is in.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// A port of a Service.
struct ServicePort {
    number: u16,
    udp: bool,
    node_port: Option<u16>,
    /// Where connections to the Service's address go; nowhere if nothing is ready.
    inside: Option<Upstream>,
    /// And those to the port of the node.
    outside: Option<Upstream>,
}

fn ports(service: &Service, slices: &[Arc<EndpointSlice>], here: &Here) -> Vec<ServicePort> {
    let (namespace, name) = name_of(&service.metadata);
    let api_server = namespace == "default" && name == "kubernetes";
    let backends = backends(service, slices);
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
    let upstream = |near: &[&Backend], port: &str| {
        if api_server {
            return Some(Upstream::ApiServer);
        }
        let backends: Backends = near
            .iter()
            .filter_map(|backend| Some((backend.address, *backend.ports.get(port)?)))
            .collect();
        (!backends.is_empty()).then_some(Upstream::Endpoints { backends, sticky })
    };
    let inside = nearness::inside(spec, &backends, here);
    let outside = nearness::outside(spec, &backends, here);
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let udp = match port.protocol.as_deref() {
                None | Some("TCP") => false,
                Some("UDP") => true,
                Some(_) => return None,
            };
            let node_port = port.node_port.and_then(|p| u16::try_from(p).ok());
            let name = port.name.as_deref().unwrap_or_default();
            Some(ServicePort {
                number: u16::try_from(port.port).ok()?,
                udp,
                node_port: node_port.filter(|p| *p > 0),
                inside: upstream(&inside, name),
                outside: upstream(&outside, name),
            })
        })
        .collect()
}

async fn accept(
    listener: TcpListener,
    upstream: watch::Receiver<Upstream>,
    ground: Arc<Ground>,
    api_server: ApiServerConnect,
    tasks: Tasks,
) {
    let turn = AtomicUsize::new(0);
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "connection to a service not accepted");
                tokio::task::yield_now().await;
                continue;
            }
        };
        // Small requests and answers must not wait for each other.
        let _ = stream.set_nodelay(true);
        let now = upstream.borrow().clone();
        match now {
            Upstream::ApiServer => api_server(stream),
            Upstream::Endpoints { backends, sticky } => {
                let first = if sticky {
                    number_of(client.ip())
                } else {
                    turn.fetch_add(1, Ordering::Relaxed)
                };
                // A task of its own: a Service that closes a port keeps the connections it has.
                let (upstream, ground) = (upstream.clone(), Arc::clone(&ground));
                tasks.spawn(forward(stream, backends, first, upstream, ground));
            }
        }
    }
}

/// Waits until a backend is none any more.
async fn withdrawn(upstream: &mut watch::Receiver<Upstream>, backend: (Ipv4Addr, u16)) {
    let is_gone = |upstream: &Upstream| match upstream {
        Upstream::ApiServer => true,
        Upstream::Endpoints { backends, .. } => !backends.contains(&backend),
    };
    // An error is the end of the port.
    let _ = upstream.wait_for(is_gone).await;
}

/// A number that is the same for every connection of a client.
fn number_of(client: IpAddr) -> usize {
    let mut hasher = DefaultHasher::new();
    client.hash(&mut hasher);
    usize::try_from(hasher.finish() >> 32).unwrap_or_default()
}

/// Connects to the first backend that answers, beginning with number `first`.
async fn forward(
    mut client: TcpStream,
    backends: Backends,
    first: usize,
    mut upstream: watch::Receiver<Upstream>,
    ground: Arc<Ground>,
) {
    for offset in 0..backends.len() {
        let backend @ (address, port) = backends[(first + offset) % backends.len()];
        let dialed = tokio::select! {
            dialed = ground.runtime.dial(Target::Node, address, port) => dialed,
            // What is asked of a pod whose network has gone is answered by nobody, for a minute.
            () = withdrawn(&mut upstream, backend) => continue,
        };
        match dialed {
            Ok(mut server) => {
                let _ = server.set_nodelay(true);
                // How a connection ends is its ends' own affair.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                return;
            }
            Err(error) => tracing::debug!(%error, "endpoint not reached"),
        }
    }
}
