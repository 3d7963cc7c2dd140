//! `wait`: conditions that come true, and deletions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions, delete::delete_and_finalize},
};
use serde_json::json;

use super::{config_maps, create, in_time};
use crate::{custom, support::World};

#[tokio::test]
async fn a_definition_is_waited_for() {
    let world = World::start();
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let definition = serde_json::from_value(custom::definition()).expect("it is a definition");
    let made = api.create(&PostParams::default(), &definition).await;
    made.expect("it is created");
    let established = conditions::is_crd_established();
    let waited = await_condition(api, "widgets.example.com", established);
    let seen = in_time("established", waited).await.expect("it is watched");
    assert!(seen.is_some());
}

#[tokio::test]
async fn a_condition_is_seen_when_it_comes_true() {
    let world = World::start();
    let api = config_maps(&world);
    let ready = |object: Option<&k8s_openapi::api::core::v1::ConfigMap>| {
        object.is_some_and(|one| one.annotations().contains_key("ready"))
    };
    let waited = await_condition(api.clone(), "late", ready);
    let change = async {
        create(&api, "late").await;
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"ready": "yes"}}}));
        api.patch("late", &PatchParams::default(), &patch).await
    };
    let (waited, changed) = in_time("ready", Box::pin(futures::future::join(waited, change))).await;
    changed.expect("it is changed");
    assert!(
        waited
            .expect("it is watched")
            .is_some_and(|one| one.annotations()["ready"] == "yes")
    );
}

#[tokio::test]
async fn a_deletion_is_waited_for_until_finalizers_let_go() {
    let world = World::start();
    let api = config_maps(&world);
    let object = create(&api, "a").await;
    let uid = object.uid().expect("it has one");
    let hold = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let changed = api.patch("a", &PatchParams::default(), &hold).await;
    changed.expect("it is held");
    let params = DeleteParams::default();
    let gone = delete_and_finalize(api.clone(), "a", &params);
    let release = async {
        let marked = |one: Option<&k8s_openapi::api::core::v1::ConfigMap>| {
            one.is_some_and(|one| one.metadata.deletion_timestamp.is_some())
        };
        let marked = await_condition(api.clone(), "a", marked).await;
        marked.expect("it is marked");
        let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        api.patch("a", &PatchParams::default(), &release).await
    };
    let (gone, released) = in_time("gone", Box::pin(futures::future::join(gone, release))).await;
    gone.expect("it is gone");
    released.expect("it is released");
    let deleted = await_condition(api.clone(), "a", conditions::is_deleted(&uid));
    in_time("deleted", deleted).await.expect("it is watched");
}
