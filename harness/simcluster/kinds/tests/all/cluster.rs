//! Nodes, namespaces, roles and bindings, budgets, classes of priority, webhooks, custom resources.

use serde_json::json;
use simcluster_kinds::{Scope, rules};
use simcluster_machinery::kind::GroupVersionKind;

use super::{cells, created, defaulted, refused, rules_of, texts, updated};

#[test]
fn a_namespace_is_active_labelled_and_finalized() {
    let namespace = created("{apiVersion: v1, kind: Namespace, metadata: {name: n}}");
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "n"})
    );
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    let (kept, errors) = updated(&namespace, |new| new["spec"]["finalizers"] = json!([]));
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(
        kept["spec"], namespace["spec"],
        "only the finalize subresource changes them"
    );
    let mut finalized = namespace.clone();
    finalized["spec"]["finalizers"] = json!([]);
    finalized["metadata"]["labels"] = json!({});
    simcluster_kinds::namespace::prepare_finalize(&mut finalized, &namespace);
    assert_eq!(finalized["spec"]["finalizers"], json!([]));
    assert_eq!(
        finalized["metadata"]["labels"],
        namespace["metadata"]["labels"]
    );
}

#[test]
fn a_node_brings_its_status_and_is_shown_with_its_roles() {
    let node = created(
        "
apiVersion: v1
kind: Node
metadata: {name: a, labels: {node-role.kubernetes.io/control-plane: ''}}
spec: {unschedulable: true}
status:
  capacity: {cpu: '2'}
  conditions: [{type: Ready, status: 'True'}]
  addresses: [{type: InternalIP, address: 10.0.0.1}]
  nodeInfo: {kubeletVersion: v1.36.0, osImage: Linux}
",
    );
    assert_eq!(node["status"]["allocatable"], json!({"cpu": "2"}));
    assert_eq!(
        json!(cells(&node)[1..8]),
        json!([
            "Ready,SchedulingDisabled",
            "control-plane",
            "60m",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "Linux"
        ])
    );
}

#[test]
fn a_role_s_rules_are_about_resources() {
    let role = |rule: &str| {
        refused(&format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, \
             metadata: {{name: 'a:b', namespace: n}}, rules: [{rule}]}}"
        ))
    };
    assert_eq!(
        role("{apiGroups: [''], resources: [pods], verbs: []}"),
        ["rules[0].verbs: Required value: verbs must contain at least one value"]
    );
    assert_eq!(
        role("{nonResourceURLs: [/x], verbs: [get]}"),
        ["rules[0].nonResourceURLs: Invalid value: [\"/x\"]: \
          namespaced rules cannot apply to non-resource URLs"]
    );
    assert!(role("{apiGroups: [''], resources: [pods], verbs: [get]}").is_empty());
}

#[test]
fn a_binding_keeps_its_role() {
    let binding = created(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b, namespace: n}
roleRef: {kind: Role, name: r}
subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s, namespace: n}]
",
    );
    assert_eq!(binding["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(
        binding["subjects"][0]["apiGroup"],
        "rbac.authorization.k8s.io"
    );
    assert_eq!(
        json!(cells(&binding)),
        json!(["b", "Role/r", "60m", "u", "", "n/s"])
    );
    let (_, errors) = updated(&binding, |new| new["roleRef"]["name"] = json!("y"));
    assert_eq!(
        errors,
        [
            "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\
          \"Name\":\"y\"}: cannot change roleRef"
        ]
    );
}

#[test]
fn a_budget_says_one_thing() {
    let budget = |spec: &str| {
        format!(
            "{{apiVersion: policy/v1, kind: PodDisruptionBudget, \
             metadata: {{name: b, namespace: n}}, spec: {spec}}}"
        )
    };
    assert_eq!(
        refused(&budget("{minAvailable: 1, maxUnavailable: 1}")),
        [
            "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":null,\"MaxUnavailable\":1,\
          \"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set"
        ]
    );
    assert_eq!(
        refused(&budget("{minAvailable: 150%}")),
        ["spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%"]
    );
    let good = created(&budget("{maxUnavailable: 30%}"));
    assert_eq!(json!(cells(&good)), json!(["b", "N/A", "30%", 0, "60m"]));
}

#[test]
fn priority_classes_of_the_system_are_its_own() {
    let class = |name: &str, value: i64| {
        refused(&format!(
            "{{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, \
             metadata: {{name: {name}}}, value: {value}}}"
        ))
    };
    assert!(class("system-node-critical", 2_000_001_000).is_empty());
    assert_eq!(
        class("high", 2_000_000_000),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
    );
}

#[test]
fn a_webhook_has_defaults_and_must_say_its_side_effects() {
    let configuration = "
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: w}
webhooks:
- name: a.example.com
  clientConfig: {service: {name: s, namespace: n}}
  admissionReviewVersions: [v1]
  rules: [{apiGroups: [''], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
";
    let with = defaulted(configuration);
    let webhook = &with["webhooks"][0];
    assert_eq!(webhook["failurePolicy"], "Fail");
    assert_eq!(webhook["timeoutSeconds"], 10);
    assert_eq!(webhook["reinvocationPolicy"], "Never");
    assert_eq!(webhook["rules"][0]["scope"], "*");
    assert_eq!(webhook["clientConfig"]["service"]["port"], 443);
    assert_eq!(
        refused(configuration),
        ["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"]
    );
}

#[test]
fn names_and_finalizers_are_judged_with_the_rest() {
    assert_eq!(
        refused(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: n, finalizers: [plain]}}"
        ),
        ["metadata.finalizers[0]: Invalid value: \"plain\": \
          name is neither a standard finalizer name nor is it fully qualified"]
    );
    let custom = rules(&GroupVersionKind::new("example.com", "v1", "Pot"));
    let pot =
        json!({"metadata": {"name": "p", "namespace": "n", "generation": 1}, "spec": {"a": 1}});
    let mut new = pot.clone();
    new["spec"]["a"] = json!(2);
    custom.prepare_update(&mut new, &pot);
    assert_eq!(new["metadata"]["generation"], 2);
    assert!(texts(&custom.check_create(&pot, Scope::Namespaced)).is_empty());
}

#[test]
fn deprecated_kinds_say_so() {
    let endpoints = created("{apiVersion: v1, kind: Endpoints, metadata: {name: e, namespace: n}}");
    assert_eq!(
        rules_of(&endpoints).deprecation(),
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    );
}
