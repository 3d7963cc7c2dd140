//! The ports of a node that pods take for themselves.
//!
//! It opens none.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Protocol, address, number.
pub type HostPort = (String, String, i32);

/// Stands for every address.
const ANY: &str = "0.0.0.0";

/// The ports of the node that a pod takes.
pub fn of_pod(pod: &Pod) -> Vec<HostPort> {
    pod.spec.as_ref().map(of_spec).unwrap_or_default()
}

/// As [`of_pod`], of its spec.
pub fn of_spec(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let address = port.host_ip.clone().filter(|address| !address.is_empty());
            Some((protocol, address.unwrap_or_else(|| ANY.to_owned()), number))
        })
        .collect()
}

/// Whether two ports of a node cannot be taken by two pods.
pub fn collide(left: &HostPort, right: &HostPort) -> bool {
    let apart = left.1 != right.1 && left.1 != ANY && right.1 != ANY;
    left.0 == right.0 && left.2 == right.2 && !apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_at_one_address_or_at_all() {
        let port = |protocol: &str, address: &str, number| -> HostPort {
            (protocol.to_owned(), address.to_owned(), number)
        };
        let all = port("TCP", ANY, 80);
        assert!(collide(&all, &port("TCP", "127.0.0.1", 80)));
        assert!(!collide(&all, &port("UDP", "127.0.0.1", 80)));
        assert!(!collide(&all, &port("TCP", ANY, 81)));
        let (one, other) = (port("TCP", "127.0.0.1", 80), port("TCP", "10.0.0.1", 80));
        assert!(!collide(&one, &other));
    }
}
