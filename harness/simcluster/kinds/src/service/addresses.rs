//! The addresses and node ports of a service: what it asks for, what it keeps, what it gives up.
//!
//! The cluster speaks IPv4 only; a service may still ask for more, and gets what there is.

use serde_json::{Value, json};

use super::is_external;
use crate::meta::keep;
use crate::read::{Fill, Read};

const HEADLESS: &str = "None";

/// What must be allocated before a service can be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Any address of the cluster's range.
    pub any_cluster_ip: bool,
    /// This address.
    pub cluster_ip: Option<String>,
    /// Indexes of ports that need any node port.
    pub any_node_ports: Vec<usize>,
    /// Ports (by index) that need this node port.
    pub node_ports: Vec<(usize, u16)>,
}

fn has_cluster_ip(service: &Value) -> bool {
    matches!(
        service.text("spec.type"),
        "ClusterIP" | "NodePort" | "LoadBalancer"
    )
}

fn is_headless(service: &Value) -> bool {
    service.text("spec.clusterIP") == HEADLESS
}

fn has_node_ports(service: &Value) -> bool {
    match service.text("spec.type") {
        "NodePort" => true,
        "LoadBalancer" => {
            service.at("spec.allocateLoadBalancerNodePorts") != Some(&Value::Bool(false))
        }
        _ => false,
    }
}

/// Brings `clusterIP` and `clusterIPs` in step, takes over what an earlier state of the service was
/// given, and fills in the address families. Runs after defaulting and before allocation.
pub fn settle_addresses(new: &mut Value, old: Option<&Value>) {
    match old {
        None => settle_new(new),
        Some(old) => settle_update(new, old),
    }
    fill_families(new);
}

fn settle_new(service: &mut Value) {
    if service.lacks("spec.clusterIPs") && !service.lacks("spec.clusterIP") {
        let address = service["spec"]["clusterIP"].clone();
        service.put("spec.clusterIPs", json!([address]));
    }
}

fn settle_update(new: &mut Value, old: &Value) {
    let same_kind = has_cluster_ip(new) && has_cluster_ip(old);
    if same_kind {
        // Clients that know only one of both fields clear or change that one.
        let (address, before) = (new.text("spec.clusterIP"), old.text("spec.clusterIP"));
        let cleared = address.is_empty() && !before.is_empty();
        let same_list = new.at("spec.clusterIPs") == old.at("spec.clusterIPs");
        if cleared && same_list {
            new.take_field("spec.clusterIPs");
        } else if address != before && !address.is_empty() && same_list {
            let address = json!([address]);
            new.put("spec.clusterIPs", address);
        }
        for field in ["spec.clusterIP", "spec.clusterIPs"] {
            if new.lacks(field) {
                keep_if_there(new, old, field);
            }
        }
    } else if has_cluster_ip(new) {
        settle_new(new);
    }
    if has_node_ports(new) && has_node_ports(old) {
        keep_node_ports(new, old);
    }
    if is_external(new.text("spec.type"))
        && new.integer("spec.healthCheckNodePort").unwrap_or(0) == 0
    {
        keep_if_there(new, old, "spec.healthCheckNodePort");
    }
}

fn keep_if_there(new: &mut Value, old: &Value, field: &str) {
    if let Some(value) = old.at(field) {
        new.put(field, value.clone());
    }
}

/// A port without a node port keeps the one it had.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let taken: Vec<i64> = new
        .list("spec.ports")
        .iter()
        .filter_map(|port| port.integer("nodePort"))
        .collect();
    for port in new.items("spec.ports") {
        if port.integer("nodePort").unwrap_or(0) != 0 {
            continue;
        }
        let before = old.list("spec.ports").iter().find(|one| {
            one.at("port") == port.at("port") && one.at("protocol") == port.at("protocol")
        });
        let number = before.and_then(|one| one.integer("nodePort")).unwrap_or(0);
        if number != 0 && !taken.contains(&number) {
            port.put("nodePort", number);
        }
    }
}

fn fill_families(service: &mut Value) {
    if service.text("spec.type") == "ExternalName" || !has_cluster_ip(service) {
        return;
    }
    if is_headless(service) && service.lacks("spec.selector") {
        // Endpoints of any family may be written by hand.
        service.fill("spec.ipFamilyPolicy", "RequireDualStack");
        if service.lacks("spec.ipFamilies") {
            service.put("spec.ipFamilies", json!(["IPv4", "IPv6"]));
        }
        return;
    }
    service.fill("spec.ipFamilyPolicy", "SingleStack");
    if service.lacks("spec.ipFamilies") {
        let family = if service.text("spec.clusterIP").contains(':') {
            "IPv6"
        } else {
            "IPv4"
        };
        service.put("spec.ipFamilies", json!([family]));
    }
}

