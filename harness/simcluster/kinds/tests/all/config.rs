//! Config maps, secrets, leases, events.

use serde_json::json;

use super::{cells, created, defaulted, refused, rules_of, texts, updated};

#[test]
fn an_immutable_config_map_stays_as_it_is() {
    let map = created(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: n}, \
         data: {a: '1'}, immutable: true}",
    );
    let (_, errors) = updated(&map, |new| new["data"]["a"] = json!("2"));
    assert_eq!(
        errors,
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    let (_, errors) = updated(&map, |new| new["immutable"] = json!(false));
    assert_eq!(
        errors,
        ["immutable: Forbidden: field is immutable when `immutable` is set"]
    );
    let (_, errors) = updated(&map, |new| new["metadata"]["labels"] = json!({"a": "b"}));
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn keys_are_file_names_and_are_given_once() {
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: n}, DATA}";
    assert_eq!(
        refused(&map.replace("DATA", "data: {same: x}, binaryData: {same: AA==}")),
        ["data[same]: Invalid value: \"same\": duplicate of key present in binaryData"]
    );
    assert_eq!(
        refused(&map.replace("DATA", "data: {..: x}")),
        ["data[..]: Invalid value: \"..\": must not be '..'"]
    );
    let large = "x".repeat(1024 * 1024 + 1);
    assert_eq!(
        refused(&map.replace("DATA", &format!("data: {{a: {large}}}"))).len(),
        1
    );
}

#[test]
fn string_data_becomes_data() {
    let secret = defaulted(
        "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, \
         data: {a: b2xk, c: a2VlcA==}, stringData: {a: new, b: added}}",
    );
    assert_eq!(
        secret,
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s", "namespace": "n"},
            "data": {"a": "bmV3", "b": "YWRkZWQ=", "c": "a2VlcA=="},
            "type": "Opaque",
        })
    );
}

#[test]
fn a_secret_has_what_its_type_asks_for_and_keeps_its_type() {
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, type: TYPE}";
    for (kind, expected) in [
        (
            "kubernetes.io/tls",
            vec![
                "data[tls.crt]: Required value",
                "data[tls.key]: Required value",
            ],
        ),
        (
            "kubernetes.io/ssh-auth",
            vec!["data[ssh-privatekey]: Required value"],
        ),
        (
            "kubernetes.io/dockerconfigjson",
            vec!["data[.dockerconfigjson]: Required value"],
        ),
        (
            "kubernetes.io/service-account-token",
            vec!["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("anything", vec![]),
    ] {
        assert_eq!(refused(&secret.replace("TYPE", kind)), expected, "{kind}");
    }
    let (_, errors) = updated(&created(&secret.replace("TYPE", "one")), |new| {
        new["type"] = json!("two");
    });
    assert_eq!(errors, ["type: Invalid value: \"two\": field is immutable"]);
}

#[test]
fn a_secret_s_row_counts_and_does_not_tell() {
    let secret = created(
        "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, stringData: {a: b}}",
    );
    assert_eq!(json!(cells(&secret)), json!(["s", "Opaque", 1, "60m"]));
}

#[test]
fn a_lease_has_positive_terms() {
    assert_eq!(
        refused(
            "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l, namespace: n}, \
             spec: {leaseDurationSeconds: 0, leaseTransitions: -1}}"
        ),
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ]
    );
}

#[test]
fn an_event_is_in_the_namespace_of_its_object() {
    let event = created(
        "
apiVersion: v1
kind: Event
metadata: {name: e, namespace: n}
involvedObject: {kind: Pod, name: p, namespace: n, fieldPath: 'spec.containers{c}'}
reason: Started
message: 'Started container '
type: Normal
source: {component: kubelet, host: node-1}
firstTimestamp: '2024-05-01T10:50:00Z'
lastTimestamp: '2024-05-01T10:58:00Z'
count: 4
",
    );
    assert_eq!(
        json!(cells(&event)),
        json!([
            "2m",
            "Normal",
            "Started",
            "pod/p",
            "spec.containers{c}",
            "kubelet, node-1",
            "Started container",
            "10m",
            4,
            "e"
        ])
    );
    let fields = rules_of(&event).selectable_fields(&event);
    assert!(fields.contains(&("involvedObject.name", "p".to_owned())));
    assert!(fields.contains(&("source", "kubelet".to_owned())));
    let mut elsewhere = event;
    elsewhere["involvedObject"]["namespace"] = json!("m");
    assert_eq!(
        texts(&rules_of(&elsewhere).validate_create(&elsewhere)),
        ["involvedObject.namespace: Invalid value: \"m\": does not match event.namespace"]
    );
}
