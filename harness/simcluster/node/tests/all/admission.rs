//! What a node refuses although somebody has bound it there.

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Cluster, NODE, shell};

fn asking(cpu: &str) -> Value {
    let mut container = shell("sleep 1000");
    container["resources"] = json!({"requests": {"cpu": cpu}});
    json!({"terminationGracePeriodSeconds": 0, "containers": [container]})
}

#[tokio::test]
async fn a_pod_bound_by_name_that_does_not_fit_fails_in_a_kubelets_words() {
    let cluster = Cluster::start().await;
    cluster.pod("large", asking("5000")).await;
    let pod = cluster.wait_phase("large", "Failed").await;
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
    let message = status.message.unwrap();
    let said = "Node didn't have enough resource: cpu, requested: 5000000, used: 0, capacity: ";
    assert!(
        message.starts_with(&format!("Pod was rejected: {said}")),
        "{message}"
    );
    assert!(status.conditions.is_none_or(|all| all.is_empty()));
    assert!(status.container_statuses.is_none());
    let event = cluster.wait_event("large", "OutOfcpu").await;
    assert!(event.starts_with(said), "{event}");
    cluster.delete("large", 30).await;
    cluster.wait_gone("large").await;
    cluster.end().await;
}

#[tokio::test]
async fn what_has_ended_takes_nothing_of_the_node() {
    let cluster = Cluster::start().await;
    let node: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.client.clone());
    let all = node
        .get(NODE)
        .await
        .unwrap()
        .status
        .unwrap()
        .allocatable
        .unwrap();
    let all = &all["cpu"].0;
    let mut short = asking(all);
    short["containers"][0]["command"] = json!(["sh", "-c", "exit 0"]);
    cluster.run("first", short).await;
    cluster.pod("second", asking(all)).await;
    cluster.wait_phase("second", "Running").await;
    cluster.pod("third", asking("1")).await;
    let third = cluster.wait_phase("third", "Failed").await;
    assert_eq!(third.status.unwrap().reason.as_deref(), Some("OutOfcpu"));
    cluster.end().await;
}

#[tokio::test]
async fn a_label_that_a_user_has_just_given_the_node_counts() {
    let cluster = Cluster::start().await;
    let node: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.client.clone());
    let mut spec = asking("1m");
    spec["nodeSelector"] = json!({"disk": "ssd"});
    cluster.pod("early", spec.clone()).await;
    let early = cluster.wait_phase("early", "Failed").await;
    assert_eq!(
        early.status.unwrap().reason.as_deref(),
        Some("NodeAffinity")
    );
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    let label = Patch::Merge(label);
    node.patch(NODE, &PatchParams::default(), &label)
        .await
        .unwrap();
    cluster.pod("late", spec).await;
    cluster.wait_phase("late", "Running").await;
    cluster.end().await;
}

#[tokio::test]
async fn an_unsafe_sysctl_is_forbidden() {
    let cluster = Cluster::start().await;
    let mut spec = asking("1m");
    spec["securityContext"] = json!({"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]});
    cluster.pod("p", spec).await;
    let status = cluster.wait_phase("p", "Failed").await.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("SysctlForbidden"));
    assert_eq!(
        status.message.as_deref(),
        Some("Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted")
    );
    cluster.end().await;
}

#[tokio::test]
async fn safe_sysctls_are_those_of_the_pods_own_network() {
    let cluster = Cluster::start().await;
    let script = "cat /proc/sys/net/ipv4/tcp_keepalive_time /proc/sys/kernel/shm_rmid_forced";
    let spec = json!({
        "securityContext": {"sysctls": [
            {"name": "net.ipv4.tcp_keepalive_time", "value": "77"},
            {"name": "kernel/shm_rmid_forced", "value": "1"},
        ]},
        "containers": [shell(script)],
    });
    let (_, log) = cluster.run("own", spec).await;
    assert_eq!(log, "77\n1\n");
    cluster.end().await;
}

#[tokio::test]
async fn a_value_that_the_kernel_does_not_take_keeps_the_pod_from_its_sandbox() {
    let cluster = Cluster::start().await;
    let sysctls = json!([{"name": "net.ipv4.tcp_keepalive_time", "value": "long"}]);
    let spec = json!({"securityContext": {"sysctls": sysctls}, "containers": [shell("")]});
    cluster.pod("odd", spec).await;
    let said = cluster.wait_event("odd", "FailedCreatePodSandBox").await;
    assert!(
        said.contains("set net.ipv4.tcp_keepalive_time to \"long\""),
        "{said}"
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_critical_pod_pushes_out_another_that_it_needs_the_room_of() {
    let cluster = Cluster::start().await;
    let node: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.client.clone());
    let status = node.get(NODE).await.unwrap().status.unwrap();
    let all = &status.allocatable.unwrap()["cpu"].0;
    cluster.pod("ordinary", asking(all)).await;
    cluster.wait_phase("ordinary", "Running").await;
    let class: k8s_openapi::api::scheduling::v1::PriorityClass = serde_json::from_value(
        json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}),
    )
    .unwrap();
    let classes = Api::all(cluster.client.clone());
    // Some servers have it from the start.
    let _ = classes
        .create(&kube::api::PostParams::default(), &class)
        .await;
    let mut critical = asking("1m");
    critical["priorityClassName"] = json!("system-node-critical");
    cluster.pod("critical", critical).await;
    cluster.wait_phase("critical", "Running").await;
    let gone = cluster
        .wait_phase("ordinary", "Failed")
        .await
        .status
        .unwrap();
    assert_eq!(gone.reason.as_deref(), Some("Preempting"));
    let said = cluster.wait_event("ordinary", "Preempting").await;
    assert_eq!(said, "Preempted in order to admit critical pod");
    cluster.end().await;
}
