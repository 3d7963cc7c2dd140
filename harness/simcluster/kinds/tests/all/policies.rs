//! Who may do what, what is let through and how much may be away: bindings, webhooks, policies of
//! networks, ingresses, budgets, autoscalers.

use serde_json::{Value, json};

use super::{cells, created, refused, rules_of, texts, updated};

/// What is said of a new status.
fn status_refused(object: &Value, status: Value) -> Vec<String> {
    let mut old = object.clone();
    old["metadata"]["resourceVersion"] = json!("1");
    let mut new = old.clone();
    new["status"] = status;
    texts(&rules_of(&new).check_status_update(&new, &old))
}

#[test]
fn an_account_in_a_role_binding_is_of_its_namespace_unless_it_says_otherwise() {
    let binding = |kind: &str, metadata: &str| {
        format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata: {{name: b{metadata}}}
roleRef: {{kind: ClusterRole, name: r}}
subjects: [{{kind: ServiceAccount, name: UPPER, apiGroup: x}}]
"
        )
    };
    let name = "subjects[0].name: Invalid value: \"UPPER\"";
    let group = "subjects[0].apiGroup: Unsupported value: \"x\": supported values: \"\"";
    let errors = refused(&binding("RoleBinding", ", namespace: n"));
    assert!(
        errors.len() == 2 && errors[0].starts_with(name),
        "{errors:?}"
    );
    assert_eq!(errors[1], group);
    let errors = refused(&binding("ClusterRoleBinding", ""));
    assert_eq!(
        errors[1..],
        [group, "subjects[0].namespace: Required value"]
    );
}

#[test]
fn a_budget_keeps_no_rule_for_names_and_counts_nothing_below_zero() {
    let budget = created(
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: My_Budget, namespace: n}, spec: {minAvailable: 1}}",
    );
    let rules = rules_of(&budget);
    assert!(
        rules
            .check_create(&budget, simcluster_kinds::Scope::Namespaced)
            .is_empty()
    );
    let status = json!({"disruptionsAllowed": -1, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        "conditions": [{"type": "A", "status": "Maybe", "reason": "no reason", "lastTransitionTime": "2024-05-01T10:00:00Z", "message": ""}]});
    assert_eq!(
        status_refused(&budget, status),
        [
            "status.conditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \
             \"True\", \"Unknown\"",
            "status.conditions[0].reason: Invalid value: \"no reason\": a condition reason must start \
             with alphabetic character, optionally followed by a string of alphanumeric characters or \
             '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  \
             or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
             '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')",
            "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
        ]
    );
}

const WEBHOOKS: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: w}
webhooks:
- name: a.example.com
  sideEffects: None
  admissionReviewVersions: [v1, v1]
  clientConfig: {url: 'https://example.com/'}
  rules:
  - operations: ['*', CREATE]
    apiGroups: ['*', apps]
    apiVersions: ['']
    resources: ['pods/*', 'pods/log', '*/*', '*', deployments]
";

#[test]
fn a_webhook_is_asked_about_nothing_twice() {
    assert_eq!(
        refused(WEBHOOKS),
        [
            "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, \
             must not specify other operations",
            "webhooks[0].rules[0].apiGroups: Invalid value: [\"*\",\"apps\"]: if '*' is present, must \
             not specify other API groups",
            "webhooks[0].rules[0].apiVersions[0]: Required value",
            "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, \
             must not specify pods/log",
            "webhooks[0].rules[0].resources: Invalid value: \
             [\"pods/*\",\"pods/log\",\"*/*\",\"*\",\"deployments\"]: if '*/*' is present, must not \
             specify other resources",
            "webhooks[0].rules[0].resources: Invalid value: \
             [\"pods/*\",\"pods/log\",\"*/*\",\"*\",\"deployments\"]: if '*' is present, must not \
             specify other resources without subresources",
            "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v1\": duplicate version",
        ]
    );
}

