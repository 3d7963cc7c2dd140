//! What stands in the slices of a service, and which slices are made, kept and given up. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        discovery::v1::{
            Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode,
            ForZone,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use crate::{
    cache::ObjectKey,
    ownership::controller_reference,
    pods,
    services::{self, Port},
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// So many endpoints stand in one slice.
const LARGEST: usize = 100;

/// The service of a slice of ours.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let ours = slice
        .labels()
        .get(MANAGED_BY)
        .is_some_and(|by| by == MANAGER);
    let name = slice.labels().get(SERVICE_NAME).filter(|_| ours)?;
    Some(ObjectKey::new(
        slice.namespace().unwrap_or_default(),
        name.clone(),
    ))
}

/// Slices with the same address family and ports can hold the same endpoints.
type Shape = (&'static str, Vec<Port>);

/// The endpoints that are wanted, by shape.
pub(super) type Wanted = BTreeMap<Shape, Vec<Endpoint>>;

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The families that a service has.
fn families(service: &Service) -> BTreeSet<&'static str> {
    let named = services::spec(service).and_then(|spec| spec.ip_families.as_ref());
    let named: BTreeSet<_> = named
        .into_iter()
        .flatten()
        .map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" })
        .collect();
    if named.is_empty() {
        ["IPv4"].into()
    } else {
        named
    }
}

/// What should stand in the slices of a service.
pub(super) fn wanted(
    service: &Service,
    members: &[Arc<Pod>],
    zone: &dyn Fn(&str) -> Option<String>,
) -> Wanted {
    let families = families(service);
    let mut wanted = Wanted::new();
    for pod in members {
        let ports = services::ports(service, pod);
        for address in services::addresses(pod) {
            let family = family(&address);
            if families.contains(family) {
                let endpoint = endpoint(service, pod, &address, zone);
                wanted
                    .entry((family, ports.clone()))
                    .or_default()
                    .push(endpoint);
            }
        }
    }
    // A service without endpoints still has a slice that says so, for each family.
    for family in families {
        if !wanted.keys().any(|(known, _)| *known == family) {
            wanted.insert((family, Vec::new()), Vec::new());
        }
    }
    for endpoints in wanted.values_mut() {
        endpoints.sort_by(|left, right| left.addresses.cmp(&right.addresses));
    }
    wanted
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    address: &IpAddr,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Endpoint {
    let terminating = pods::is_terminating(pod);
    let serving = pods::is_ready(pod);
    let ready = services::publishes_not_ready(service) || (serving && !terminating);
    let node = pods::node_name(pod);
    let zone = node.and_then(zone);
    Endpoint {
        hints: hints(service, node, zone.as_deref()).filter(|_| ready),
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: services::hostname(service, pod),
        node_name: node.map(ToOwned::to_owned),
        target_ref: Some(services::target(pod)),
        zone,
        ..Endpoint::default()
    }
}

/// From where an endpoint is to be reached first, if the service distributes its traffic so.
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    let distribution = services::spec(service)?.traffic_distribution.as_deref()?;
    let same_node = match distribution {
        "PreferClose" | "PreferSameZone" => false,
        "PreferSameNode" => true,
        _ => return None,
    };
    let zone = zone.map(|name| ForZone {
        name: name.to_owned(),
    });
    let node = node.filter(|_| same_node).map(|name| ForNode {
        name: name.to_owned(),
    });
    (zone.is_some() || node.is_some()).then(|| EndpointHints {
        for_zones: zone.map(|zone| vec![zone]),
        for_nodes: node.map(|node| vec![node]),
    })
}

/// What has to be written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

/// Endpoints stay in the slices they are in; new ones fill these up; what is left over gets new slices.
pub(super) fn changes(service: &Service, known: &[Arc<EndpointSlice>], wanted: Wanted) -> Changes {
    let mut changes = Changes::default();
    let mut kept: HashSet<String> = HashSet::new();
    for (shape, mut endpoints) in wanted {
        let ports = slice_ports(&shape.1);
        let mut fitting: Vec<_> = known
            .iter()
            .filter(|slice| {
                slice.address_type == shape.0
                    && slice.ports.clone().unwrap_or_default() == ports
                    && !kept.contains(&slice.name_any())
            })
            .collect();
        fitting.sort_by_key(|slice| slice.name_any());
        let mut fillings: Vec<Vec<Endpoint>> = vec![Vec::new(); fitting.len()];
        endpoints.retain(|endpoint| {
            let home = fitting.iter().position(|slice| {
                endpoints_of(slice)
                    .iter()
                    .any(|known| known.addresses == endpoint.addresses)
            });
            match home.and_then(|index| fillings.get_mut(index)) {
                Some(filling) if filling.len() < LARGEST => {
                    filling.push(endpoint.clone());
                    false
                }
                _ => true,
            }
        });
        for filling in &mut fillings {
            let room = LARGEST.saturating_sub(filling.len()).min(endpoints.len());
            filling.extend(endpoints.drain(..room));
            filling.sort_by(|left, right| left.addresses.cmp(&right.addresses));
        }
        let all_empty = fillings.iter().all(Vec::is_empty) && endpoints.is_empty();
        for (slice, filling) in fitting.into_iter().zip(fillings) {
            let placeholder = all_empty && shape.1.is_empty() && kept.is_empty();
            if filling.is_empty() && !placeholder {
                continue;
            }
            kept.insert(slice.name_any());
            let labels = labels(service);
            if endpoints_of(slice) != filling.as_slice() || slice.labels() != &labels {
                let mut new = EndpointSlice::clone(slice);
                new.endpoints = Some(filling);
                new.metadata.labels = Some(labels);
                changes.update.push(new);
            }
        }
        if all_empty && kept.is_empty() {
            changes
                .create
                .push(slice(service, shape.0, &ports, Vec::new()));
        }
        while !endpoints.is_empty() {
            let rest = endpoints.split_off(endpoints.len().min(LARGEST));
            changes
                .create
                .push(slice(service, shape.0, &ports, endpoints));
            endpoints = rest;
        }
    }
    changes.delete = known
        .iter()
        .filter(|slice| !kept.contains(&slice.name_any()))
        .cloned()
        .collect();
    changes
}

