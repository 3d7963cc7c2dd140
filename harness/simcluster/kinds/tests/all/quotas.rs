//! What namespaces may use and must ask for: LimitRanges, ResourceQuotas, and what both say to
//! objects.

use serde_json::json;
use simcluster_kinds::admission;

use super::{created, refused, rules_of, texts, updated};

fn range(item: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: LimitRange, metadata: {{name: l, namespace: n}}, spec: {{limits: [{item}]}}}}"
    )
}

fn quota(spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: q, namespace: n}}, spec: {spec}}}"
    )
}

#[test]
fn bounds_of_a_limit_range_agree_with_each_other() {
    assert_eq!(
        refused(&range(
            "{type: Pod, min: {cpu: 100m}, max: {cpu: 200m}, maxLimitRequestRatio: {cpu: 3}, default: {cpu: 1}}"
        )),
        [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater \
             than max/min = 2.000000",
        ]
    );
    assert_eq!(
        refused(&range(
            "{type: Container, default: {example.com/gpu: 2}, defaultRequest: {example.com/gpu: 1}}"
        )),
        [
            "spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: \"1\": default value 2 \
             must equal to defaultRequest value 1 in example.com/gpu"
        ]
    );
    assert_eq!(
        refused(&range(
            "{type: Other, min: {cpu: 1}}, {type: Other, max: {cpu: 1}}"
        )),
        [
            "spec.limits[0].type: Invalid value: \"Other\": must be a standard limit type or fully \
             qualified",
            "spec.limits[1].type: Invalid value: \"Other\": must be a standard limit type or fully \
             qualified",
            "spec.limits[1].type: Duplicate value: \"Other\"",
        ]
    );
}

#[test]
fn a_limit_range_without_a_name_gets_one_of_its_own() {
    let range =
        created("{apiVersion: v1, kind: LimitRange, metadata: {namespace: n}, spec: {limits: []}}");
    assert_eq!(range["metadata"]["name"], "uid-1");
}

#[test]
fn scopes_of_a_quota_exclude_each_other_and_stay() {
    assert_eq!(
        refused(&quota(
            "{hard: {pods: 1}, scopeSelector: {matchExpressions: [{scopeName: Terminating, operator: In, values: [a]}, {scopeName: NotTerminating, operator: Exists}]}}"
        )),
        [
            "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' \
             when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
             ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
             ResourceQuotaScopeCrossNamespacePodAffinity",
            "spec.scopeSelector.matchExpressions: Invalid value: null: conflicting scopes",
        ]
    );
    assert_eq!(
        refused(&quota(
            "{hard: {services: 1}, scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [a]}]}}"
        )),
        [
            "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{\"ScopeName\":\
             \"PriorityClass\",\"Operator\":\"In\",\"Values\":[\"a\"]}]}: unsupported scope applied to \
             resource"
        ]
    );
    let stored = created(&quota(
        "{hard: {pods: 1}, scopes: [BestEffort, Terminating]}",
    ));
    let (_, errors) = updated(&stored, |new| {
        new["spec"]["scopes"] = json!(["Terminating", "BestEffort"]);
    });
    assert!(errors.is_empty(), "their order says nothing: {errors:?}");
    let (_, errors) = updated(&stored, |new| {
        new["spec"]["scopes"] = json!(["Terminating"]);
    });
    assert_eq!(
        errors,
        ["spec.scopes: Invalid value: [\"Terminating\"]: field is immutable"]
    );
}

#[test]
fn the_status_of_a_quota_counts_what_can_be_counted() {
    let old = created(&quota("{hard: {pods: 1}}"));
    let mut new = old.clone();
    new["metadata"]["resourceVersion"] = json!("1");
    let mut old = old;
    old["metadata"]["resourceVersion"] = json!("1");
    new["status"] = json!({"hard": {"pods": "1500m"}, "used": {"apples": "1"}});
    let errors = rules_of(&new).check_status_update(&new, &old);
    assert_eq!(
        texts(&errors),
        [
            "status.hard[pods]: Invalid value: \"1500m\": must be an integer",
            "status.used[apples]: Invalid value: \"apples\": must be a standard resource type or \
             fully qualified",
            "status.used[apples]: Invalid value: \"apples\": must be a standard resource for quota",
        ]
    );
}