#[test]
fn blocks_of_a_network_policy_are_written_in_one_way() {
    let policy = |cidr: &str, except: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, namespace: n}}, spec: {{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {cidr}, except: [{except}]}}}}]}}]}}}}"
        )
    };
    let place = "spec.ingress[0].from[0].ipBlock";
    assert_eq!(
        refused(&policy("10.0.0.1/8", "010.1.0.0/16")),
        [
            format!(
                "{place}.cidr: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix \
                 length"
            ),
            format!(
                "{place}.except[0]: Invalid value: \"010.1.0.0/16\": must not have leading 0s in IP or \
                 prefix length"
            ),
        ]
    );
    let mut old = created(&policy("10.0.0.0/8", "10.1.0.0/16"));
    old["spec"]["ingress"][0]["from"][0]["ipBlock"]["cidr"] = json!("10.0.0.1/8");
    let (new, errors) = updated(&old, |new| new["metadata"]["labels"] = json!({"a": "b"}));
    assert!(errors.is_empty(), "what was there may stay: {errors:?}");
    assert_eq!(
        rules_of(&new).warnings(&new, Some(&old)),
        [format!(
            "{place}.cidr: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \
             \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
        )]
    );
}

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: n, annotations: {kubernetes.io/ingress.class: a}}
spec:
  ingressClassName: b
  defaultBackend: {resource: {apiGroup: UP, kind: a/b, name: ''}}
  rules: [{host: a}, {host: b}, {}, {host: c}, {host: d}]
";

#[test]
fn an_ingress_says_its_class_in_one_way_or_twice_the_same() {
    let errors = refused(INGRESS);
    assert!(
        errors[0].starts_with("spec.defaultBackend.resource.apiGroup: Invalid value: \"UP\""),
        "{errors:?}"
    );
    assert_eq!(
        errors[1..],
        [
            "spec.defaultBackend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
            "spec.defaultBackend.resource.name: Required value",
            "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match \
             `ingressClassName` when both are specified",
        ]
    );
    let mut ingress = created(INGRESS);
    ingress["status"]["loadBalancer"]["ingress"] =
        json!([{"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}, {"hostname": "h"}, {}]);
    assert_eq!(
        cells(&ingress)[1..5],
        [
            json!("b"),
            json!("a,b,c + 2 more..."),
            json!("10.0.0.1,10.0.0.2,h"),
            json!("80")
        ]
    );
}

#[test]
fn a_class_of_ingresses_takes_parameters_from_one_place() {
    let class = |parameters: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: c, annotations: {{ingressclass.kubernetes.io/is-default-class: 'true'}}}}, spec: {{controller: a.b/c, parameters: {parameters}}}}}"
        )
    };
    assert_eq!(
        refused(&class("{kind: K, name: x, namespace: n}")),
        ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]
    );
    assert_eq!(
        refused(&class("{kind: K, name: x, scope: Namespace}")),
        ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]
    );
    assert_eq!(
        cells(&created(&class("{kind: K, name: x}")))[..3],
        [json!("c (default)"), json!("a.b/c"), json!("K/x")]
    );
}

const AUTOSCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h, namespace: n}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}}
";

#[test]
fn an_autoscaler_names_what_it_scales_with_its_group() {
    assert_eq!(
        refused(&AUTOSCALER.replace("apps/v1", "v1").replace('3', "0")),
        [
            "spec.maxReplicas: Required value: must be set and greater than 0",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group",
        ]
    );
    assert!(
        refused(
            &AUTOSCALER
                .replace("apps/v1", "v1")
                .replace("Deployment", "ReplicationController")
        )
        .is_empty()
    );
    let mut old = created(AUTOSCALER);
    old["spec"]["scaleTargetRef"]["apiVersion"] = json!("a/b/c");
    let (_, errors) = updated(&old, |new| new["spec"]["maxReplicas"] = json!(4));
    assert!(errors.is_empty(), "what was there may stay: {errors:?}");
    let (_, errors) = updated(&created(AUTOSCALER), |new| {
        new["spec"]["scaleTargetRef"]["apiVersion"] = json!("a/b/c");
    });
    assert_eq!(
        errors,
        [
            "spec.scaleTargetRef.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: \
             a/b/c"
        ]
    );
}

