//! A pod's quality of service and its resources as the status shows them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::quantity;

type Amounts = BTreeMap<String, Quantity>;

/// `qosClass`: by the requests and limits of cpu and memory.
pub fn class(spec: &PodSpec) -> &'static str {
    let whole = spec.resources.as_ref();
    if let Some(whole) = whole.filter(|r| r.requests.is_some() || r.limits.is_some()) {
        // What the pod as a whole asks for comes before what its containers ask for.
        let alone = Container {
            resources: Some(whole.clone()),
            ..Container::default()
        };
        return class_of(&[&alone]);
    }
    class_of(&containers(spec).collect::<Vec<_>>())
}

fn class_of(all: &[&Container]) -> &'static str {
    let empty = |amounts: Option<&Amounts>| {
        ["cpu", "memory"]
            .iter()
            .all(|r| amount(amounts, r).is_none_or(|v| v == 0))
    };
    if all.iter().all(|c| empty(requests(c)) && empty(limits(c))) {
        return "BestEffort";
    }
    let guaranteed = all.iter().all(|c| {
        ["cpu", "memory"].iter().all(|r| {
            let limit = amount(limits(c), r);
            limit.is_some_and(|v| v > 0) && amount(requests(c), r).is_none_or(|v| Some(v) == limit)
        })
    });
    if guaranteed {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// `status.resources` of the whole pod: the sum of requests, and of limits where every container has one.
pub fn of_pod(spec: &PodSpec, at_rest: bool) -> ResourceRequirements {
    let mains = &spec.containers;
    let sum = |pick: fn(&Container) -> Option<&Amounts>, every: bool| -> Amounts {
        ["cpu", "memory"]
            .into_iter()
            .filter_map(|resource| {
                let found: Vec<&Quantity> = mains
                    .iter()
                    .filter_map(|c| pick(c)?.get(resource))
                    .collect();
                let known = !found.is_empty() && (!every || found.len() == mains.len());
                known.then(|| (resource.to_owned(), quantity::sum(&found)))
            })
            .collect()
    };
    let mut limits_of_pod = sum(limits, true);
    if at_rest {
        // When its control group is gone, a real node reads the kernel's word for "no limit".
        limits_of_pod
            .entry("memory".into())
            .or_insert_with(|| Quantity("9007199254740988Ki".into()));
    }
    let requests_of_pod = sum(requests, false);
    ResourceRequirements {
        claims: None,
        limits: (!limits_of_pod.is_empty()).then_some(limits_of_pod),
        requests: (!requests_of_pod.is_empty()).then_some(requests_of_pod),
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
}

fn requests(container: &Container) -> Option<&Amounts> {
    container.resources.as_ref()?.requests.as_ref()
}

fn limits(container: &Container) -> Option<&Amounts> {
    container.resources.as_ref()?.limits.as_ref()
}

fn amount(amounts: Option<&Amounts>, resource: &str) -> Option<i128> {
    quantity::nanos(&amounts?.get(resource)?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_class_follows_the_pods_own_resources_before_its_containers() {
        let small = json!({"cpu": "1", "memory": "1Gi"});
        let of = |whole: &Value, own: &Value| {
            let spec = json!({"resources": whole, "containers": [{"name": "c", "resources": own}]});
            class(&serde_json::from_value(spec).unwrap())
        };
        let (none, both) = (json!({}), json!({"requests": small, "limits": small}));
        assert_eq!(of(&none, &none), "BestEffort");
        assert_eq!(of(&none, &both), "Guaranteed");
        assert_eq!(of(&both, &none), "Guaranteed");
        assert_eq!(of(&json!({"requests": small}), &both), "Burstable");
    }
}
