//! Deployments, replica sets, stateful sets, daemon sets, jobs and cron jobs.

use serde_json::json;

use super::{cells, created, defaulted, refused, rules_of, updated};

pub(crate) const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: n}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: c, image: 'db:1'}]}
";
pub(crate) const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: j, namespace: n}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: 'db:1'}]}
";

fn template_spec(restart_policy: &str) -> serde_json::Value {
    json!({
        "containers": [{
            "name": "c", "image": "db:1", "imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        }],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": restart_policy,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    })
}

#[test]
fn a_new_deployment_is_whole() {
    assert_eq!(
        created(DEPLOYMENT),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d", "namespace": "n", "uid": "uid-1", "generation": 1,
                "creationTimestamp": "2024-05-01T10:00:00Z"},
            "spec": {
                "replicas": 1,
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"a": "b"}},
                "strategy": {"type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": template_spec("Always")},
            },
            "status": {},
        })
    );
}

#[test]
fn a_deployment_s_generation_follows_spec_and_annotations() {
    let deployment = created(DEPLOYMENT);
    let generation = |change: fn(&mut serde_json::Value)| {
        updated(&deployment, change).0["metadata"]["generation"].clone()
    };
    assert_eq!(generation(|new| new["spec"]["replicas"] = json!(2)), 2);
    assert_eq!(
        generation(|new| new["metadata"]["annotations"] = json!({"a": "b"})),
        2
    );
    assert_eq!(
        generation(|new| new["metadata"]["labels"] = json!({"a": "b"})),
        1
    );
    assert_eq!(generation(|new| new["status"]["replicas"] = json!(5)), 1);
}

#[test]
fn what_is_wrong_with_a_deployment_is_said() {
    let errors = refused(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: n}
spec:
  replicas: -1
  selector: {matchLabels: {a: b}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}
  template:
    metadata: {labels: {a: c}}
    spec: {restartPolicy: Never, containers: [{name: c, image: i}]}
",
    );
    assert_eq!(
        errors,
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: \
             `selector` does not match template `labels`",
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": \
             supported values: \"Always\"",
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: \
             may not be 0 when `maxSurge` is 0",
        ]
    );
    let (_, errors) = updated(&created(DEPLOYMENT), |new| {
        new["spec"]["selector"]["matchLabels"] = json!({"x": "y"});
        new["spec"]["template"]["metadata"]["labels"] = json!({"x": "y"});
    });
    assert_eq!(
        errors,
        ["spec.selector: Invalid value: {\"matchLabels\":{\"x\":\"y\"}}: field is immutable"]
    );
}

#[test]
fn rows_count_replicas() {
    let mut deployment = created(DEPLOYMENT);
    deployment["status"] =
        json!({"readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
    assert_eq!(
        json!(cells(&deployment)),
        json!(["d", "1/1", 1, 1, "60m", "c", "db:1", "a=b"])
    );
}

#[test]
fn a_job_gets_a_selector_and_labels_of_its_own() {
    let job = created(JOB);
    let labels = json!({
        "batch.kubernetes.io/controller-uid": "uid-1",
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": "uid-1",
        "job-name": "j",
    });
    assert_eq!(job["metadata"]["labels"], labels);
    assert_eq!(
        job["spec"],
        json!({
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "completions": 1,
            "manualSelector": false,
            "parallelism": 1,
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "uid-1"}},
            "suspend": false,
            "template": {"metadata": {"labels": labels}, "spec": template_spec("Never")},
        })
    );
    assert!(rules_of(&job).validate_create(&job).is_empty());
}

