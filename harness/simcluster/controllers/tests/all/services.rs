//! Services and what is behind them.

use serde_json::{Value, json};

use crate::world::{World, core};

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

fn service(extra: &Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc"},
        "spec": {"selector": {"app": "ep"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    crate::world::merge(&mut service["spec"], extra);
    service
}

fn pod(name: &str, ready: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "ep"},
                     "annotations": {"test/ready": ready.to_string()}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "x"}]}})
}

#[tokio::test]
async fn both_forms_of_endpoints_follow_pods() {
    let world = World::start().await;
    world.post(&core("services"), &service(&json!({}))).await;
    world.post(&core("pods"), &pod("p", true)).await;
    let slices = format!("{SLICES}?labelSelector=kubernetes.io/service-name=svc");
    let has_ready = |slices: &[Value]| {
        slices
            .iter()
            .any(|slice| slice["endpoints"][0]["conditions"]["ready"] == true)
    };
    let slice = world.until(&slices, has_ready).await.remove(0);
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(
        slice["ports"],
        json!([{"name": "", "port": 8080, "protocol": "TCP"}])
    );
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
               "kubernetes.io/service-name": "svc"})
    );
    assert_eq!(slice["endpoints"][0]["targetRef"]["name"], "p");
    let has_address =
        |endpoints: &Value| endpoints["subsets"][0]["addresses"][0]["targetRef"]["name"] == "p";
    let endpoints = world
        .until_one(&core("endpoints"), "svc", has_address)
        .await;
    assert_eq!(
        endpoints["metadata"]["labels"],
        json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"})
    );
    world.post(&core("pods"), &pod("q", false)).await;
    let has_other = |endpoints: &Value| {
        endpoints["subsets"][0]["notReadyAddresses"][0]["targetRef"]["name"] == "q"
    };
    world.until_one(&core("endpoints"), "svc", has_other).await;
    world.delete(&core("pods/p"), &Value::Null).await;
    let is_gone = |endpoints: &Value| endpoints["subsets"][0]["addresses"].is_null();
    world.until_one(&core("endpoints"), "svc", is_gone).await;
    world.delete(&core("services/svc"), &Value::Null).await;
    world.until_gone(&core("endpoints"), "svc").await;
    world.until(&slices, <[Value]>::is_empty).await;
}

#[tokio::test]
async fn a_headless_service_publishes_pods_that_are_not_ready_if_told_to() {
    let world = World::start().await;
    let headless = json!({"clusterIP": "None", "publishNotReadyAddresses": true});
    world.post(&core("services"), &service(&headless)).await;
    world.post(&core("pods"), &pod("p", false)).await;
    let published = |slices: &[Value]| {
        slices
            .iter()
            .any(|slice| slice["endpoints"][0]["conditions"]["ready"] == true)
    };
    let slice = world.until(SLICES, published).await;
    assert!(slice.iter().any(|slice| {
        slice["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
            && slice["endpoints"][0]["conditions"]["serving"] == false
    }));
}

#[tokio::test]
async fn endpoints_that_users_write_are_mirrored_in_slices() {
    let world = World::start().await;
    let bare = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
                      "spec": {"ports": [{"port": 80}]}});
    world.post(&core("services"), &bare).await;
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db", "labels": {"a": "b"}},
        "subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}],
    });
    world.post(&core("endpoints"), &endpoints).await;
    let slices = format!("{SLICES}?labelSelector=kubernetes.io/service-name=db");
    let slice = world
        .until(&slices, |slices| slices.len() == 1)
        .await
        .remove(0);
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"a": "b", "kubernetes.io/service-name": "db",
               "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"})
    );
    assert_eq!(
        slice["endpoints"],
        json!([{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}])
    );
    let moved = json!({"subsets": [{"addresses": [{"ip": "10.1.2.4"}], "ports": [{"port": 80}]}]});
    world.patch(&core("endpoints/db"), &moved).await;
    let is_moved = |slices: &[Value]| {
        slices.len() == 1 && slices[0]["endpoints"][0]["addresses"] == json!(["10.1.2.4"])
    };
    world.until(&slices, is_moved).await;
    world.delete(&core("endpoints/db"), &Value::Null).await;
    world.until(&slices, <[Value]>::is_empty).await;
}
