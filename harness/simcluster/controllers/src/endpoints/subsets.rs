//! Addresses grouped by the ports they serve. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, Service};

use crate::{
    pods,
    services::{self, Port},
};

/// A port, and the indexes of the pods that serve it, with whether they are ready.
type Served = BTreeMap<Option<Port>, BTreeSet<(usize, bool)>>;

/// One subset for each set of pods that serves the same ports.
pub(super) fn subsets(service: &Service, members: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let publish = services::publishes_not_ready(service);
    let mut served = Served::new();
    for (index, pod) in members.iter().enumerate() {
        if pods::is_terminating(pod) && !publish {
            continue;
        }
        let ready = publish || pods::is_ready(pod);
        let ports = services::ports(service, pod);
        let without_ports = services::spec(service)
            .and_then(|spec| spec.ports.as_ref())
            .is_none_or(Vec::is_empty);
        if without_ports {
            served.entry(None).or_default().insert((index, ready));
        }
        for port in ports {
            served.entry(Some(port)).or_default().insert((index, ready));
        }
    }
    let mut by_pods: BTreeMap<BTreeSet<(usize, bool)>, Vec<Port>> = BTreeMap::new();
    for (port, pods) in served {
        by_pods.entry(pods).or_default().extend(port);
    }
    by_pods
        .into_iter()
        .map(|(pods, ports)| subset(service, members, &pods, &ports))
        .collect()
}

fn subset(
    service: &Service,
    members: &[Arc<Pod>],
    pods: &BTreeSet<(usize, bool)>,
    ports: &[Port],
) -> EndpointSubset {
    let addresses = |wanted: bool| {
        let mut addresses: Vec<_> = pods
            .iter()
            .filter(|(_, ready)| *ready == wanted)
            .filter_map(|(index, _)| address(service, members.get(*index)?))
            .collect();
        addresses.sort_by(|left, right| left.ip.cmp(&right.ip));
        (!addresses.is_empty()).then_some(addresses)
    };
    let ports: Vec<_> = ports
        .iter()
        .map(|port| EndpointPort {
            name: (!port.name.is_empty()).then(|| port.name.clone()),
            port: port.number,
            protocol: Some(port.protocol.clone()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    EndpointSubset {
        addresses: addresses(true),
        not_ready_addresses: addresses(false),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    Some(EndpointAddress {
        ip: services::addresses(pod).first()?.to_string(),
        hostname: services::hostname(service, pod),
        node_name: pods::node_name(pod).map(ToOwned::to_owned),
        target_ref: Some(services::target(pod)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(extra: &Value) -> Service {
        let mut service = json!({
            "metadata": {"name": "s", "namespace": "n"},
            "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": 8080}]},
        });
        for (key, value) in extra.as_object().unwrap() {
            service["spec"][key] = value.clone();
        }
        serde_json::from_value(service).unwrap()
    }

    fn pod(name: &str, address: &str, ready: bool, port: Option<i32>) -> Arc<Pod> {
        let ports = port.map(|port| json!([{"name": "web", "containerPort": port}]));
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "n", "uid": name},
                "spec": {"nodeName": "x", "hostname": name, "subdomain": "s",
                         "containers": [{"name": "c", "ports": ports}]},
                "status": {"phase": "Running", "podIP": address, "conditions": [
                    {"type": "Ready", "status": if ready { "True" } else { "False" }}]},
            }))
            .unwrap(),
        )
    }

    fn told(service: &Service, pods: &[Arc<Pod>]) -> Value {
        let brief: Vec<_> = subsets(service, pods)
            .into_iter()
            .map(|subset| {
                let ips = |addresses: Option<Vec<EndpointAddress>>| -> Vec<_> {
                    addresses
                        .into_iter()
                        .flatten()
                        .map(|address| address.ip)
                        .collect()
                };
                let ports: Vec<_> = subset
                    .ports
                    .into_iter()
                    .flatten()
                    .map(|port| port.port)
                    .collect();
                json!([
                    ips(subset.addresses),
                    ips(subset.not_ready_addresses),
                    ports
                ])
            })
            .collect();
        json!(brief)
    }

    #[test]
    fn ready_pods_and_others_stand_apart_unless_all_are_published() {
        let pods = [
            pod("a", "10.0.0.1", true, None),
            pod("b", "10.0.0.2", false, None),
        ];
        assert_eq!(
            told(&service(&json!({})), &pods),
            json!([[["10.0.0.1"], ["10.0.0.2"], [8080]]])
        );
        assert_eq!(
            told(&service(&json!({"publishNotReadyAddresses": true})), &pods),
            json!([[["10.0.0.1", "10.0.0.2"], [], [8080]]])
        );
    }

    #[test]
    fn a_named_port_is_each_pods_own() {
        let named = service(&json!({"ports": [{"port": 80, "targetPort": "web"}]}));
        let pods = [
            pod("a", "10.0.0.1", true, Some(1)),
            pod("b", "10.0.0.2", true, Some(2)),
            pod("c", "10.0.0.3", true, None),
        ];
        assert_eq!(
            told(&named, &pods),
            json!([[["10.0.0.1"], [], [1]], [["10.0.0.2"], [], [2]]])
        );
    }

    #[test]
    fn a_headless_service_needs_no_ports() {
        let headless = service(&json!({"clusterIP": "None", "ports": []}));
        let pods = [pod("a", "10.0.0.1", true, None)];
        assert_eq!(told(&headless, &pods), json!([[["10.0.0.1"], [], []]]));
        let address = subsets(&headless, &pods)
            .remove(0)
            .addresses
            .unwrap()
            .remove(0);
        assert_eq!(address.hostname.as_deref(), Some("a"));
    }
}