#[test]
fn metrics_of_objects_and_of_the_outside_have_a_target() {
    let metric = |metric: &str| {
        AUTOSCALER.replace(
            "maxReplicas: 3",
            &format!("maxReplicas: 3, metrics: [{metric}]"),
        )
    };
    assert_eq!(
        refused(&metric(
            "{type: External, external: {metric: {name: m}, target: {type: Value}}}"
        )),
        [
            "spec.metrics[0].external.target.averageValue: Required value: must set either a target \
             value for metric or a per-pod target"
        ]
    );
    assert_eq!(
        refused(&metric(
            "{type: External, external: {metric: {name: m}, target: {type: Value, value: 1, averageValue: 1}}}"
        )),
        [
            "spec.metrics[0].external.target.value: Forbidden: may not set both a target value for \
             metric and a per-pod target"
        ]
    );
    let mut autoscaler = created(AUTOSCALER);
    autoscaler["spec"]["metrics"] = json!([
        {"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}},
        {"type": "Pods", "pods": {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
    ]);
    autoscaler["status"]["currentMetrics"] = json!([
        {"type": "External", "external": {"metric": {"name": "m"}, "current": {"averageValue": "3"}}}]);
    assert_eq!(
        cells(&autoscaler)[2],
        "3/5 (avg), memory: <unknown>/70% + 1 more..."
    );
    assert_eq!(
        status_refused(
            &autoscaler,
            json!({"currentReplicas": -1, "desiredReplicas": 0, "currentMetrics": null})
        ),
        ["status.currentReplicas: Invalid value: -1: must be greater than or equal to 0"]
    );
}

#[test]
fn an_attachment_is_held_to_its_limits_and_a_drivers_changes_are_counted() {
    let driver = "{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: d}, spec: {tokenRequests: [{audience: a}], nodeAllocatableUpdatePeriodSeconds: 5}}";
    assert_eq!(
        refused(driver),
        [
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 5: must be greater than or equal to \
             10 seconds"
        ]
    );
    let driver = created(&driver.replace(": 5", ": 10"));
    assert_eq!(driver["metadata"].get("generation"), None);
    assert_eq!(
        rules_of(&driver).warnings(&driver, None),
        [
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to \
             prevent possible logging of tokens in volume attributes"
        ]
    );
    let (new, errors) = updated(&driver, |new| {
        new["spec"]["requiresRepublish"] = json!(true);
    });
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(new["metadata"]["generation"], 1);
    let attachment = created(
        "{apiVersion: storage.k8s.io/v1, kind: VolumeAttachment, metadata: {name: a}, spec: {attacher: d, nodeName: n, source: {persistentVolumeName: v}}}",
    );
    assert_eq!(
        status_refused(
            &attachment,
            json!({"attached": false, "attachError": {"errorCode": -1}})
        ),
        [
            "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"
        ]
    );
}

#[test]
fn a_flow_schema_names_its_level_and_whose_requests_it_is_for() {
    let schema = |spec: &str| {
        format!(
            "{{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {{name: s}}, spec: {spec}}}"
        )
    };
    assert_eq!(
        refused(&schema(
            "{matchingPrecedence: 1, distinguisherMethod: {type: Other}, rules: [{subjects: [{kind: User, group: {name: g}}], nonResourceRules: [{verbs: [see], nonResourceURLs: [/a*]}]}]}"
        )),
        [
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have \
             matchingPrecedence 1",
            "spec.distinguisherMethod.type: Unsupported value: {\"Type\":\"Other\"}: supported values: \
             \"ByNamespace\", \"ByUser\"",
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            "spec.rules[0].nonResourceRules[0].verbs: Unsupported value: [\"see\"]: supported values: \
             \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \
             \"update\", \"watch\"",
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can \
             only do suffix matching",
        ]
    );
    let good = created(&schema("{priorityLevelConfiguration: {name: p}}"));
    assert_eq!(good["spec"]["matchingPrecedence"], 1000);
    assert_eq!(
        status_refused(
            &good,
            json!({"conditions": [{"type": "A"}, {"type": "A"}, {}]})
        ),
        [
            "status.conditions[1].type: Duplicate value: \"A\"",
            "status.conditions[2].type: Required value",
        ]
    );
}

#[test]
fn a_priority_level_is_limited_in_a_way_that_can_be_dealt() {
    let level = |spec: &str| {
        format!(
            "{{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {{name: p}}, spec: {spec}}}"
        )
    };
    assert_eq!(
        refused(&level(
            "{type: Exempt, limited: {limitResponse: {type: Reject}}}"
        )),
        [
            "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
            "spec.limited: Forbidden: must be nil if the type is not Limited",
        ]
    );
    assert_eq!(
        refused(&level(
            "{type: Limited, limited: {lendablePercent: 101, limitResponse: {type: Queue, queuing: {queues: 1024, handSize: 7}}}}"
        )),
        [
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of \
             deckSize 1024 and handSize 7 should not be greater than 60",
            "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
        ]
    );
    assert!(
        refused(&level(
            "{type: Limited, limited: {limitResponse: {type: Queue, queuing: {}}}}"
        ))
        .is_empty()
    );
}

#[test]
fn addresses_of_endpoint_slices_are_of_their_family_and_lead_somewhere() {
    let slice = |kind: &str, address: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s, namespace: n}}, addressType: {kind}, endpoints: [{{addresses: ['{address}']}}]}}"
        )
    };
    assert_eq!(
        refused(&slice("IPv4", "0.0.0.0")),
        ["endpoints[0].addresses[0]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)"]
    );
    assert_eq!(
        refused(&slice("IPv6", "2001:DB8::1")),
        [
            "endpoints[0].addresses[0]: Invalid value: \"2001:DB8::1\": must be in canonical form \
             (\"2001:db8::1\")"
        ]
    );
    assert_eq!(
        refused(&slice("IPv6", "10.0.0.1")),
        ["endpoints[0].addresses: Invalid value: \"10.0.0.1\": must be an IPv6 address"]
    );
}

