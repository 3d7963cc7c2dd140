//! Claims and volumes.

use serde_json::{Value, json};

use crate::world::{World, core, merge};

const VOLUMES: &str = "/api/v1/persistentvolumes";

async fn volume(world: &World, name: &str, spec: &Value) {
    let mut whole = json!({"storageClassName": "man", "capacity": {"storage": "2Gi"},
                           "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}});
    merge(&mut whole, spec);
    let body = json!({"apiVersion": "v1", "kind": "PersistentVolume",
                      "metadata": {"name": name}, "spec": whole});
    world.post(VOLUMES, &body).await;
}

async fn claim(world: &World, name: &str, spec: &Value) {
    let mut whole = json!({"accessModes": ["ReadWriteOnce"],
                           "resources": {"requests": {"storage": "1Gi"}}});
    merge(&mut whole, spec);
    let body = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                      "metadata": {"name": name}, "spec": whole});
    world.post(&core("persistentvolumeclaims"), &body).await;
}

fn is(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |object| object["status"]["phase"] == phase
}

async fn pod(world: &World, name: &str, claim: &str) {
    let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "x"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}});
    world.post(&core("pods"), &body).await;
}

#[tokio::test]
async fn a_claim_binds_to_a_matching_volume_and_releases_it() {
    let world = World::start().await;
    let claims = core("persistentvolumeclaims");
    volume(
        &world,
        "v",
        &json!({"persistentVolumeReclaimPolicy": "Retain"}),
    )
    .await;
    world.until_one(VOLUMES, "v", is("Available")).await;
    claim(&world, "c", &json!({"storageClassName": "man"})).await;
    let bound = world.until_one(&claims, "c", is("Bound")).await;
    assert_eq!(bound["spec"]["volumeName"], "v");
    assert_eq!(
        bound["metadata"]["annotations"],
        json!({"pv.kubernetes.io/bind-completed": "yes",
               "pv.kubernetes.io/bound-by-controller": "yes"})
    );
    assert_eq!(
        bound["status"],
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}})
    );
    let held = world.get(&format!("{VOLUMES}/v")).await;
    assert_eq!(
        held["metadata"]["finalizers"],
        json!(["kubernetes.io/pv-protection"])
    );
    assert_eq!(held["spec"]["claimRef"]["uid"], bound["metadata"]["uid"]);
    world.delete(&format!("{claims}/c"), &Value::Null).await;
    world.until_one(VOLUMES, "v", is("Released")).await;
    claim(&world, "c", &json!({"storageClassName": "man"})).await;
    world
        .patch(
            &format!("{VOLUMES}/v"),
            &json!({"spec": {"claimRef": null}}),
        )
        .await;
    world.until_one(&claims, "c", is("Bound")).await;
}

#[tokio::test]
async fn a_volume_kept_for_a_claim_by_name_goes_to_it_and_one_by_a_strange_uid_is_released() {
    let world = World::start().await;
    let kept = json!({"claimRef": {"namespace": "default", "name": "c"}, "storageClassName": "x"});
    volume(&world, "kept", &kept).await;
    let strange = json!({"claimRef": {"namespace": "default", "name": "lost",
                                      "uid": "11111111-2222-3333-4444-555555555555"}});
    volume(&world, "strange", &strange).await;
    world.until_one(VOLUMES, "strange", is("Released")).await;
    claim(&world, "c", &json!({"storageClassName": "x"})).await;
    let bound = world
        .until_one(&core("persistentvolumeclaims"), "c", is("Bound"))
        .await;
    assert_eq!(bound["spec"]["volumeName"], "kept");
}

#[tokio::test]
async fn a_claim_that_cannot_be_met_says_why() {
    let world = World::start().await;
    claim(&world, "none", &json!({"storageClassName": ""})).await;
    let event = world.event("none", "FailedBinding").await;
    assert_eq!(
        event["message"],
        "no persistent volumes available for this claim and no storage class is set"
    );
    claim(&world, "gone", &json!({"storageClassName": "gone"})).await;
    let event = world.event("gone", "ProvisioningFailed").await;
    assert_eq!(
        event["message"],
        "storageclass.storage.k8s.io \"gone\" not found"
    );
    assert_eq!(
        event["source"],
        json!({"component": "persistentvolume-controller"})
    );
    claim(&world, "waits", &json!({"storageClassName": "standard"})).await;
    let event = world.event("waits", "WaitForFirstConsumer").await;
    assert_eq!(
        event["message"],
        "waiting for first consumer to be created before binding"
    );
}

#[tokio::test]
async fn the_standard_class_makes_a_volume_for_the_first_pod_and_removes_it_with_the_claim() {
    let world = World::start().await;
    let claims = core("persistentvolumeclaims");
    world
        .until_one("/apis/storage.k8s.io/v1/storageclasses", "standard", |_| {
            true
        })
        .await;
    claim(&world, "c", &json!({})).await;
    pod(&world, "p", "c").await;
    world.until_one(&core("pods"), "p", is("Running")).await;
    let bound = world.get(&format!("{claims}/c")).await;
    assert_eq!(bound["spec"]["storageClassName"], "standard");
    let name = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    let made = world.get(&format!("{VOLUMES}/{name}")).await;
    assert_eq!(
        made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"],
        json!(["node-1"])
    );
    world.delete(&format!("{claims}/c"), &Value::Null).await;
    let held = world.get(&format!("{claims}/c")).await;
    assert_eq!(
        held["metadata"]["finalizers"],
        json!(["kubernetes.io/pvc-protection"])
    );
    world.delete(&core("pods/p"), &Value::Null).await;
    world.until_gone(&claims, "c").await;
    world.until_gone(VOLUMES, &name).await;
}

#[tokio::test]
async fn a_bound_volume_waits_for_its_claim() {
    let world = World::start().await;
    volume(&world, "v", &json!({})).await;
    claim(&world, "c", &json!({"storageClassName": "man"})).await;
    world
        .until_one(&core("persistentvolumeclaims"), "c", is("Bound"))
        .await;
    world.delete(&format!("{VOLUMES}/v"), &Value::Null).await;
    assert_eq!(
        world.get(&format!("{VOLUMES}/v")).await["status"]["phase"],
        "Bound"
    );
    world
        .delete(&core("persistentvolumeclaims/c"), &Value::Null)
        .await;
    world.until_gone(VOLUMES, "v").await;
}

#[tokio::test]
async fn a_claim_grows_only_where_its_class_lets_it_and_then_waits_for_who_does_it() {
    let world = World::start().await;
    volume(&world, "v", &json!({})).await;
    claim(&world, "c", &json!({"storageClassName": "man"})).await;
    let claims = core("persistentvolumeclaims");
    world.until_one(&claims, "c", is("Bound")).await;
    let larger = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
    let refused = world.try_patch(&format!("{claims}/c"), &larger).await;
    assert_eq!(refused["code"], 403);
    assert_eq!(
        refused["message"],
        "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized \
         and the storageclass that provisions the pvc must support resize"
    );
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "man"},
        "provisioner": "example.com/none", "allowVolumeExpansion": true,
    });
    world
        .post("/apis/storage.k8s.io/v1/storageclasses", &class)
        .await;
    world.patch(&format!("{claims}/c"), &larger).await;
    let event = world.event("c", "ExternalExpanding").await;
    assert_eq!(
        event["message"],
        "waiting for an external controller to expand this PVC"
    );
    assert_eq!(event["source"]["component"], "volume_expand");
    assert_eq!(event["type"], "Normal");
}