fn endpoints_of(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

fn slice_ports(ports: &[Port]) -> Vec<EndpointPort> {
    ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()),
            port: Some(port.number),
            protocol: Some(port.protocol.clone()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.remove(services::HEADLESS_LABEL);
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if services::is_headless(service) {
        labels.insert(services::HEADLESS_LABEL.to_owned(), String::new());
    }
    labels
}

fn slice(
    service: &Service,
    family: &str,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "n", "uid": "1"},
            "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]},
        }))
        .unwrap()
    }

    fn pods(number: usize) -> Vec<Arc<Pod>> {
        (0..number)
            .map(|index| {
                Arc::new(
                    serde_json::from_value(json!({
                        "metadata": {"name": format!("p{index}"), "namespace": "n"},
                        "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", index / 250, index % 250),
                                   "conditions": [{"type": "Ready", "status": "True"}]},
                    }))
                    .unwrap(),
                )
            })
            .collect()
    }

    fn named(slices: Vec<EndpointSlice>) -> Vec<Arc<EndpointSlice>> {
        slices
            .into_iter()
            .enumerate()
            .map(|(index, mut slice)| {
                slice.metadata.name = Some(format!("s-{index}"));
                Arc::new(slice)
            })
            .collect()
    }

    fn steps(known: &[Arc<EndpointSlice>], number: usize) -> Changes {
        let service = service();
        changes(&service, known, wanted(&service, &pods(number), &|_| None))
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice_which_the_first_pod_replaces() {
        let first = steps(&[], 0);
        assert_eq!(first.create.len(), 1);
        let known = named(first.create);
        let again = steps(&known, 0);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
        let filled = steps(&known, 1);
        assert_eq!((filled.create.len(), filled.delete.len()), (1, 1));
    }

    #[test]
    fn slices_hold_a_hundred_each_and_are_left_alone_if_nothing_changes() {
        let made = steps(&[], 250);
        let sizes: Vec<_> = made
            .create
            .iter()
            .map(|slice| slice.endpoints.as_ref().unwrap().len())
            .collect();
        assert_eq!(sizes, [100, 100, 50]);
        let known = named(made.create);
        let again = steps(&known, 250);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
        let more = steps(&known, 260);
        assert_eq!(
            (more.create.len(), more.update.len(), more.delete.len()),
            (0, 1, 0)
        );
        let fewer = steps(&known, 1);
        assert_eq!(
            (fewer.create.len(), fewer.update.len(), fewer.delete.len()),
            (0, 1, 2)
        );
    }

    #[test]
    fn a_service_may_want_its_traffic_to_stay_in_the_zone_or_on_the_node() {
        let hinted = |distribution: &str, ready: bool| {
            let mut service = service();
            service.spec.get_or_insert_default().traffic_distribution =
                Some(distribution.to_owned());
            let mut pod = Pod::clone(&pods(1)[0]);
            pod.spec.get_or_insert_default().node_name = Some("n".to_owned());
            if !ready {
                pod.status.get_or_insert_default().conditions = None;
            }
            let zone = |_: &str| Some("z".to_owned());
            let wanted = wanted(&service, &[Arc::new(pod)], &zone);
            serde_json::to_value(&wanted.values().next().unwrap()[0].hints).unwrap()
        };
        let zone = json!({"forZones": [{"name": "z"}]});
        assert_eq!(hinted("PreferClose", true), zone);
        assert_eq!(hinted("PreferSameZone", true), zone);
        assert_eq!(
            hinted("PreferSameNode", true),
            json!({"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]})
        );
        assert_eq!(hinted("PreferSameNode", false), json!(null));
        assert_eq!(hinted("Elsewhere", true), json!(null));
    }

    #[test]
    fn an_endpoint_tells_whether_its_pod_serves_and_goes() {
        let mut pod = Pod::clone(&pods(1)[0]);
        pod.metadata.deletion_timestamp =
            Some(crate::clock::whole_seconds(jiff::Timestamp::UNIX_EPOCH));
        let wanted = wanted(&service(), &[Arc::new(pod)], &|_| None);
        let endpoint = &wanted.values().next().unwrap()[0];
        let conditions = endpoint.conditions.clone().unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
    }
}
