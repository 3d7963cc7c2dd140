//! Namespaces: what they have from the start, and their end.

use std::time::Instant;

use serde_json::{Value, json};
use simcluster_controllers::Settings;

use crate::world::{World, condition};

async fn make(world: &World, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    world.post("/api/v1/namespaces", &body).await;
}

#[tokio::test]
async fn each_namespace_has_its_account_and_the_root_certificate() {
    let settings = Settings {
        root_ca: Some("PEM".to_owned()),
        ..Settings::default()
    };
    let world = World::with(settings);
    make(&world, "n").await;
    let accounts = "/api/v1/namespaces/n/serviceaccounts";
    world.until_one(accounts, "default", |_| true).await;
    let published = |map: &Value| map["data"]["ca.crt"] == "PEM";
    let maps = "/api/v1/namespaces/n/configmaps";
    world.until_one(maps, "kube-root-ca.crt", published).await;
    let forged = json!({"data": {"ca.crt": "other"}});
    world
        .patch(&format!("{maps}/kube-root-ca.crt"), &forged)
        .await;
    world.until_one(maps, "kube-root-ca.crt", published).await;
    world
        .delete(&format!("{accounts}/default"), &Value::Null)
        .await;
    world.until_one(accounts, "default", |_| true).await;
}

#[tokio::test]
async fn a_namespace_goes_after_its_content_and_says_what_holds_it() {
    let world = World::start().await;
    make(&world, "n").await;
    let maps = "/api/v1/namespaces/n/configmaps";
    let stuck = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "stuck", "finalizers": ["example.com/stuck"]}});
    world.post(maps, &stuck).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "x"}]}});
    world.post("/api/v1/namespaces/n/pods", &pod).await;
    world.delete("/api/v1/namespaces/n", &Value::Null).await;
    let held = |namespace: &Value| {
        condition(namespace, "NamespaceFinalizersRemaining")["status"] == "True"
    };
    let namespace = world.until_one("/api/v1/namespaces", "n", held).await;
    assert_eq!(
        condition(&namespace, "NamespaceContentRemaining")["message"],
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    world
        .patch(
            &format!("{maps}/stuck"),
            &json!({"metadata": {"finalizers": null}}),
        )
        .await;
    world.until_gone("/api/v1/namespaces", "n").await;
}

/// Prints how long a start takes and an empty namespace needs to go; never fails on time.
#[tokio::test]
async fn the_default_account_is_there_soon_after_the_start() {
    let start = Instant::now();
    let world = World::start().await;
    world
        .until_one(
            "/api/v1/namespaces/default/serviceaccounts",
            "default",
            |_| true,
        )
        .await;
    println!("default ServiceAccount after {:?}", start.elapsed());
    make(&world, "n").await;
    world
        .until_one("/api/v1/namespaces/n/serviceaccounts", "default", |_| true)
        .await;
    let start = Instant::now();
    world.delete("/api/v1/namespaces/n", &Value::Null).await;
    world.until_gone("/api/v1/namespaces", "n").await;
    println!("namespace gone after {:?}", start.elapsed());
}

#[tokio::test]
async fn a_secret_gets_a_token_of_its_account_and_goes_with_it() {
    let settings = Settings {
        root_ca: Some("PEM".to_owned()),
        ..Settings::default()
    };
    let world = World::with(settings);
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let secrets = "/api/v1/namespaces/default/secrets";
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}});
    let uid = world.post(accounts, &account).await["metadata"]["uid"].clone();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "bot"}},
    });
    world.post(secrets, &secret).await;
    let filled = world
        .until_one(secrets, "t", |secret| !secret["data"]["token"].is_null())
        .await;
    assert_eq!(
        filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"],
        uid
    );
    assert_eq!(filled["data"]["namespace"], "ZGVmYXVsdA==");
    assert_eq!(filled["data"]["ca.crt"], "UEVN");
    let mut stray = secret.clone();
    stray["metadata"]["name"] = json!("stray");
    stray["metadata"]["annotations"]["kubernetes.io/service-account.name"] = json!("nobody");
    world.post(secrets, &stray).await;
    world.until_gone(secrets, "stray").await;
    world.delete(&format!("{accounts}/bot"), &Value::Null).await;
    world.until_gone(secrets, "t").await;
}
