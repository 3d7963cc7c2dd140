//! What the workers of a node's pods have in common.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Service;
use kube::{Client, runtime::reflector::Store};
use tokio::sync::broadcast;

use crate::{
    addresses::Addresses, clock::Clock, container::fields::Facts, events::Recorder,
    host_ports::HostPorts, images::Images, runtime::PodRuntime, stats::Stats, stock::Stock,
    tasks::Tasks, volumes::place::NodePaths,
};

/// A ConfigMap or Secret that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) secret: bool,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One node, as its workers see it.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn PodRuntime>,
    pub(crate) images: Arc<dyn Images>,
    /// The ports of the node that lead to its pods.
    pub(crate) host_ports: HostPorts,
    /// The images that the node has by now.
    pub(crate) stock: Stock,
    /// What its pods have used.
    pub(crate) stats: Stats,
    pub(crate) recorder: Recorder,
    pub(crate) services: Store<Service>,
    /// The object of this node, as users may have changed it.
    pub(crate) own_node: Store<k8s_openapi::api::core::v1::Node>,
    pub(crate) changes: broadcast::Sender<Changed>,
    pub(crate) paths: NodePaths,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) addresses: Mutex<Addresses>,
    pub(crate) node: String,
    pub(crate) host_ip: Ipv4Addr,
    pub(crate) dns_ip: Ipv4Addr,
    pub(crate) domain: String,
    pub(crate) cpu: String,
    pub(crate) memory: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// What a pod at `pod_ip` may learn of itself.
    pub(crate) fn facts(&self, pod_ip: Option<String>) -> Facts {
        Facts {
            pod_ip,
            host_ip: self.host_ip.to_string(),
            allocatable_cpu: self.cpu.clone(),
            allocatable_memory: self.memory.clone(),
        }
    }

    /// A free pod address.
    pub(crate) fn take_address(&self) -> Option<Ipv4Addr> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Gives one back.
    pub(crate) fn release_address(&self, address: Ipv4Addr) {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .release(address);
    }
}
