//! The roles and bindings that every cluster starts with.
//!
//! The ones that users and operators meet; the many roles of control-plane components are left out,
//! because the components here act as administrators.

mod namespaces;

use serde_json::{Value, json};

use self::namespaces::{of_namespaces, rule};

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
        role("system:monitoring", &monitoring()),
        role(
            "system:service-account-issuer-discovery",
            &json!([paths(&ISSUER)]),
        ),
    ];
    objects.extend(APPROVERS.map(|(name, signer)| {
        let name = format!("system:certificates.k8s.io:{name}-approver");
        let mut rule = rule(&["certificates.k8s.io"], &["signers"], &["approve"]);
        rule["resourceNames"] = json!([format!("kubernetes.io/{signer}")]);
        role(&name, &json!([rule]))
    }));
    objects.extend(of_namespaces());
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
            "system:monitoring",
            "system:monitoring",
            &["system:monitoring"],
        ),
        binding(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            &["system:serviceaccounts"],
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

const ISSUER: [&str; 4] = [
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
];
/// Roles of those who approve, and what for.
const APPROVERS: [(&str, &str); 4] = [
    ("kube-apiserver-client", "kube-apiserver-client"),
    (
        "kube-apiserver-client-kubelet",
        "kube-apiserver-client-kubelet",
    ),
    ("kubelet-serving", "kubelet-serving"),
    ("legacy-unknown", "legacy-unknown"),
];

fn monitoring() -> Value {
    let paths = paths(&[
        "/healthz",
        "/healthz/*",
        "/livez",
        "/livez/*",
        "/metrics",
        "/metrics/slis",
        "/readyz",
        "/readyz/*",
    ]);
    json!([paths, rule(&[""], &["nodes/metrics"], &["get"])])
}

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
