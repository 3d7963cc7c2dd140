//! What the cluster adds to new objects, and what it refuses.

use serde_json::json;
use simcluster_kinds::admission;
use simcluster_machinery::quantity::Quantity;

use super::{created, defaulted, pods::POD};

#[test]
fn a_pod_gets_a_token_of_its_service_account() {
    let mut pod = defaulted(&POD.replace("serviceAccount: robot", "hostname: h"));
    assert_eq!(admission::service_account_name(&mut pod), "default");
    let account = json!({"imagePullSecrets": [{"name": "pull"}]});
    admission::service_account(&mut pod, &account, "abcde");
    assert_eq!(pod["spec"]["serviceAccount"], "default");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    let mounts = &pod["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(
        mounts[1],
        json!({"name": "kube-api-access-abcde", "readOnly": true,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"})
    );
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert_eq!(volumes.last().unwrap()["name"], "kube-api-access-abcde");
    let count = volumes.len();
    admission::service_account(&mut pod, &account, "other");
    assert_eq!(
        pod["spec"]["volumes"].as_array().unwrap().len(),
        count,
        "once is enough"
    );
}

#[test]
fn a_pod_that_wants_no_token_gets_none() {
    let mut pod = defaulted(POD);
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    let before = pod.clone();
    admission::service_account(&mut pod, &json!({}), "abcde");
    assert_eq!(pod, before);
}

#[test]
fn tolerations_are_added_where_none_is() {
    let mut pod = json!({"spec": {"tolerations": [
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]}});
    admission::default_tolerations(&mut pod);
    let once = pod.clone();
    admission::default_tolerations(&mut pod);
    assert_eq!(pod, once);
    assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(pod["spec"]["tolerations"][0]["tolerationSeconds"], 5);
    assert_eq!(
        pod["spec"]["tolerations"][1]["key"],
        "node.kubernetes.io/unreachable"
    );
    let mut all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    admission::default_tolerations(&mut all);
    assert_eq!(all["spec"]["tolerations"].as_array().unwrap().len(), 1);
}

#[test]
fn priority_comes_from_the_class() {
    let class = json!({"metadata": {"name": "high"}, "value": 100, "preemptionPolicy": "Never"});
    let mut pod = json!({"spec": {"priorityClassName": "high"}});
    admission::priority(&mut pod, [&class]).unwrap();
    assert_eq!(
        pod["spec"],
        json!({"priorityClassName": "high", "priority": 100, "preemptionPolicy": "Never"})
    );
    let mut plain = json!({"spec": {}});
    admission::priority(&mut plain, [&class]).unwrap();
    assert_eq!(
        plain["spec"],
        json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"})
    );
    let mut absent = json!({"spec": {"priorityClassName": "none"}});
    assert_eq!(
        admission::priority(&mut absent, [&class]).unwrap_err(),
        "no PriorityClass with name none was found"
    );
}

#[test]
fn the_newest_default_class_is_taken() {
    let class = |name: &str, created: &str, default: &str| {
        json!({"metadata": {"name": name, "creationTimestamp": created,
            "annotations": {"storageclass.kubernetes.io/is-default-class": default}}})
    };
    let classes = [
        class("old", "2024-01-01T00:00:00Z", "true"),
        class("new", "2024-02-01T00:00:00Z", "true"),
        class("no", "2024-03-01T00:00:00Z", "false"),
    ];
    let mut claim = json!({"spec": {}});
    admission::default_storage_class(&mut claim, &classes);
    assert_eq!(claim["spec"]["storageClassName"], "new");
    let mut none = json!({"spec": {"storageClassName": ""}});
    admission::default_storage_class(&mut none, &classes);
    assert_eq!(none["spec"]["storageClassName"], "");
}

#[test]
fn limit_ranges_give_and_refuse() {
    let range = created(
        "
apiVersion: v1
kind: LimitRange
metadata: {name: l, namespace: n}
spec: {limits: [{type: Container, default: {cpu: 200m}, defaultRequest: {cpu: 100m}, max: {cpu: '1'}}]}
",
    );
    let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c"}]}});
    admission::apply_limit_ranges(&mut pod, [&range]);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "200m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    assert!(admission::check_limit_ranges("Pod", &pod, [&range]).is_empty());
    let big = json!({"spec": {"containers": [{"name": "c",
        "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}}]}});
    assert_eq!(
        admission::check_limit_ranges("Pod", &big, [&range]),
        ["maximum cpu usage per Container is 1, but limit is 2"]
    );
}

#[test]
fn a_quota_refuses_what_is_too_much() {
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "requests.cpu": "1"}}});
    let pod = defaulted(POD);
    let added = admission::usage("", "pods", &pod);
    assert_eq!(added["requests.cpu"].to_string(), "500m");
    let one: Quantity = "1".parse().unwrap();
    let used = admission::Usage::from([("pods".to_owned(), one)]);
    assert_eq!(
        admission::exceeded_quota(&quota, &used, &added, Some(&pod)).unwrap(),
        "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
    );
    assert_eq!(
        admission::exceeded_quota(&quota, &admission::Usage::new(), &added, Some(&pod)),
        None
    );
    let silent = json!({"spec": {"containers": [{"name": "c"}]}});
    assert_eq!(
        admission::exceeded_quota(&quota, &used, &added, Some(&silent)).unwrap(),
        "failed quota: q: must specify requests.cpu for: c"
    );
}