/// What must be allocated for `service`, compared with what `old` holds already.
pub fn wanted(service: &Value, old: Option<&Value>) -> Wanted {
    let mut wanted = Wanted::default();
    let held_addresses = old.map(allocated_addresses).unwrap_or_default();
    if has_cluster_ip(service) {
        match service.text("spec.clusterIP") {
            "" => wanted.any_cluster_ip = true,
            HEADLESS => {}
            address if held_addresses.iter().any(|held| held == address) => {}
            // While another type had no address, one may be asked for by an update too.
            address => wanted.cluster_ip = Some(address.to_owned()),
        }
    }
    let held_ports = old.map(allocated_node_ports).unwrap_or_default();
    if has_node_ports(service) {
        for (index, port) in service.list("spec.ports").iter().enumerate() {
            match u16::try_from(port.integer("nodePort").unwrap_or(0)) {
                Ok(0) => wanted.any_node_ports.push(index),
                Ok(number) if !held_ports.contains(&number) => {
                    wanted.node_ports.push((index, number));
                }
                _ => {}
            }
        }
    }
    wanted
}

/// Gives the service its address.
pub fn set_cluster_ip(service: &mut Value, address: &str) {
    service.put("spec.clusterIP", address);
    service.put("spec.clusterIPs", json!([address]));
}

/// Gives the port at `index` its node port.
pub fn set_node_port(service: &mut Value, index: usize, port: u16) {
    if let Some(entry) = service.items("spec.ports").get_mut(index) {
        entry.put("nodePort", port);
    }
}

/// The addresses that a service holds, to be freed when it goes or gives them up.
pub fn allocated_addresses(service: &Value) -> Vec<String> {
    if !has_cluster_ip(service) {
        return Vec::new();
    }
    let addresses = service.texts("spec.clusterIPs");
    addresses
        .into_iter()
        .filter(|one| *one != HEADLESS)
        .map(str::to_owned)
        .collect()
}

/// The node ports that a service holds.
pub fn allocated_node_ports(service: &Value) -> Vec<u16> {
    let ports = service.list("spec.ports").iter();
    ports
        .filter_map(|port| u16::try_from(port.integer("nodePort")?).ok())
        .filter(|port| *port != 0)
        .collect()
}

/// What only the old type of a service had goes with the type, unless the client changed it.
pub(super) fn drop_fields_of_old_type(new: &mut Value, old: &Value) {
    let unchanged = |new: &Value, field: &str| new.at(field) == old.at(field);
    if has_cluster_ip(old) && !has_cluster_ip(new) {
        if unchanged(new, "spec.clusterIPs") {
            new.take_field("spec.clusterIP");
            new.take_field("spec.clusterIPs");
        }
        for field in [
            "spec.ipFamilies",
            "spec.ipFamilyPolicy",
            "spec.internalTrafficPolicy",
        ] {
            if unchanged(new, field) {
                new.take_field(field);
            }
        }
    }
    if has_node_ports(old) && !has_node_ports(new) {
        let before = old.list("spec.ports");
        let kept = new.list("spec.ports").len() == before.len()
            && new
                .list("spec.ports")
                .iter()
                .zip(before)
                .all(|(new, old)| new.at("nodePort") == old.at("nodePort"));
        if kept {
            for port in new.items("spec.ports") {
                port.take_field("nodePort");
            }
        }
    }
    let (new_kind, old_kind) = (new.text("spec.type").to_owned(), old.text("spec.type"));
    if is_external(old_kind) && !is_external(&new_kind) {
        for field in ["spec.externalTrafficPolicy", "spec.healthCheckNodePort"] {
            if unchanged(new, field) {
                new.take_field(field);
            }
        }
    }
    if old_kind == "LoadBalancer" && new_kind != "LoadBalancer" {
        for field in [
            "spec.allocateLoadBalancerNodePorts",
            "spec.loadBalancerClass",
        ] {
            if unchanged(new, field) {
                new.take_field(field);
            }
        }
        new.put("status.loadBalancer", json!({}));
    }
    if old_kind == "ExternalName"
        && new_kind != "ExternalName"
        && unchanged(new, "spec.externalName")
    {
        new.take_field("spec.externalName");
    }
    if new.at("status").is_none() {
        keep(new, old, "status");
    }
}
