//! The roles that users of a namespace are given: `view`, `edit`, `admin`, and what they are made of.

use serde_json::{Value, json};

use super::role;

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
const BOTH: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Groups, resources, verbs.
type Grant = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

fn rules(grants: &[Grant]) -> Vec<Value> {
    let rules = grants.iter();
    rules
        .map(|(groups, resources, verbs)| rule(groups, resources, verbs))
        .collect()
}

pub(super) fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

/// What users of a namespace are given: `view`, `edit` and `admin` are made of all roles with a label,
/// so that whoever adds a kind can add it to them.
pub(super) fn of_namespaces() -> Vec<Value> {
    let into = |names: &[&str]| -> Vec<String> {
        let labels = names.iter();
        labels.map(|name| format!("{AGGREGATE}{name}")).collect()
    };
    let metrics = rule(&["metrics.k8s.io"], &["nodes", "pods"], &READ);
    let mut all: Vec<Value> = [
        ("system:aggregate-to-admin", into(&["admin"]), rules(ADMIN)),
        ("system:aggregate-to-edit", into(&["edit"]), rules(EDIT)),
        ("system:aggregate-to-view", into(&["view"]), rules(VIEW)),
        (
            "system:aggregated-metrics-reader",
            into(&["admin", "edit", "view"]),
            vec![metrics],
        ),
    ]
    .into_iter()
    .map(|(name, labels, rules)| labelled(role(name, &rules.into()), &labels))
    .collect();
    for (name, next) in [
        ("view", Some("edit")),
        ("edit", Some("admin")),
        ("admin", None),
    ] {
        let label = format!("{AGGREGATE}{name}");
        // As the controller that keeps them does: in the order of their names, each rule once.
        all.sort_by_key(|role| role["metadata"]["name"].to_string());
        let mut rules: Vec<Value> = Vec::new();
        for part in &all {
            let is_part = part["metadata"]["labels"].get(&label).is_some();
            for own in part["rules"].as_array().into_iter().flatten() {
                if is_part && !rules.contains(own) {
                    rules.push(own.clone());
                }
            }
        }
        let mut whole = role(name, &rules.into());
        whole["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        let next: Vec<&str> = next.into_iter().collect();
        all.push(labelled(whole, &into(&next)));
    }
    all
}

const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";

fn labelled(mut role: Value, labels: &[String]) -> Value {
    for label in labels {
        role["metadata"]["labels"][label] = "true".into();
    }
    role
}

const VIEW: &[Grant] = &[
    (
        &[""],
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
        ],
        &READ,
    ),
    (
        &[""],
        &[
            "bindings",
            "limitranges",
            "namespaces/status",
            "pods/log",
            "pods/status",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
        ],
        &READ,
    ),
    (&[""], &["namespaces"], &READ),
    (&["", "events.k8s.io"], &["events"], &READ),
    (&["discovery.k8s.io"], &["endpointslices"], &READ),
    (
        &["apps"],
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
        &READ,
    ),
    (
        &["autoscaling"],
        &[
            "horizontalpodautoscalers",
            "horizontalpodautoscalers/status",
        ],
        &READ,
    ),
    (
        &["batch"],
        &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
        &READ,
    ),
    (
        &["extensions"],
        &[
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "ingresses",
            "ingresses/status",
            "networkpolicies",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "replicationcontrollers/scale",
        ],
        &READ,
    ),
    (
        &["policy"],
        &["poddisruptionbudgets", "poddisruptionbudgets/status"],
        &READ,
    ),
    (
        &["networking.k8s.io"],
        &["ingresses", "ingresses/status", "networkpolicies"],
        &READ,
    ),
    (
        &["resource.k8s.io"],
        &[
            "resourceclaims",
            "resourceclaims/status",
            "resourceclaimtemplates",
        ],
        &READ,
    ),
];

const EDIT: &[Grant] = &[
    (
        &[""],
        &[
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "services/proxy",
        ],
        &READ,
    ),
    (&[""], &["serviceaccounts"], &["impersonate"]),
    (
        &[""],
        &[
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
        ],
        &WRITE,
    ),
    (&[""], &["pods/eviction"], &["create"]),
    (
        &[""],
        &[
            "configmaps",
            "persistentvolumeclaims",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
        &WRITE,
    ),
    (&[""], &["serviceaccounts/token"], &["create"]),
    (&["", "events.k8s.io"], &["events"], &WRITE),
    (
        &["apps"],
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
        &WRITE,
    ),
    (&["autoscaling"], &["horizontalpodautoscalers"], &WRITE),
    (&["batch"], &["cronjobs", "jobs"], &WRITE),
    (
        &["extensions"],
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "ingresses",
            "networkpolicies",
            "replicasets",
            "replicasets/scale",
            "replicationcontrollers/scale",
        ],
        &WRITE,
    ),
    (&["policy"], &["poddisruptionbudgets"], &WRITE),
    (
        &["networking.k8s.io"],
        &["ingresses", "networkpolicies"],
        &WRITE,
    ),
    (&["coordination.k8s.io"], &["leases"], &BOTH),
    (
        &["resource.k8s.io"],
        &["resourceclaims", "resourceclaimtemplates"],
        &WRITE,
    ),
];

const ADMIN: &[Grant] = &[
    (
        &["authorization.k8s.io"],
        &["localsubjectaccessreviews"],
        &["create"],
    ),
    (
        &["rbac.authorization.k8s.io"],
        &["rolebindings", "roles"],
        &BOTH,
    ),
];

#[cfg(test)]
mod tests {
    use super::super::objects;
    use super::*;
    use crate::rbac::{Attributes, Policy};

    fn found(name: &str) -> Value {
        let mut objects = objects().into_iter();
        objects
            .find(|one| one["kind"] == "ClusterRole" && one["metadata"]["name"] == name)
            .unwrap()
    }

    #[test]
    fn roles_of_namespaces_are_made_of_those_with_their_label() {
        let count = |name: &str| found(name)["rules"].as_array().unwrap().len();
        let (view, edit, admin) = (count("view"), count("edit"), count("admin"));
        assert_eq!(view, VIEW.len() + 1);
        assert_eq!(edit, view + EDIT.len());
        assert_eq!(admin, edit + ADMIN.len());
        let label = format!("{AGGREGATE}admin");
        assert_eq!(found("edit")["metadata"]["labels"][&label], "true");
        assert_eq!(
            found("admin")["aggregationRule"]["clusterRoleSelectors"],
            json!([{"matchLabels": {label: "true"}}])
        );
    }

    #[test]
    fn who_edits_a_namespace_writes_no_status_and_no_limits() {
        let mut policy = Policy::default();
        policy.add(&found("edit"));
        policy.add(
            &json!({"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "a"},
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "User", "name": "jan"}]}),
        );
        let may = |verb: &str, resource: &str, subresource: &str, group: &str| {
            policy.allows(&Attributes {
                user: "jan".to_owned(),
                verb: verb.to_owned(),
                group: group.to_owned(),
                resource: resource.to_owned(),
                subresource: subresource.to_owned(),
                namespace: "a".to_owned(),
                ..Attributes::default()
            })
        };
        assert!(may("update", "deployments", "", "apps") && may("get", "secrets", "", ""));
        assert!(may("get", "deployments", "status", "apps"));
        assert!(!may("update", "deployments", "status", "apps"));
        assert!(!may("create", "resourcequotas", "", ""));
        assert!(!may("create", "roles", "", "rbac.authorization.k8s.io"));
    }
}
