//! The cluster's Services and their endpoints, as a node's DNS and proxy see them.
//!
//! It reads caches that the agent fills; it opens no connection and answers no query.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointHints, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::runtime::reflector::{ObjectRef, Store};

/// The label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Services and EndpointSlices.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    pub(crate) services: Store<Service>,
    pub(crate) slices: Store<EndpointSlice>,
}

/// One address behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// Where it is.
    pub(crate) address: Ipv4Addr,
    /// The pod's host name, where it has one of its own.
    pub(crate) hostname: Option<String>,
    /// Its ports by the Service's names for them.
    pub(crate) ports: BTreeMap<String, u16>,
    /// The node that it is on, where that is known.
    pub(crate) node: Option<String>,
    /// The nodes and zones that are to prefer it.
    pub(crate) for_nodes: Vec<String>,
    pub(crate) for_zones: Vec<String>,
}

impl Services {
    /// The Service of that name.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(&ObjectRef::new(name).within(namespace))
    }

    /// The Service at a cluster address.
    pub(crate) fn at(&self, address: Ipv4Addr) -> Option<Arc<Service>> {
        let text = address.to_string();
        self.services.find(|s| {
            s.spec
                .as_ref()
                .is_some_and(|s| s.cluster_ip.as_deref() == Some(&text))
        })
    }

    /// What is ready behind a Service, each address once.
    pub(crate) fn backends(&self, service: &Service) -> Vec<Backend> {
        let slices = self.slices.state_filter(|slice| is_of(slice, service));
        backends(service, &slices)
    }

    /// All slices by the Service they belong to.
    pub(crate) fn slices_by_service(&self) -> HashMap<Name, Vec<Arc<EndpointSlice>>> {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for slice in self.slices.state() {
            if let Some(service) = service_of(&slice) {
                all.entry(service).or_default().push(slice);
            }
        }
        all
    }

    /// The backend at an address, with its Service: for reverse look-ups.
    pub(crate) fn backend_at(&self, address: Ipv4Addr) -> Option<(Arc<Service>, Backend)> {
        let headless = self.services.state_filter(is_headless);
        headless.into_iter().find_map(|service| {
            let backend = self
                .backends(&service)
                .into_iter()
                .find(|b| b.address == address)?;
            Some((service, backend))
        })
    }
}

/// Namespace and name.
pub(crate) type Name = (String, String);

/// What an object is called.
pub(crate) fn name_of(meta: &ObjectMeta) -> Name {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    (text(&meta.namespace), text(&meta.name))
}

fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some((
        slice.metadata.namespace.clone().unwrap_or_default(),
        service.clone(),
    ))
}

fn is_of(slice: &EndpointSlice, service: &Service) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(SERVICE_LABEL)) == service.metadata.name.as_ref()
        && slice.metadata.namespace == service.metadata.namespace
}

/// What is ready behind a Service that these slices belong to, each address once.
pub(crate) fn backends(service: &Service, slices: &[Arc<EndpointSlice>]) -> Vec<Backend> {
    let spec = service.spec.as_ref();
    let not_ready_too = spec
        .and_then(|s| s.publish_not_ready_addresses)
        .unwrap_or_default();
    let mut all: BTreeMap<Ipv4Addr, Backend> = BTreeMap::new();
    for slice in slices {
        let ports: BTreeMap<String, u16> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let number = u16::try_from(port.port?).ok()?;
                Some((port.name.clone().unwrap_or_default(), number))
            })
            .collect();
        for endpoint in slice.endpoints.iter().flatten() {
            if !(not_ready_too || ready(endpoint)) {
                continue;
            }
            for address in endpoint.addresses.iter().filter_map(|a| a.parse().ok()) {
                let backend = all.entry(address).or_insert_with(|| Backend {
                    address,
                    hostname: endpoint.hostname.clone().filter(|h| !h.is_empty()),
                    ports: BTreeMap::new(),
                    node: endpoint.node_name.clone(),
                    for_nodes: hints(endpoint, |hints| {
                        let all = hints.for_nodes.iter().flatten();
                        all.map(|node| node.name.clone()).collect()
                    }),
                    for_zones: hints(endpoint, |hints| {
                        let all = hints.for_zones.iter().flatten();
                        all.map(|zone| zone.name.clone()).collect()
                    }),
                });
                backend.ports.extend(ports.clone());
            }
        }
    }
    all.into_values().collect()
}

fn hints(endpoint: &Endpoint, names: impl Fn(&EndpointHints) -> Vec<String>) -> Vec<String> {
    endpoint.hints.as_ref().map(names).unwrap_or_default()
}

fn ready(endpoint: &Endpoint) -> bool {
    // Unknown counts as ready.
    endpoint
        .conditions
        .as_ref()
        .and_then(|c| c.ready)
        .unwrap_or(true)
}

/// Whether a Service has no address of its own by intention.
pub(crate) fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .is_some_and(|s| s.cluster_ip.as_deref() == Some("None"))
}

/// A Service's own address.
pub(crate) fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}
