//! Volumes of a class that lets them grow.

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use mysql_operator::{Settings, crd::MySQL};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{cluster, played};

#[tokio::test]
async fn a_larger_size_is_asked_of_the_claims_of_a_class_that_lets_them_grow() {
    let cluster = cluster::start().await;
    let client = cluster.client();
    let classes: Api<StorageClass> = Api::all(client.clone());
    let class: StorageClass = serde_json::from_value(json!({
        "metadata": {"name": "fast"},
        "provisioner": "example.com/none",
        "allowVolumeExpansion": true,
    }))
    .expect("a class");
    let parameters = PostParams::default();
    classes.create(&parameters, &class).await.expect("a class");
    // As a provisioner would make them.
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    for name in ["one", "two"] {
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "storageClassName": "fast", "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"], "hostPath": {"path": format!("/{name}")},
            },
        }))
        .expect("a volume");
        volumes
            .create(&parameters, &volume)
            .await
            .expect("the volume is accepted");
    }
    let operator = AbortOnDropHandle::new(tokio::spawn(mysql_operator::run(
        client.clone(),
        Settings::default(),
        CancellationToken::new(),
    )));
    cluster::create(&client, "db", &json!({"storageClassName": "fast"})).await;
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client.clone());
    for name in ["db-pvc", "backup-db-pvc"] {
        cluster::until(&claims, &format!("{name} to be bound"), |claim| {
            let phase = claim.status.as_ref()?.phase.as_deref();
            (claim.name_any() == name && phase == Some("Bound")).then_some(())
        })
        .await;
    }
    played::finish_restore(&client, "db")
        .await
        .expect("the Job can be ended");
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    let larger = Patch::Merge(json!({"spec": {"storage_size": "2Gi"}}));
    instances
        .patch("db", &PatchParams::default(), &larger)
        .await
        .expect("a larger size is accepted");
    for name in ["db-pvc", "backup-db-pvc"] {
        cluster::until(&claims, &format!("{name} to ask for 2Gi"), |claim| {
            let asked = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
            (claim.name_any() == name && asked["storage"].0 == "2Gi").then_some(())
        })
        .await;
    }
    drop(operator);
    cluster.shutdown().await;
}
