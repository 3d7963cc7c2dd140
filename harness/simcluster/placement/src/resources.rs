//! What a pod asks for, and what a node has.
//!
//! It does not know what other pods have taken.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::amount::Amount;

/// Amounts by the resource's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources(BTreeMap<String, Amount>);

impl Resources {
    /// What is listed so in an object.
    pub fn of(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amounts = quantities.into_iter().flatten();
        Self(
            amounts
                .map(|(name, quantity)| (name.clone(), Amount::of(quantity)))
                .collect(),
        )
    }

    /// Of one resource; nothing if it is not named.
    pub fn get(&self, name: &str) -> Amount {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Those that are named.
    pub fn iter(&self) -> impl Iterator<Item = (&String, Amount)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// With those of another.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Without those of another.
    pub fn subtract(&mut self, other: &Self) {
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
/// whichever is more, and the overhead of its runtime. What a container still has counts while it waits for less.
pub fn of_pod(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else {
        return Resources::default();
    };
    let has = |name: &str| {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        let own = statuses.iter().find(|status| status.name == name)?;
        own.allocated_resources.as_ref()
    };
    let asks = |container: &Container| {
        let resources = container.resources.as_ref();
        resources.and_then(|resources| resources.requests.clone())
    };
    let resized = |container: &&Container| {
        let has = has(&container.name);
        has.is_some() && has != asks(container).as_ref()
    };
    if !spec.containers.iter().any(|container| resized(&container)) {
        return of_spec(spec);
    }
    let mut spec = spec.clone();
    for container in &mut spec.containers {
        let Some(has) = has(&container.name) else {
            continue;
        };
        let mut most = asks(container).unwrap_or_default();
        for (name, amount) in has {
            let wanted = most.get(name).map(Amount::of).unwrap_or_default();
            if Amount::of(amount) > wanted {
                most.insert(name.clone(), amount.clone());
            }
        }
        container.resources.get_or_insert_default().requests = Some(most);
    }
    of_spec(&spec)
}

/// As [`of_pod`], of its spec.
pub fn of_spec(spec: &PodSpec) -> Resources {
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
pub fn of_node(node: &Node) -> Resources {
    Resources::of(
        node.status
            .as_ref()
            .and_then(|status| status.allocatable.as_ref()),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_container_still_has_counts_while_it_waits_for_less() {
        for (wanted, has, counted) in [("100m", "300m", "300m"), ("300m", "100m", "300m")] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {},
                "spec": {"containers": [
                    {"name": "c", "resources": {"requests": {"cpu": wanted, "memory": "1Mi"}}},
                ]},
                "status": {"containerStatuses": [{
                    "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                    "allocatedResources": {"cpu": has},
                }]},
            }))
            .unwrap();
            let all = of_pod(&pod);
            assert_eq!(all.get("cpu"), Amount::of(&Quantity(counted.to_owned())));
            assert_eq!(all.get("memory"), Amount::of(&Quantity("1Mi".to_owned())));
        }
    }

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
