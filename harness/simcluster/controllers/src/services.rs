//! Which pods are behind a service, and on which ports. Pure, and shared by both kinds of endpoints.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Container, Pod, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use crate::{
    cache::{Cache, ObjectKey},
    pods, selector,
};

/// On endpoints of services without an address of their own.
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

pub(crate) fn spec(service: &Service) -> Option<&ServiceSpec> {
    service.spec.as_ref()
}

/// Whether the endpoints of a service are made from its selector.
pub(crate) fn is_selecting(service: &Service) -> bool {
    spec(service).is_some_and(|spec| {
        spec.selector
            .as_ref()
            .is_some_and(|selector| !selector.is_empty())
            && spec.type_.as_deref() != Some("ExternalName")
    })
}

pub(crate) fn is_headless(service: &Service) -> bool {
    spec(service).is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    spec(service)
        .and_then(|spec| spec.publish_not_ready_addresses)
        .unwrap_or_default()
}

/// The pods behind a service that have an address and have not ended.
pub(crate) fn members(service: &Service, pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
    let Some(wanted) = spec(service).and_then(|spec| spec.selector.as_ref()) else {
        return Vec::new();
    };
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    pods.in_namespace(namespace)
        .into_iter()
        .filter(|pod| selector::has_all(pod.metadata.labels.as_ref(), wanted))
        .filter(|pod| !pods::is_finished(pod) && !addresses(pod).is_empty())
        .collect()
}

/// The addresses of a pod, the first of them its main one.
pub(crate) fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let all = status
        .pod_ips
        .iter()
        .flatten()
        .map(|address| address.ip.as_str());
    let mut found: Vec<IpAddr> = status
        .pod_ip
        .as_deref()
        .into_iter()
        .chain(all)
        .filter_map(|text| text.parse().ok())
        .collect();
    let mut seen = std::collections::HashSet::new();
    found.retain(|address| seen.insert(*address));
    found
}

/// The name under which a pod of a headless service is found.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let of_service = spec.subdomain.as_deref() == service.metadata.name.as_deref();
    spec.hostname
        .clone()
        .filter(|hostname| of_service && !hostname.is_empty())
}

/// A port as a pod serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) number: i32,
    pub(crate) app_protocol: Option<String>,
}

/// The ports of a service as a pod serves them; a named port that the pod does not have is left out.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let ports = spec(service)
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    let mut ports: Vec<_> = ports
        .iter()
        .filter_map(|port| {
            Some(Port {
                name: port.name.clone().unwrap_or_default(),
                protocol: protocol(port).to_owned(),
                number: number(port, pod)?,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    ports.sort();
    ports
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn number(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let is_sidecar =
                |container: &&Container| container.restart_policy.as_deref() == Some("Always");
            let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
            spec.containers
                .iter()
                .chain(sidecars)
                .flat_map(|container| container.ports.iter().flatten())
                .find(|known| {
                    known.name.as_ref() == Some(name)
                        && known.protocol.as_deref().unwrap_or("TCP") == protocol(port)
                })
                .map(|known| known.container_port)
        }
    }
}

/// The services that a pod is behind.
pub(crate) fn services_of(pod: &Pod, services: &Cache<Service>) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    services
        .in_namespace(namespace)
        .iter()
        .filter(|service| {
            is_selecting(service)
                && spec(service)
                    .and_then(|spec| spec.selector.as_ref())
                    .is_some_and(|wanted| selector::has_all(pod.metadata.labels.as_ref(), wanted))
        })
        .map(|service| ObjectKey::of(&service.metadata))
        .collect()
}

/// Whether a pod's change can change endpoints.
pub(crate) fn matters(old: &Pod, new: &Pod) -> bool {
    let facts = |pod: &Pod| {
        (
            pods::is_ready(pod),
            pods::is_terminating(pod),
            pods::is_finished(pod),
            pods::node_name(pod).map(ToOwned::to_owned),
            addresses(pod),
        )
    };
    old.metadata.labels != new.metadata.labels || facts(old) != facts(new)
}

/// A reference to the pod behind an endpoint.
pub(crate) fn target(pod: &Pod) -> k8s_openapi::api::core::v1::ObjectReference {
    k8s_openapi::api::core::v1::ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.namespace(),
        name: pod.metadata.name.clone(),
        uid: pod.uid(),
        ..Default::default()
    }
}
