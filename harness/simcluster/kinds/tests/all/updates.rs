//! What objects that exist may become, and what their status may say.

use serde_json::{Value, json};

use super::{cells, created, refused, rules_of, texts, updated};

/// What is said of a status, written to a stored object.
fn status_refused(old: &Value, status: Value) -> Vec<String> {
    let mut old = old.clone();
    old["metadata"]["resourceVersion"] = json!("1");
    let mut new = old.clone();
    new["status"] = status;
    let rules = rules_of(&old);
    rules.prepare_status_update(&mut new, &old);
    texts(&rules.check_status_update(&new, &old))
}

const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: j, namespace: n}
spec:
  completions: 3
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}
";

#[test]
fn the_status_of_a_job_is_held_to_what_its_controller_does() {
    let job = created(JOB);
    let complete = json!([{"type": "Complete", "status": "True"}]);
    assert_eq!(
        status_refused(&job, json!({"conditions": complete, "active": 1})),
        [
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.conditions: Invalid value: cannot set Complete=True condition without the \
             SuccessCriteriaMet=true condition",
            "status.active: Invalid value: 1: active>0 is invalid for finished job",
            "status.startTime: Required value: startTime is required for finished job",
        ]
    );
    let done = json!({
        "startTime": "2024-05-01T10:00:00Z", "completionTime": "2024-05-01T10:01:00Z",
        "succeeded": 3,
        "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True"},
            {"type": "Complete", "status": "True"},
        ],
    });
    assert!(status_refused(&job, done.clone()).is_empty());
    let mut finished = job.clone();
    finished["status"] = done;
    assert_eq!(
        status_refused(&finished, json!({})),
        [
            "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
            "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
            "status.startTime: Required value: startTime cannot be removed for unsuspended job",
            "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
        ]
    );
    assert_eq!(
        status_refused(
            &job,
            json!({"completedIndexes": "0-1", "active": 1, "ready": 2})
        ),
        [
            "status.ready: Invalid value: 2: cannot set more ready pods than active",
            "status.completedIndexes: Invalid value: \"0-1\": cannot set non-empty \
             completedIndexes when non-indexed completion mode",
        ]
    );
}

#[test]
fn the_status_of_workloads_counts_what_can_be() {
    let deployment = created(super::workloads::DEPLOYMENT);
    assert_eq!(
        status_refused(
            &deployment,
            json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": -1})
        ),
        [
            "status.availableReplicas: Invalid value: -1: must be greater than or equal to 0",
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        ]
    );
    let mut counted = deployment.clone();
    counted["status"]["collisionCount"] = json!(2);
    assert_eq!(
        status_refused(&counted, json!({"collisionCount": 1})),
        ["status.collisionCount: Invalid value: 1: cannot be decremented"]
    );
}

