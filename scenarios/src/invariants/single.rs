//! Never two servers on one data directory, never two operations on one server. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const INSTANCE: &str = "otus.homework/instance";
const COMPONENT: &str = "app.kubernetes.io/component";

/// Instances with more than one running server.
pub fn servers(pods: &BTreeMap<String, Pod>) -> Vec<String> {
    several(pods, "mysql", |component| component == "server", "servers")
}

/// Instances with more than one running operation.
pub fn operations(pods: &BTreeMap<String, Pod>) -> Vec<String> {
    let is_operation =
        |component: &str| ["restore", "backup", "password", "upkeep"].contains(&component);
    several(pods, "mysql-job", is_operation, "operations")
}

fn several(
    pods: &BTreeMap<String, Pod>,
    container: &str,
    is_meant: impl Fn(&str) -> bool,
    what: &str,
) -> Vec<String> {
    let mut running: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.values().filter(|pod| runs(pod, container)) {
        let labels = pod.labels();
        let ours = labels
            .get(MANAGED_BY)
            .is_some_and(|by| by == "mysql-operator");
        let (Some(instance), Some(component), true) =
            (labels.get(INSTANCE), labels.get(COMPONENT), ours)
        else {
            continue;
        };
        if is_meant(component) {
            let instance = format!("{}/{instance}", pod.namespace().unwrap_or_default());
            running.entry(instance).or_default().push(pod.name_any());
        }
    }
    running
        .into_iter()
        .filter(|(_, pods)| pods.len() > 1)
        .map(|(instance, pods)| {
            format!(
                "I9: two {what} of {instance} run at once: {}",
                pods.join(", ")
            )
        })
        .collect()
}

fn runs(pod: &Pod, container: &str) -> bool {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().any(|status| {
        status.name == container
            && status
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, component: &str, container: &str) -> (String, Pod) {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "labels": {
                MANAGED_BY: "mysql-operator", INSTANCE: "db", COMPONENT: component,
            }},
            "status": {"containerStatuses": [{
                "name": container, "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
                "state": {"running": {}},
            }]},
        }));
        (name.to_owned(), pod.expect("a pod"))
    }

    #[test]
    fn two_running_servers_of_one_instance_are_noticed() {
        let mut pods: BTreeMap<_, _> = [pod("a", "server", "mysql")].into();
        assert!(servers(&pods).is_empty());
        pods.extend([pod("b", "server", "mysql")]);
        assert_eq!(servers(&pods).len(), 1);
        assert!(operations(&pods).is_empty());
    }

    #[test]
    fn a_backup_beside_a_password_change_is_noticed() {
        let pods = [
            pod("a", "backup", "mysql-job"),
            pod("b", "password", "mysql-job"),
        ];
        assert_eq!(operations(&pods.into()).len(), 1);
    }
}
