//! `Api`'s methods for what lies below an object: scale, eviction, status; logs, attach and exec are
//! in [`crate::pods`].

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    Api,
    api::{EvictParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::config_maps;
use crate::support::World;

#[tokio::test]
async fn a_deployment_is_scaled() {
    let world = World::start();
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "default");
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": "d"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
                     "spec": {"containers": [{"name": "c", "image": "i"}]}}}}));
    let deployment = deployment.expect("it is a Deployment");
    let made = api.create(&PostParams::default(), &deployment).await;
    made.expect("it is created");
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let scaled = api.patch_scale("d", &PatchParams::default(), &patch).await;
    let scaled = scaled.expect("it is scaled");
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas), Some(5));
    let seen = api.get("d").await.expect("it is there");
    assert_eq!(seen.spec.and_then(|spec| spec.replicas), Some(5));
    let mut scale = api.get_scale("d").await.expect("it has a scale");
    scale.spec.get_or_insert_default().replicas = Some(1);
    let replaced = api.replace_scale("d", &PostParams::default(), &scale).await;
    replaced.expect("it is replaced");
    let status = Patch::Merge(json!({"status": {"replicas": 1}}));
    let changed = api
        .patch_status("d", &PatchParams::default(), &status)
        .await;
    let changed = changed.expect("its status is changed");
    assert_eq!(changed.status.and_then(|status| status.replicas), Some(1));
    assert_eq!(changed.spec.and_then(|spec| spec.replicas), Some(1));
}

#[tokio::test]
async fn an_eviction_that_breaks_a_budget_is_429() {
    let world = World::start();
    let api: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.client.clone(), "default");
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}}));
    let made = api
        .create(&PostParams::default(), &pod.expect("it is a Pod"))
        .await;
    made.expect("it is created");
    let running = Patch::Merge(json!({"status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}]}}));
    let running = api
        .patch_status("p", &PatchParams::default(), &running)
        .await;
    running.expect("it runs");
    let budget = serde_json::from_value(json!({
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}));
    let budget = budget.expect("it is a budget");
    let made = budgets.create(&PostParams::default(), &budget).await;
    made.expect("it is created");
    let counted = Patch::Merge(
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0,
        "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}}),
    );
    let counted = budgets
        .patch_status("b", &PatchParams::default(), &counted)
        .await;
    counted.expect("it is counted");
    let refused = api.evict("p", &EvictParams::default()).await;
    let Err(kube::Error::Api(status)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (status.code, status.reason.as_str()),
        (429, "TooManyRequests")
    );
    assert_eq!(
        status.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let allowed = Patch::Merge(json!({"status": {"disruptionsAllowed": 1}}));
    let allowed = budgets
        .patch_status("b", &PatchParams::default(), &allowed)
        .await;
    allowed.expect("it allows one");
    api.evict("p", &EvictParams::default())
        .await
        .expect("it is evicted");
}

#[tokio::test]
async fn an_entry_is_made_or_changed() {
    let world = World::start();
    let api = config_maps(&world);
    for value in ["1", "2"] {
        let entry = api.entry("a").await.expect("it answers");
        let mut entry = entry.or_insert(|| super::config_map("a"));
        let data = entry.get_mut().data.get_or_insert_default();
        data.insert("n".to_owned(), value.to_owned());
        entry
            .commit(&PostParams::default())
            .await
            .expect("it is kept");
    }
    let seen = api.get("a").await.expect("it is there");
    assert_eq!(seen.data.expect("it has data")["n"], "2");
}
