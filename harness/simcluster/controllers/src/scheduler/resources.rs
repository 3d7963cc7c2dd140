//! What a pod asks for, and what a node has. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::quantity::Amount;

/// Amounts by the resource's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Resources(BTreeMap<String, Amount>);

impl Resources {
    fn of(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amounts = quantities.into_iter().flatten();
        Self(
            amounts
                .map(|(name, quantity)| (name.clone(), Amount::of(quantity)))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Amount {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, Amount)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let rest = self.0.entry(name.clone()).or_default();
            *rest = rest.saturating_sub(*amount);
        }
    }

    /// The larger of both, for each resource.
    fn max(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

fn of_container(container: &Container) -> Resources {
    Resources::of(
        container
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref()),
    )
}

/// The requests of a pod: its containers and sidecars together, or one init container with the sidecars before it,
/// whichever is more, and the overhead of its runtime.
pub(super) fn of_pod(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else {
        return Resources::default();
    };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&of_container(container));
    }
    let mut sidecars = Resources::default();
    let mut most = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut step = of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&step);
            most.max(&sidecars);
        } else {
            step.add(&sidecars);
            most.max(&step);
        }
    }
    total.add(&sidecars);
    total.max(&most);
    // What the pod as a whole asks for comes before what its containers ask for.
    let whole = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    for (name, amount) in Resources::of(whole).0 {
        total.0.insert(name, amount);
    }
    total.add(&Resources::of(spec.overhead.as_ref()));
    total
}

/// What a node gives to pods.
pub(super) fn of_node(node: &Node) -> Resources {
    Resources::of(
        node.status
            .as_ref()
            .and_then(|status| status.allocatable.as_ref()),
    )
}

/// The ports of the node that a pod takes: protocol, address, number.
pub(super) fn host_ports(pod: &Pod) -> Vec<(String, String, i32)> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
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
            Some((
                protocol,
                address.unwrap_or_else(|| "0.0.0.0".to_owned()),
                number,
            ))
        })
        .collect()
}

/// Whether two ports of a node cannot be taken by two pods.
pub(super) fn ports_collide(left: &(String, String, i32), right: &(String, String, i32)) -> bool {
    let any = "0.0.0.0";
    left.0 == right.0 && left.2 == right.2 && (left.1 == right.1 || left.1 == any || right.1 == any)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_asks_for_its_largest_step() {
        let container = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| {
            let mut sidecar = container(cpu);
            sidecar["restartPolicy"] = json!("Always");
            sidecar
        };
        for (containers, inits, expected) in [
            (vec![container("100m"), container("200m")], vec![], "300m"),
            (vec![container("100m")], vec![container("500m")], "500m"),
            (
                vec![container("100m")],
                vec![sidecar("50m"), container("500m")],
                "550m",
            ),
            (
                vec![container("900m")],
                vec![sidecar("50m"), container("500m")],
                "950m",
            ),
        ] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {}, "spec": {"containers": containers, "initContainers": inits},
            }))
            .unwrap();
            assert_eq!(of_pod(&pod).get("cpu").to_quantity(false).0, expected);
        }
    }
}