#[test]
fn a_lease_says_nothing_of_how_its_holder_is_found() {
    let lease = created(
        "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l, namespace: n}, spec: {holderIdentity: '', preferredHolder: a, strategy: b}}",
    );
    assert_eq!(lease["spec"], json!({"holderIdentity": ""}));
    let rules = rules_of(&lease);
    assert!(
        rules
            .check_create(&lease, simcluster_kinds::Scope::Namespaced)
            .is_empty()
    );
}

#[test]
fn an_event_of_the_new_group_stays_what_it_was_and_counts_its_series() {
    let event = "
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: e, namespace: n}
eventTime: '2024-05-01T10:00:00.000000Z'
reportingController: a.b/c
reportingInstance: i
action: A
reason: R
type: Normal
regarding: {kind: Pod, name: p, namespace: other}
series: {count: 1}
";
    assert_eq!(
        refused(event),
        [
            "series.count: Invalid value: \"\": should be at least 2",
            "series.lastObservedTime: Required value",
        ]
    );
    let event = created(&event.replace("series: {count: 1}", ""));
    let (_, errors) = updated(&event, |new| new["note"] = json!("more"));
    assert_eq!(
        errors,
        ["message: Invalid value: \"more\": field is immutable"]
    );
    let (_, errors) = updated(&event, |new| {
        new["series"] = json!({"count": 2, "lastObservedTime": "2024-05-01T10:00:01.000000Z"});
    });
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_system_class_of_priority_is_no_default() {
    assert_eq!(
        refused(
            "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: system-node-critical}, value: 2000001000, globalDefault: true}"
        ),
        [
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system \
             use only. error: globalDefault of system-node-critical PriorityClass must be false"
        ]
    );
}

#[test]
fn what_a_driver_can_store_is_told_of_one_class_and_one_place() {
    let capacity = "{apiVersion: storage.k8s.io/v1, kind: CSIStorageCapacity, metadata: {name: c, namespace: n}, storageClassName: fast, capacity: 1Gi, nodeTopology: {matchLabels: {a: b}}}";
    assert_eq!(
        refused(&capacity.replace("1Gi", "'-1'")),
        ["capacity: Invalid value: \"-1\": must be greater than or equal to 0"]
    );
    let stored = created(capacity);
    assert_eq!(cells(&stored), [json!("c"), json!("fast"), json!("1Gi")]);
    let (_, errors) = updated(&stored, |new| {
        new["nodeTopology"] = json!({"matchLabels": {"a": "c"}});
        new["capacity"] = json!("2Gi");
    });
    assert_eq!(
        errors,
        ["nodeTopology: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"]
    );
}

#[test]
fn a_revision_holds_an_object() {
    let revision = "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: r, namespace: n}, revision: -1, data: DATA}";
    assert_eq!(
        refused(&revision.replace("DATA", "[1]")),
        [
            "revision: Invalid value: -1: must be greater than or equal to 0",
            "data: Required value: data must be a valid JSON object",
        ]
    );
}