#[test]
fn requests_above_limits_are_warned_of() {
    let quota = created(&quota(
        "{hard: {cpu: 2, limits.cpu: 1, requests.memory: 1Gi, limits.memory: 2Gi}}",
    ));
    assert_eq!(
        rules_of(&quota).warnings(&quota, None),
        ["ResourceQuota cpu (2) should be less than limits.cpu (1)"]
    );
    assert!(rules_of(&quota).warnings(&quota, Some(&quota)).is_empty());
}

#[test]
fn a_quota_covers_what_its_scopes_and_its_selector_take_in() {
    let of_class = json!({"spec": {"scopeSelector": {"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}});
    let pod = |class: &str| json!({"spec": {"priorityClassName": class}});
    assert!(admission::quota_covers(&of_class, "pods", &pod("high")));
    assert!(!admission::quota_covers(&of_class, "pods", &pod("low")));
    assert!(!admission::quota_covers(&of_class, "services", &json!({})));
    let near = json!({"spec": {"scopes": ["CrossNamespacePodAffinity"]}});
    let to_others = json!({"spec": {"affinity": {"podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "k", "namespaces": ["other"]}}]}}}});
    assert!(admission::quota_covers(&near, "pods", &to_others));
    assert!(!admission::quota_covers(&near, "pods", &pod("high")));
    let attributes = json!({"spec": {"scopeSelector": {"matchExpressions": [
        {"scopeName": "VolumeAttributesClass", "operator": "NotIn", "values": ["slow"]}]}}});
    let claim = |class: &str| json!({"spec": {"volumeAttributesClassName": class}});
    let collection = "persistentvolumeclaims";
    assert!(admission::quota_covers(
        &attributes,
        collection,
        &claim("fast")
    ));
    assert!(!admission::quota_covers(
        &attributes,
        collection,
        &claim("slow")
    ));
}

#[test]
fn an_update_uses_what_it_adds() {
    let service = |kind: &str, more: serde_json::Value| {
        let mut service = json!({"spec": {"type": kind, "ports": [{"port": 1}, {"port": 2}]}});
        service["spec"]
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        admission::usage("", "services", &service)
    };
    let (before, after) = (
        service("ClusterIP", json!({})),
        service("NodePort", json!({})),
    );
    let more = admission::more(&after, &before);
    assert_eq!(more.len(), 1);
    assert_eq!(more["services.nodeports"].to_string(), "2");
    assert!(admission::more(&before, &after).is_empty());
    let without = service(
        "LoadBalancer",
        json!({"allocateLoadBalancerNodePorts": false}),
    );
    assert_eq!(without["services.nodeports"].to_string(), "0");
}

#[test]
fn what_a_pod_as_a_whole_asks_for_counts_instead_of_its_containers() {
    let pod = json!({"spec": {
        "resources": {"requests": {"cpu": "2"}},
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
    }});
    let usage = admission::usage("", "pods", &pod);
    assert_eq!(usage["requests.cpu"].to_string(), "2");
    assert_eq!(usage["memory"].to_string(), "1Gi");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"limits.cpu": "9"}}});
    let none = admission::Usage::new();
    assert_eq!(
        admission::exceeded_quota(&quota, &none, &usage, Some(&pod)),
        None
    );
}

#[test]
fn a_limit_range_bounds_all_that_it_names_of_a_claim() {
    let range = created(&range(
        "{type: PersistentVolumeClaim, min: {storage: 1Gi}, max: {storage: 2Gi}}",
    ));
    let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    assert_eq!(
        admission::check_limit_ranges("PersistentVolumeClaim", &claim("3Gi"), [&range]),
        ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]
    );
    assert_eq!(
        admission::check_limit_ranges("PersistentVolumeClaim", &json!({"spec": {}}), [&range]),
        [
            "minimum storage usage per PersistentVolumeClaim is 1Gi.  No request is specified",
            "maximum storage usage per PersistentVolumeClaim is 2Gi.  No request is specified",
        ]
    );
}
