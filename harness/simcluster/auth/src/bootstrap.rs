//! The roles and bindings that every cluster starts with.
//!
//! The ones that users and operators meet; the many roles of control-plane components are left out,
//! because the components here act as administrators.

use serde_json::{Value, json};

/// ClusterRoles and ClusterRoleBindings, without server-owned metadata.
pub fn objects() -> Vec<Value> {
    let mut objects = vec![
        role(
            "cluster-admin",
            &json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]),
        ),
        role("system:discovery", &json!([paths(&DISCOVERY)])),
        role("system:public-info-viewer", &json!([paths(&PUBLIC)])),
        role(
            "system:basic-user",
            &json!([
                {"apiGroups": ["authorization.k8s.io"],
                 "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                 "verbs": ["create"]},
                {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"],
                 "verbs": ["create"]},
            ]),
        ),
        role(
            "system:auth-delegator",
            &json!([
                {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"],
                 "verbs": ["create"]},
                {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"],
                 "verbs": ["create"]},
            ]),
        ),
        role("view", &view()),
        role("edit", &edit()),
        role("admin", &admin()),
    ];
    objects.extend([
        binding("cluster-admin", "cluster-admin", &["system:masters"]),
        binding(
            "system:discovery",
            "system:discovery",
            &["system:authenticated"],
        ),
        binding(
            "system:basic-user",
            "system:basic-user",
            &["system:authenticated"],
        ),
        binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            &["system:authenticated", "system:unauthenticated"],
        ),
    ]);
    objects
}

const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
const DISCOVERY: [&str; 11] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];

fn paths(paths: &[&str]) -> Value {
    json!({"nonResourceURLs": paths, "verbs": ["get"]})
}

fn role(name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata(name),
        "rules": rules,
    })
}

fn binding(name: &str, role: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> = groups
        .iter()
        .map(|group| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}))
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata(name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// API group and what of it users of a namespace see.
const WORKLOADS: [(&str, &[&str]); 6] = [
    (
        "",
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
    ),
    (
        "apps",
        &[
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
    ),
    (
        "autoscaling",
        &[
            "horizontalpodautoscalers",
            "horizontalpodautoscalers/status",
        ],
    ),
    (
        "batch",
        &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
    ),
    (
        "networking.k8s.io",
        &["ingresses", "ingresses/status", "networkpolicies"],
    ),
    (
        "policy",
        &["poddisruptionbudgets", "poddisruptionbudgets/status"],
    ),
];

fn rules(verbs: &[&str]) -> Vec<Value> {
    WORKLOADS
        .iter()
        .map(|(group, resources)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs}))
        .collect()
}

fn view() -> Value {
    let mut all = rules(&READ);
    all.push(json!({
        "apiGroups": [""],
        "resources": ["bindings", "events", "limitranges", "namespaces", "namespaces/status",
                      "pods/log", "pods/status", "resourcequotas", "resourcequotas/status"],
        "verbs": READ,
    }));
    all.push(
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ}),
    );
    all.push(
        json!({"apiGroups": ["metrics.k8s.io"], "resources": ["nodes", "pods"], "verbs": READ}),
    );
    all.into()
}

fn edit() -> Value {
    let Value::Array(mut all) = view() else {
        return Value::Null;
    };
    all.extend(rules(&WRITE));
    all.push(json!({"apiGroups": [""], "resources": ["secrets"], "verbs": read_and_write()}));
    all.push(json!({
        "apiGroups": [""],
        "resources": ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"],
        "verbs": read_and_write(),
    }));
    all.push(json!({"apiGroups": [""], "resources": ["pods/eviction", "serviceaccounts/token"], "verbs": ["create"]}));
    all.push(
        json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}),
    );
    all.push(
        json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                    "verbs": read_and_write()}),
    );
    all.into()
}

fn admin() -> Value {
    let Value::Array(mut all) = edit() else {
        return Value::Null;
    };
    all.push(json!({"apiGroups": ["authorization.k8s.io"],
                    "resources": ["localsubjectaccessreviews"], "verbs": ["create"]}));
    all.push(
        json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings", "roles"],
                    "verbs": read_and_write()}),
    );
    all.into()
}

fn read_and_write() -> Vec<&'static str> {
    [READ.as_slice(), &WRITE].concat()
}
