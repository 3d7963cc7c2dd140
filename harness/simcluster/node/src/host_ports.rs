//! The ports of a node that lead to one pod: `hostPort`.
//!
//! They are open in the node's network, where its pods and those of nodes connected to it reach them, for as long as
//! the pod has its sandbox and whether or not it is ready. They are not open on the machine. Who listens is
//! [`crate::proxy`]'s matter, who may have which port [`crate::admission`]'s.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use tokio::sync::Notify;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// Where the node listens.
    pub(crate) at: (Ipv4Addr, u16),
    pub(crate) udp: bool,
    /// Where that leads.
    pub(crate) to: (Ipv4Addr, u16),
}

/// Those of all pods that have a sandbox.
#[derive(Debug)]
pub(crate) struct HostPorts {
    node: Ipv4Addr,
    open: Mutex<BTreeMap<String, Vec<HostPort>>>,
    changed: Arc<Notify>,
}

impl HostPorts {
    /// For the node of that address; `changed` is told of changes.
    pub(crate) fn new(node: Ipv4Addr, changed: Arc<Notify>) -> Self {
        Self {
            node,
            open: Mutex::default(),
            changed,
        }
    }

    /// A pod has got an address.
    pub(crate) fn open(&self, uid: &str, pod: &Pod, address: &str) {
        let (Some(spec), Ok(address)) = (&pod.spec, address.parse()) else {
            return;
        };
        let ports = of(spec, self.node, address);
        if !ports.is_empty() {
            self.all_open().insert(uid.to_owned(), ports);
            self.changed.notify_one();
        }
    }

    /// It has none any more.
    pub(crate) fn close(&self, uid: &str) {
        if self.all_open().remove(uid).is_some() {
            self.changed.notify_one();
        }
    }

    pub(crate) fn list(&self) -> Vec<HostPort> {
        self.all_open().values().flatten().cloned().collect()
    }

    fn all_open(&self) -> MutexGuard<'_, BTreeMap<String, Vec<HostPort>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be open for a pod of that address. In the node's own network its ports are open as they are. An address
/// that the node does not have cannot be listened at.
fn of(spec: &PodSpec, node: Ipv4Addr, pod: Ipv4Addr) -> Vec<HostPort> {
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    let inits = spec.init_containers.iter().flatten();
    let sidecars = inits.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let all = spec.containers.iter().chain(sidecars);
    all.flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let udp = match port.protocol.as_deref() {
                None | Some("TCP") => false,
                Some("UDP") => true,
                Some(_) => return None,
            };
            let at = match port.host_ip.as_deref() {
                None | Some("" | "0.0.0.0" | "::") => node,
                Some(named) => named
                    .parse::<Ipv4Addr>()
                    .ok()
                    .filter(|named| *named == node || named.is_loopback())?,
            };
            let number = u16::try_from(port.host_port?)
                .ok()
                .filter(|port| *port > 0)?;
            Some(HostPort {
                at: (at, number),
                udp,
                to: (pod, u16::try_from(port.container_port).ok()?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);
    const POD: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 7);

    fn ports(host_network: bool) -> Vec<HostPort> {
        let spec = json!({
            "hostNetwork": host_network,
            "initContainers": [
                {"name": "once", "ports": [{"containerPort": 1, "hostPort": 1}]},
                {"name": "side", "restartPolicy": "Always", "ports": [{"containerPort": 2, "hostPort": 2, "protocol": "UDP"}]},
            ],
            "containers": [{"name": "c", "ports": [
                {"containerPort": 80, "hostPort": 8080},
                {"containerPort": 81},
                {"containerPort": 82, "hostPort": 8082, "hostIP": "127.0.0.1"},
                {"containerPort": 83, "hostPort": 8083, "hostIP": "192.0.2.1"},
                {"containerPort": 84, "hostPort": 8084, "protocol": "SCTP"},
            ]}],
        });
        of(&serde_json::from_value(spec).unwrap(), NODE, POD)
    }

    #[test]
    fn what_a_pod_asks_for_is_open_where_the_node_has_the_address() {
        let port = |at: (Ipv4Addr, u16), udp, to: u16| HostPort {
            at,
            udp,
            to: (POD, to),
        };
        assert_eq!(
            ports(false),
            [
                port((NODE, 8080), false, 80),
                port((Ipv4Addr::LOCALHOST, 8082), false, 82),
                port((NODE, 2), true, 2),
            ]
        );
    }

    #[test]
    fn who_is_in_the_nodes_network_needs_nothing() {
        assert_eq!(ports(true), []);
    }
}
