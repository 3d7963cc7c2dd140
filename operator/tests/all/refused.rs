//! What the cluster does not want is told in its own words.

use k8s_openapi::api::core::v1::{Event, ResourceQuota};
use kube::{Api, api::PostParams};
use mysql_operator::{Settings, crd::MySQL};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::cluster;

/// The reason and the text that the instance gives once it names the quota, and that its event gives.
async fn said_under(quota: &Value) -> (String, String) {
    let cluster = cluster::start().await;
    let client = cluster.client();
    let quotas: Api<ResourceQuota> = Api::default_namespaced(client.clone());
    let quota: ResourceQuota = serde_json::from_value(json!({
        "metadata": {"name": "tight"}, "spec": {"hard": quota},
    }))
    .expect("a quota");
    quotas
        .create(&PostParams::default(), &quota)
        .await
        .expect("the quota is accepted");
    cluster::until(&quotas, "the quota to be counted", |quota| {
        quota.status.as_ref()?.used.as_ref().map(drop)
    })
    .await;
    let operator = AbortOnDropHandle::new(tokio::spawn(mysql_operator::run(
        client.clone(),
        Settings::default(),
        CancellationToken::new(),
    )));
    cluster::create(&client, "db", &json!({})).await;
    let instances: Api<MySQL> = Api::default_namespaced(client.clone());
    let said = cluster::until(&instances, "the instance to name the quota", |instance| {
        let ready = instance.status.as_ref()?.condition("Ready")?;
        let names_it = ready.message.contains("exceeded quota: tight");
        names_it.then(|| (ready.reason.clone(), ready.message.clone()))
    })
    .await;
    let events: Api<Event> = Api::default_namespaced(client.clone());
    cluster::until(&events, "an event that names the quota", |event| {
        let is_ours = event.involved_object.kind.as_deref() == Some("MySQL");
        let text = event.message.as_deref()?;
        (is_ours && text.contains("exceeded quota: tight")).then_some(())
    })
    .await;
    drop(operator);
    cluster.shutdown().await;
    said
}

#[tokio::test]
async fn a_quota_that_refuses_the_operators_own_writes_is_told() {
    let (reason, message) = said_under(&json!({"services": "0"})).await;
    assert_eq!(reason, "Forbidden", "{message}");
}

#[tokio::test]
async fn a_quota_that_refuses_the_servers_pod_is_told() {
    let (reason, message) = said_under(&json!({"pods": "0"})).await;
    assert_eq!(reason, "FailedCreate", "{message}");
}
