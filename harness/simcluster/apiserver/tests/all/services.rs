//! Addresses of services.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::World;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["ports"] = json!([{"port": 80}]);
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn each_service_has_an_address_of_its_own() {
    let world = World::start();
    let mut seen = HashSet::new();
    for n in 0..20 {
        let made = world
            .post(SERVICES, &service(&format!("s{n}"), &json!({})))
            .await
            .ok();
        assert!(seen.insert(made["spec"]["clusterIP"].as_str().unwrap().to_owned()));
        assert_eq!(made["spec"]["clusterIPs"][0], made["spec"]["clusterIP"]);
    }
    let headless = world
        .post(SERVICES, &service("h", &json!({"clusterIP": "None"})))
        .await
        .ok();
    assert_eq!(headless["spec"]["clusterIP"], "None");
}

#[tokio::test]
async fn an_address_is_given_once() {
    let world = World::start();
    let spec = json!({"clusterIP": "10.96.77.77"});
    world.post(SERVICES, &service("a", &spec)).await.ok();
    let refused = world.post(SERVICES, &service("b", &spec)).await;
    refused.fails(
        422,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.77.77\"]: \
         failed to allocate IP 10.96.77.77: provided IP is already allocated",
    );
    world.delete(&format!("{SERVICES}/a")).await.ok();
    world.post(SERVICES, &service("b", &spec)).await.ok();
}

#[tokio::test]
async fn node_ports_are_given_and_taken_back() {
    let world = World::start();
    let made = world
        .post(SERVICES, &service("n", &json!({"type": "NodePort"})))
        .await
        .ok();
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30_000..32_768).contains(&port));
    let mut taken = service("m", &json!({"type": "NodePort"}));
    taken["spec"]["ports"][0]["nodePort"] = port.into();
    assert_eq!(world.post(SERVICES, &taken).await.code, 422);
    let path = format!("{SERVICES}/n");
    let changed = world
        .patch("merge", &path, &json!({"spec": {"type": "ClusterIP"}}))
        .await
        .ok();
    assert_eq!(changed["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    world.post(SERVICES, &taken).await.ok();
}