#[test]
fn a_suspended_job_without_pods_may_be_told_where_it_runs_and_what_it_gets() {
    let mut job = created(JOB);
    job["spec"]["suspend"] = json!(true);
    let (_, said) = updated(&job, |new| {
        let spec = &mut new["spec"]["template"]["spec"];
        spec["nodeSelector"] = json!({"a": "b"});
        spec["affinity"] = json!({"nodeAffinity": {}});
        spec["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    });
    assert_eq!(said, Vec::<String>::new());
    let (_, said) = updated(&job, |new| {
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    });
    assert!(
        said.iter().any(|one| one.ends_with("field is immutable")),
        "{said:?}"
    );
    job["status"]["active"] = json!(1);
    let (_, said) = updated(&job, |new| {
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    });
    assert!(
        said.iter().any(|one| one.ends_with("field is immutable")),
        "{said:?}"
    );
}

#[test]
fn an_indexed_job_grows_in_tandem_with_its_parallelism() {
    let mut job = created(JOB);
    job["spec"]["completionMode"] = json!("Indexed");
    let (_, said) = updated(&job, |new| new["spec"]["completions"] = json!(5));
    assert!(
        said.contains(
            &"spec.completions: Invalid value: 5: can only be modified in tandem with \
              spec.parallelism"
                .to_owned()
        ),
        "{said:?}"
    );
    let (_, said) = updated(&job, |new| {
        new["spec"]["completions"] = json!(5);
        new["spec"]["parallelism"] = json!(5);
    });
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn a_cron_job_keeps_what_was_right_once() {
    let mut cron_job = created(
        "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: n}, spec: {schedule: \
         '* * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: \
         [{name: c, image: i}]}}}}}}",
    );
    cron_job["metadata"]["name"] = json!("c".repeat(60));
    cron_job["spec"]["schedule"] = json!("TZ=UTC * * * * *");
    let (_, said) = updated(&cron_job, |new| new["spec"]["suspend"] = json!(true));
    assert_eq!(said, Vec::<String>::new());
    let (_, said) = updated(&cron_job, |new| new["spec"]["timeZone"] = json!("UTC"));
    assert_eq!(
        said,
        [
            "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use both timeZone field \
             and TZ or CRON_TZ in schedule"
        ]
    );
    let (_, said) = updated(&cron_job, |new| {
        new["spec"]["jobTemplate"]["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
    });
    assert!(
        said.iter()
            .any(|one| one.ends_with("`selector` will be auto-generated")),
        "{said:?}"
    );
}

#[test]
fn claims_and_volumes_keep_what_they_are_of() {
    let claim = created(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: n}, spec: \
         {accessModes: [ReadWriteOnce], storageClassName: a, resources: {requests: {storage: \
         2Gi}}}}",
    );
    let (_, said) = updated(&claim, |new| {
        new["spec"]["volumeMode"] = json!("Block");
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("spec: Forbidden: spec is immutable after creation except"));
    assert_eq!(
        said[1],
        "volumeMode: Invalid value: \"Block\": field is immutable"
    );
    let mut bound = claim.clone();
    bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
    let (_, said) = updated(&bound, |new| {
        new["spec"]["resources"]["requests"]["storage"] = json!("1Gi");
    });
    assert_eq!(
        said,
        [
            "spec.resources.requests.storage: Forbidden: field can not be less than \
             status.capacity"
        ]
    );
    assert_eq!(
        refused(
            "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: n}, \
             spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, \
             dataSourceRef: {kind: Pod, name: p}}}"
        ),
        [
            "spec.dataSourceRef: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when \
             referencing the default apiGroup"
        ]
    );
    let volume = created(
        "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {capacity: {storage: \
         1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}}",
    );
    let (_, said) = updated(&volume, |new| new["spec"]["volumeMode"] = json!("Block"));
    assert_eq!(
        said,
        ["volumeMode: Invalid value: \"Block\": field is immutable"]
    );
}

#[test]
fn only_a_load_balancer_is_reached_from_outside() {
    let service = created(
        "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: n}, spec: {clusterIP: \
         10.96.0.9, clusterIPs: [10.96.0.9], ports: [{port: 80}]}}",
    );
    let ingress = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}});
    assert_eq!(
        status_refused(&service, ingress.clone()),
        [
            "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is \
             \"LoadBalancer\""
        ]
    );
    let mut balanced = service;
    balanced["spec"]["type"] = json!("LoadBalancer");
    assert!(status_refused(&balanced, ingress).is_empty());
    assert_eq!(
        status_refused(
            &balanced,
            json!({"loadBalancer": {"ingress": [{"hostname": "1.2.3.4"}]}})
        ),
        [
            "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS \
             name, not an IP address"
        ]
    );
}

#[test]
fn ranges_and_addresses_of_services_are_validated_and_stay() {
    let range = |cidrs: &str| {
        refused(&format!(
            "{{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {{name: r}}, spec: \
             {{cidrs: {cidrs}}}}}"
        ))
    };
    assert_eq!(
        range("[]"),
        ["spec.cidrs: Required value: at least one CIDR required"]
    );
    assert_eq!(
        range("[10.0.0.1/24]"),
        [
            "spec.cidrs[0]: Invalid value: \"10.0.0.1/24\": must not have bits set beyond the \
             prefix length"
        ]
    );
    assert_eq!(
        range("[10.0.0.0/24, 10.1.0.0/24]"),
        [
            "spec.cidrs: Invalid value: {\"CIDRs\":[\"10.0.0.0/24\",\"10.1.0.0/24\"]}: may specify \
             no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        ]
    );
    let address = created(
        "{apiVersion: networking.k8s.io/v1, kind: IPAddress, metadata: {name: 10.0.0.9}, spec: \
         {parentRef: {resource: services, namespace: n, name: s}}}",
    );
    assert_eq!(cells(&address)[1], "services/n/s");
    let (_, said) = updated(&address, |new| {
        new["spec"]["parentRef"]["name"] = json!("other");
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("spec.parentRef: Invalid value: "),
        "{said:?}"
    );
    assert_eq!(
        refused(
            "{apiVersion: networking.k8s.io/v1, kind: IPAddress, metadata: {name: 'a'}, spec: \
             {parentRef: {resource: services, name: s}}}"
        ),
        [
            "metadata.name: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)"
        ]
    );
}

#[test]
fn an_endpoint_may_move_to_another_node() {
    let endpoints = created(
        "{apiVersion: v1, kind: Endpoints, metadata: {name: e, namespace: n}, subsets: \
         [{addresses: [{ip: 10.0.0.1, nodeName: a}], ports: [{port: 80}]}]}",
    );
    let (_, said) = updated(&endpoints, |new| {
        new["subsets"][0]["addresses"][0]["nodeName"] = json!("b");
    });
    assert!(said.is_empty(), "{said:?}");
    let mut old = endpoints.clone();
    old["subsets"][0]["addresses"][0]["ip"] = json!("127.0.0.1");
    let (_, said) = updated(&old, |new| new["metadata"]["labels"] = json!({"a": "b"}));
    assert!(said.is_empty(), "what was there may stay: {said:?}");
}

#[test]
fn revisions_hold_their_data_and_flow_has_columns() {
    let revision = created(
        "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: r, namespace: n}, \
         revision: 1, data: {a: b}}",
    );
    let (_, said) = updated(&revision, |new| new["data"] = json!({"a": "c"}));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("field is immutable"), "{said:?}");
    let schema = created(
        "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: f}, \
         spec: {priorityLevelConfiguration: {name: p}}}",
    );
    assert_eq!(
        cells(&schema),
        [
            json!("f"),
            json!("p"),
            json!(1000),
            json!("<none>"),
            json!("60m"),
            json!("?")
        ]
    );
    let level = created(
        "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, \
         metadata: {name: p}, spec: {type: Limited, limited: {limitResponse: {type: Queue, \
         queuing: {}}}}}",
    );
    assert_eq!(
        cells(&level)[1..6],
        [json!("Limited"), json!(30), json!(64), json!(8), json!(50)]
    );
}

#[test]
fn what_the_containers_of_a_pod_get_may_change() {
    let mut pod = created(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: n}, spec: {containers: [{name: \
         c, image: i, resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}}]}}",
    );
    pod["metadata"]["resourceVersion"] = json!("1");
    let resized = |change: &dyn Fn(&mut Value)| {
        let mut new = pod.clone();
        change(&mut new["spec"]["containers"][0]);
        simcluster_kinds::pod::prepare_resize(&mut new, &pod);
        let said = simcluster_kinds::pod::validate_resize(&new, &pod);
        (new, texts(&said))
    };
    let (new, said) = resized(&|container| {
        container["resources"]["requests"]["cpu"] = json!("150m");
        container["image"] = json!("dropped");
    });
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(new["spec"]["containers"][0]["image"], "i");
    assert_eq!(new["metadata"]["generation"], 2);
    let (_, said) = resized(&|container| {
        container["resources"] = json!({"requests": {"cpu": "100m"}});
    });
    assert_eq!(
        said,
        ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"]
    );
    let (_, said) = resized(&|container| {
        let amounts = json!({"cpu": "200m", "memory": "1Gi"});
        container["resources"] = json!({"requests": amounts, "limits": amounts});
    });
    assert_eq!(
        said,
        [
            "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"
        ]
    );
    let (_, said) = resized(&|container| {
        container["resources"]["requests"]["ephemeral-storage"] = json!("1Gi");
    });
    assert_eq!(
        said,
        ["spec: Forbidden: only cpu and memory resources are mutable"]
    );
}

#[test]
fn a_gated_pod_is_told_more_about_where_to_run_and_never_less() {
    let pod = created(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: n}, spec: {schedulingGates: \
         [{name: example.com/gate}], nodeSelector: {a: b}, containers: [{name: c, image: i}]}}",
    );
    let (_, said) = updated(&pod, |new| {
        new["spec"]["nodeSelector"]["c"] = json!("d");
        new["spec"]["affinity"] = json!({"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "k", "operator": "Exists"}]},
            ]},
        }});
        new["spec"]["schedulingGates"] = json!([]);
    });
    assert_eq!(said, Vec::<String>::new());
    let (_, said) = updated(&pod, |new| new["spec"]["nodeSelector"] = json!({"a": "x"}));
    assert_eq!(
        said,
        [
            "spec.nodeSelector: Invalid value: {\"a\":\"x\"}: only additions to spec.nodeSelector \
             are allowed (no mutations or deletions)"
        ]
    );
}
