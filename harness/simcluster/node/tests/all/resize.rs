//! Pods that get other resources while they run.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Cluster, container, shell};

fn with(cpu: &str, memory: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": memory});
    json!({"limits": amounts, "requests": amounts})
}

/// A pod whose container is started again when its memory changes.
async fn pod(cluster: &Cluster, name: &str, resources: Value) {
    let mut one = shell("sleep 1000");
    one["resources"] = resources;
    one["resizePolicy"] = json!([
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]);
    let spec = json!({"containers": [one], "terminationGracePeriodSeconds": 0});
    cluster.pod(name, spec).await;
    cluster.wait_ready(name).await;
}

async fn resize(cluster: &Cluster, name: &str, resources: Value) {
    let patch = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    let params = PatchParams::default();
    let patch = Patch::Strategic(patch);
    let pods = cluster.api::<Pod>();
    pods.patch_subresource("resize", name, &params, &patch)
        .await
        .unwrap();
}

fn condition(pod: &Pod, kind: &str) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|one| one.type_ == kind)?;
    Some(found.reason.clone().unwrap_or_default())
}

async fn wait(cluster: &Cluster, name: &str, what: &str, is: impl Fn(&Pod) -> bool) -> Pod {
    let seen = cluster.wait_for(name, what, |pod| pod.is_some_and(&is));
    seen.await.unwrap()
}

fn has_cpu(pod: &Pod, amount: &str) -> bool {
    container(pod)["resources"]["limits"]["cpu"] == amount
        && condition(pod, "PodResizeInProgress").is_none()
}

#[tokio::test]
async fn a_pod_is_resized_in_place_or_started_again_as_its_policy_says() {
    let cluster = Cluster::start().await;
    pod(&cluster, "p", with("100m", "64Mi")).await;
    resize(&cluster, "p", with("200m", "64Mi")).await;
    let seen = wait(&cluster, "p", "200m", |pod| has_cpu(pod, "200m")).await;
    let own = container(&seen);
    assert_eq!(own["restartCount"], 0);
    assert_eq!(own["allocatedResources"]["cpu"], "200m");
    assert_eq!(seen.status.unwrap().observed_generation, Some(2));
    let said = cluster.wait_event("p", "ResizeCompleted").await;
    assert!(
        said.starts_with("Pod resize completed: {\"containers\":[{"),
        "{said}"
    );

    resize(&cluster, "p", with("200m", "96Mi")).await;
    let seen = wait(&cluster, "p", "its next run", |pod| {
        container(pod)["restartCount"] == 1 && has_cpu(pod, "200m")
    })
    .await;
    assert_eq!(container(&seen)["resources"]["limits"]["memory"], "96Mi");
    let killed = cluster.wait_event("p", "Killing").await;
    assert_eq!(killed, "Container c resize requires restart");
    cluster.end().await;
}

#[tokio::test]
async fn a_resize_without_room_is_deferred_until_there_is_or_infeasible() {
    let cluster = Cluster::start().await;
    let cpus = std::thread::available_parallelism().unwrap().get();
    let most = format!("{}m", cpus * 1000 - 200);
    pod(&cluster, "large", with(&most, "64Mi")).await;
    pod(&cluster, "small", with("100m", "64Mi")).await;
    resize(&cluster, "small", with("500m", "64Mi")).await;
    let pending = |reason: &'static str| {
        move |pod: &Pod| condition(pod, "PodResizePending").as_deref() == Some(reason)
    };
    let seen = wait(&cluster, "small", "Deferred", pending("Deferred")).await;
    assert_eq!(container(&seen)["allocatedResources"]["cpu"], "100m");
    cluster.wait_event("small", "ResizeDeferred").await;
    cluster.delete("large", 0).await;
    let seen = wait(&cluster, "small", "500m", |pod| has_cpu(pod, "500m")).await;
    assert_eq!(condition(&seen, "PodResizePending"), None);

    resize(&cluster, "small", with("100000", "64Mi")).await;
    let seen = wait(&cluster, "small", "Infeasible", pending("Infeasible")).await;
    assert_eq!(container(&seen)["resources"]["limits"]["cpu"], "500m");
    let said = cluster.wait_event("small", "ResizeInfeasible").await;
    assert!(
        said.contains("Node didn't have enough capacity: cpu, requested: 100000000"),
        "{said}"
    );
    cluster.end().await;
}