#[test]
fn a_job_is_done_as_it_began() {
    let job = created(JOB);
    for (pointer, value, expected) in [
        (
            "/spec/completions",
            json!(5),
            "spec.completions: Invalid value: 5: field is immutable",
        ),
        (
            "/spec/completionMode",
            json!("Indexed"),
            "spec.completionMode: Invalid value: \"Indexed\": field is immutable",
        ),
    ] {
        let (_, errors) = updated(&job, |new| *new.pointer_mut(pointer).unwrap() = value);
        assert_eq!(errors, [expected]);
    }
    let (_, errors) = updated(&job, |new| {
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    });
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("spec.template: Invalid value: {"),
        "{errors:?}"
    );
    assert!(errors[0].ends_with("}: field is immutable"), "{errors:?}");
    let (changed, errors) = updated(&job, |new| {
        new["spec"]["suspend"] = json!(true);
        new["spec"]["parallelism"] = json!(3);
        new["spec"]["ttlSecondsAfterFinished"] = json!(5);
    });
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[test]
fn a_suspended_job_that_never_ran_may_be_told_where_to_run() {
    let mut job = created(JOB);
    job["spec"]["suspend"] = json!(true);
    let (_, errors) = updated(&job, |new| {
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    });
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn what_is_wrong_with_a_job_is_said() {
    let job = |spec: &str| {
        refused(&format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: j, namespace: n}}, spec: {spec}}}"
        ))
    };
    let template = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}";
    assert_eq!(
        job("{template: {spec: {containers: [{name: c, image: i}]}}}"),
        [
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
        ]
    );
    assert_eq!(
        job(&format!(
            "{{completionMode: Indexed, parallelism: 2, {template}}}"
        )),
        ["spec.completions: Required value: when completion mode is Indexed"]
    );
    assert_eq!(
        job(&format!("{{backoffLimitPerIndex: 1, {template}}}")),
        ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]
    );
    assert_eq!(
        job(&format!(
            "{{selector: {{matchLabels: {{a: b}}}}, {template}}}"
        )),
        [
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\
             \"batch.kubernetes.io/controller-uid\":\"uid-1\"}}: `selector` not auto-generated",
            "spec.template.metadata.labels: Invalid value: \
             {\"batch.kubernetes.io/controller-uid\":\"uid-1\",\
             \"batch.kubernetes.io/job-name\":\"j\",\"controller-uid\":\"uid-1\",\
             \"job-name\":\"j\"}: `selector` does not match template `labels`",
        ]
    );
}

#[test]
fn a_job_s_row_tells_its_state_and_time() {
    let mut job = created(JOB);
    job["status"] = json!({"startTime": "2024-05-01T10:59:00Z"});
    assert_eq!(json!(cells(&job)[1..4]), json!(["Running", "0/1", "60s"]));
    job["status"] = json!({
        "startTime": "2024-05-01T10:00:05Z", "completionTime": "2024-05-01T10:00:12Z",
        "succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}],
    });
    assert_eq!(json!(cells(&job)[1..4]), json!(["Complete", "1/1", "7s"]));
}

#[test]
fn a_stateful_set_has_whole_claims_and_few_fields_that_change() {
    let set = created(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: s, namespace: n}
spec:
  serviceName: x
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - {name: c, image: 'db:1', volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
    );
    assert_eq!(
        set["spec"]["volumeClaimTemplates"],
        json!([{
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
                "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"},
        }])
    );
    assert_eq!(
        set["status"],
        json!({"replicas": 0, "availableReplicas": 0})
    );
    let (_, errors) = updated(&set, |new| new["spec"]["serviceName"] = json!("y"));
    assert_eq!(
        errors,
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', \
          'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
          'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        ]
    );
}

#[test]
fn a_daemon_set_counts_changes_of_its_template() {
    let set = created(
        "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: s, namespace: n}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: c, image: 'db:1'}]}
",
    );
    let count = |set: &serde_json::Value| {
        set["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone()
    };
    assert_eq!(count(&set), "1");
    assert_eq!(
        set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    );
    let (changed, errors) = updated(&set, |new| {
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    });
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(count(&changed), "2");
}

#[test]
fn a_cron_job_defaults_its_jobs_and_refuses_bad_schedules() {
    let template =
        "{spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}";
    let cron_job = |schedule: &str| {
        format!(
            "{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: c, namespace: n}}, \
             spec: {{schedule: '{schedule}', jobTemplate: {template}}}}}"
        )
    };
    let good = defaulted(&cron_job("*/5 * * * *"));
    assert_eq!(good["spec"]["concurrencyPolicy"], "Allow");
    assert_eq!(good["spec"]["successfulJobsHistoryLimit"], 3);
    assert_eq!(good["spec"]["failedJobsHistoryLimit"], 1);
    assert_eq!(good["spec"]["suspend"], false);
    assert_eq!(
        good["spec"]["jobTemplate"]["spec"].get("backoffLimit"),
        None
    );
    assert_eq!(
        refused(&cron_job("* 24 * * *")),
        ["spec.schedule: Invalid value: \"* 24 * * *\": end of range (24) above maximum (23): 24"]
    );
}
