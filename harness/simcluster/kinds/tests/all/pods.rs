//! Pods.

use serde_json::json;

use super::{cells, created, defaulted, refused, rules_of, texts, updated};

pub(crate) const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: n}
spec:
  serviceAccount: robot
  containers:
  - name: c
    image: db
    command: [run]
    ports: [{containerPort: 3306}]
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    resources: {limits: {cpu: '1', memory: 1Gi}, requests: {cpu: 500m}}
    livenessProbe: {httpGet: {port: 80}}
    readinessProbe: {exec: {command: [ready]}, periodSeconds: 2}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes:
  - name: v
  - {name: s, secret: {secretName: s}}
  - {name: h, hostPath: {path: /h}}
  - {name: d, downwardAPI: {items: [{path: ns, fieldRef: {fieldPath: metadata.namespace}}]}}
";

#[test]
fn a_pod_gets_all_its_defaults() {
    assert_eq!(
        defaulted(POD)["spec"],
        json!({
            "containers": [{
                "name": "c",
                "image": "db",
                "imagePullPolicy": "Always",
                "command": ["run"],
                "ports": [{"containerPort": 3306, "protocol": "TCP"}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef":
                    {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                "resources": {
                    "limits": {"cpu": "1", "memory": "1Gi"},
                    "requests": {"cpu": "500m", "memory": "1Gi"},
                },
                "livenessProbe": {
                    "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3,
                },
                "readinessProbe": {
                    "exec": {"command": ["ready"]},
                    "timeoutSeconds": 1, "periodSeconds": 2,
                    "successThreshold": 1, "failureThreshold": 3,
                },
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }],
            "volumes": [
                {"name": "v", "emptyDir": {}},
                {"name": "s", "secret": {"secretName": "s", "defaultMode": 420}},
                {"name": "h", "hostPath": {"path": "/h", "type": ""}},
                {"name": "d", "downwardAPI": {"defaultMode": 420, "items": [{"path": "ns",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "serviceAccount": "robot",
            "serviceAccountName": "robot",
            "terminationGracePeriodSeconds": 30,
        })
    );
}

#[test]
fn a_new_pod_is_pending_and_has_its_class() {
    let pod = created(POD);
    assert_eq!(
        pod["status"],
        json!({"phase": "Pending", "qosClass": "Burstable"})
    );
    assert_eq!(pod["metadata"]["generation"], 1);
}

fn refused_spec(spec: &str) -> Vec<String> {
    refused(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: n}}, spec: {spec}}}"
    ))
}

#[test]
fn what_is_wrong_with_a_spec_is_said_in_the_api_s_words() {
    for (spec, expected) in [
        ("{containers: []}", "spec.containers: Required value"),
        (
            "{containers: [{name: c, image: ' i'}]}",
            "spec.containers[0].image: Invalid value: \" i\": \
             must not have leading or trailing whitespace",
        ),
        (
            "{containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /v}]}]}",
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            "{containers: [{name: c, image: i}], volumes: [{name: v, secret: {}}]}",
            "spec.volumes[0].secret.secretName: Required value",
        ),
        (
            "{containers: [{name: c, image: i}], volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}]}",
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "{containers: [{name: c, image: i, env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]}",
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": \
             may not be specified when `value` is not empty",
        ),
        (
            "{containers: [{name: c, image: i, env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.image}}}]}]}",
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \
             \"spec.image\": error converting fieldPath: field label not supported: spec.image",
        ),
        (
            "{containers: [{name: c, image: i, livenessProbe: {}}]}",
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            "{containers: [{name: c, image: i, resources: {requests: {cpu: '2'}, limits: {cpu: '1'}}}]}",
            "spec.containers[0].resources.requests: Invalid value: \"2\": \
             must be less than or equal to cpu limit of 1",
        ),
        (
            "{activeDeadlineSeconds: 0, containers: [{name: c, image: i}]}",
            "spec.activeDeadlineSeconds: Invalid value: 0: \
             must be between 1 and 2147483647, inclusive",
        ),
        (
            "{containers: [{name: c, image: i}], initContainers: [{name: i, image: i, livenessProbe: {exec: {command: [x]}}}]}",
            "spec.initContainers[0].livenessProbe: Forbidden: \
             may not be set for init containers without restartPolicy=Always",
        ),
        (
            "{containers: [{name: c, image: i}], tolerations: [{effect: NoExecute}]}",
            "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when \
             `key` is empty, which means \"match all values and all keys\"",
        ),
    ] {
        let got = refused_spec(spec);
        // The quotes inside the last text are escaped by nobody: a detail is shown as it is.
        assert_eq!(got, [expected], "{spec}");
    }
}

#[test]
fn only_images_deadline_and_more_tolerations_change() {
    let pod = created(POD);
    let (changed, errors) = updated(&pod, |pod| {
        pod["spec"]["containers"][0]["image"] = json!("db:2");
    });
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(changed["metadata"]["generation"], 2);

    let (_, errors) = updated(&pod, |pod| {
        pod["spec"]["containers"][0]["command"] = json!(["x"]);
    });
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"),
        "{errors:?}"
    );

    let (_, errors) = updated(&pod, |pod| {
        let first = pod["spec"]["containers"][0].clone();
        pod["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(first);
    });
    assert!(
        errors.contains(
            &"spec.containers: Forbidden: pod updates may not add or remove containers".to_owned()
        ),
        "{errors:?}"
    );

    let (_, errors) = updated(&pod, |pod| pod["status"] = json!({"phase": "Running"}));
    assert!(errors.is_empty(), "an update does not see the status");
}

#[test]
fn a_status_update_may_change_labels_but_not_the_spec() {
    let old = created(POD);
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    new["spec"]["nodeName"] = json!("elsewhere");
    new["status"] = json!({"phase": "Running"});
    rules_of(&old).prepare_status_update(&mut new, &old);
    assert_eq!(new["metadata"]["labels"], json!({"a": "b"}));
    assert!(new["spec"].get("nodeName").is_none());
    assert_eq!(
        new["status"],
        json!({"phase": "Running", "qosClass": "Burstable"})
    );
}

#[test]
fn a_container_that_ended_for_good_stays_ended() {
    let status = |state: serde_json::Value| json!({"phase": "Running", "containerStatuses": [{"name": "c", "state": state}]});
    let mut old = created(POD);
    old["spec"]["restartPolicy"] = json!("Never");
    old["metadata"]["resourceVersion"] = json!("1");
    old["status"] = status(json!({"terminated": {"exitCode": 1}}));
    let mut new = old.clone();
    new["status"] = status(json!({"running": {}}));
    let errors = rules_of(&old).check_status_update(&new, &old);
    assert_eq!(
        texts(&errors),
        ["status.containerStatuses[0].state: Forbidden: \
          may not be transitioned to non-terminated state"]
    );
}

#[test]
fn rows_say_what_a_pod_is_doing() {
    let row = |status: serde_json::Value, deleted: bool| {
        let mut pod = created(POD);
        pod["spec"]["nodeName"] = json!("node-1");
        pod["status"] = status;
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2024-05-01T10:30:00Z");
        }
        cells(&pod)[1..4].to_vec()
    };
    let container = |state: serde_json::Value, ready: bool| {
        json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": ready,
            "restartCount": 2, "state": state,
            "lastState": {"terminated": {"finishedAt": "2024-05-01T10:55:00Z"}}}]})
    };
    for (status, deleted, expected) in [
        (
            json!({"phase": "Pending"}),
            false,
            json!(["0/1", "Pending", "0"]),
        ),
        (
            container(json!({"running": {}}), true),
            false,
            json!(["1/1", "Running", "2 (5m ago)"]),
        ),
        (
            container(json!({"running": {}}), true),
            true,
            json!(["1/1", "Terminating", "2 (5m ago)"]),
        ),
        (
            container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false),
            false,
            json!(["0/1", "CrashLoopBackOff", "2 (5m ago)"]),
        ),
        (
            container(
                json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
                false,
            ),
            false,
            json!(["0/1", "Completed", "2 (5m ago)"]),
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 3}}}]}),
            false,
            json!(["0/1", "Init:ExitCode:3", "0"]),
        ),
    ] {
        assert_eq!(json!(row(status.clone(), deleted)), expected, "{status}");
    }
}

#[test]
fn pods_are_selected_by_node_and_phase() {
    let pod = created(POD);
    let fields = rules_of(&pod).selectable_fields(&pod);
    assert!(fields.contains(&("spec.nodeName", String::new())));
    assert!(fields.contains(&("status.phase", "Pending".to_owned())));
    assert!(fields.contains(&("spec.hostNetwork", "false".to_owned())));
    assert_eq!(
        rules_of(&pod).selectable_alias("spec.host"),
        "spec.nodeName"
    );
    assert_eq!(
        rules_of(&pod).unknown_field_message("spec.image"),
        "field label not supported: spec.image"
    );
}

#[test]
fn grace_is_the_request_s_or_the_pod_s_and_none_without_a_node() {
    use simcluster_kinds::pod::deletion_grace_seconds;
    let mut pod = created(POD);
    assert_eq!(deletion_grace_seconds(&pod, Some(9)), 0);
    pod["spec"]["nodeName"] = json!("node-1");
    assert_eq!(deletion_grace_seconds(&pod, None), 30);
    assert_eq!(deletion_grace_seconds(&pod, Some(9)), 9);
    pod["status"]["phase"] = json!("Succeeded");
    assert_eq!(deletion_grace_seconds(&pod, Some(9)), 0);
}
