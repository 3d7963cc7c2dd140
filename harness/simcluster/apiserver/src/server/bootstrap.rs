//! The objects that every cluster begins with.

use serde_json::{Value, json};

use super::{Inner, registry, verbs};

/// Puts them into an empty store.
pub(crate) fn fill(server: &Inner) {
    let now = server.config.clock.rfc3339();
    let put = |resource: &str, group: &str, key: &str, mut object: Value| {
        object["metadata"]["uid"] = verbs::new_uid().into();
        object["metadata"]["creationTimestamp"] = now.clone().into();
        // The store is empty and nobody else has it yet.
        let _ = server
            .store
            .create(&registry::collection(group, resource), &key.into(), object);
    };
    for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        put("namespaces", "", name, namespace(name));
    }
    for object in simcluster_auth::bootstrap::objects() {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let resource = match object["kind"].as_str().unwrap_or_default() {
            "ClusterRole" => "clusterroles",
            "ClusterRoleBinding" => "clusterrolebindings",
            "Role" => "roles",
            _ => "rolebindings",
        };
        let key = if namespace.is_empty() {
            name
        } else {
            format!("{namespace}/{name}")
        };
        put(resource, "rbac.authorization.k8s.io", &key, object);
    }
    for (name, value, description) in [
        (
            "system-node-critical",
            2_000_001_000,
            "critical to the node",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "critical to the cluster",
        ),
    ] {
        put(
            "priorityclasses",
            "scheduling.k8s.io",
            name,
            priority_class(name, value, description),
        );
    }
    put(
        "services",
        "",
        "default/kubernetes",
        kubernetes_service(server),
    );
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

fn priority_class(name: &str, value: i64, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": name, "generation": 1},
        "value": value,
        "description": format!("For system pods that are {description}."),
        "preemptionPolicy": "PreemptLowerPriority",
    })
}

fn kubernetes_service(server: &Inner) -> Value {
    let address = server.config.service_range.nth(1).to_string();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": address, "clusterIPs": [address],
            "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
        "status": {"loadBalancer": {}},
    })
}
