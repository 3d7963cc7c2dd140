//! What somebody changes or removes is made again, and what somebody adds stays.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use mysql_operator::Settings;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{cluster, played};

#[tokio::test]
async fn a_changed_or_removed_object_is_corrected_and_additions_of_others_stay() {
    let cluster = cluster::start().await;
    let client = cluster.client();
    let operator = AbortOnDropHandle::new(tokio::spawn(mysql_operator::run(
        client.clone(),
        Settings::default(),
        CancellationToken::new(),
    )));
    cluster::create(&client, "db", &json!({})).await;
    played::finish_restore(&client, "db")
        .await
        .expect("the Job can be ended");
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    cluster::until(&deployments, "the Deployment", |_| Some(())).await;
    let theirs = Patch::Merge(json!({
        "metadata": {"annotations": {"example.com/theirs": "stays"}},
        "spec": {"replicas": 0},
    }));
    deployments
        .patch("db", &PatchParams::default(), &theirs)
        .await
        .expect("anybody may do this");
    let corrected = cluster::until(&deployments, "one replica again", |deployment| {
        let spec = deployment.spec.as_ref()?;
        let changed = deployment.annotations().contains_key("example.com/theirs");
        (changed && spec.replicas == Some(1)).then(|| deployment.clone())
    })
    .await;
    assert_eq!(corrected.annotations()["example.com/theirs"], "stays");

    let services: Api<Service> = Api::default_namespaced(client.clone());
    let before = cluster::until(&services, "the Service", |service| {
        (service.name_any() == "db").then(|| service.uid())
    })
    .await;
    services
        .delete("db", &DeleteParams::default())
        .await
        .expect("anybody may do this");
    cluster::until(&services, "another Service", |service| {
        (service.name_any() == "db" && service.uid() != before).then_some(())
    })
    .await;
    drop(operator);
    cluster.shutdown().await;
}
