//! Owners and dependents.

use serde_json::{Value, json};

use crate::world::{World, apps, core, template};

async fn config_map(world: &World, name: &str, owners: &Value, extra: &Value) -> Value {
    let mut body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": owners},
    });
    crate::world::merge(&mut body, extra);
    world.post(&core("configmaps"), &body).await
}

fn owned_by(owner: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
           "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true})
}

#[tokio::test]
async fn background_deletion_removes_dependents_and_theirs() {
    let world = World::start().await;
    let top = config_map(&world, "top", &Value::Null, &json!({})).await;
    let middle = config_map(&world, "middle", &json!([owned_by(&top)]), &json!({})).await;
    config_map(&world, "leaf", &json!([owned_by(&middle)]), &json!({})).await;
    world
        .delete(
            &core("configmaps/top"),
            &json!({"propagationPolicy": "Background"}),
        )
        .await;
    world.until_gone(&core("configmaps"), "leaf").await;
    world.until_gone(&core("configmaps"), "middle").await;
}

#[tokio::test]
async fn a_dependent_of_an_owner_that_never_was_is_collected() {
    let world = World::start().await;
    let nobody = json!([{"apiVersion": "v1", "kind": "Secret", "name": "never",
                         "uid": "11111111-2222-3333-4444-555555555555"}]);
    config_map(&world, "lost", &nobody, &json!({})).await;
    world.until_gone(&core("configmaps"), "lost").await;
}

#[tokio::test]
async fn foreground_deletion_waits_for_those_that_block() {
    let world = World::start().await;
    let owner = config_map(&world, "owner", &Value::Null, &json!({})).await;
    let held = json!({"metadata": {"finalizers": ["example.com/wait"]}});
    config_map(&world, "child", &json!([owned_by(&owner)]), &held).await;
    world
        .delete(
            &core("configmaps/owner"),
            &json!({"propagationPolicy": "Foreground"}),
        )
        .await;
    let going = |child: &Value| child["metadata"]["deletionTimestamp"].is_string();
    world.until_one(&core("configmaps"), "child", going).await;
    let owner = world.get(&core("configmaps/owner")).await;
    assert_eq!(
        owner["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    world
        .patch(
            &core("configmaps/child"),
            &json!({"metadata": {"finalizers": null}}),
        )
        .await;
    world.until_gone(&core("configmaps"), "owner").await;
}

#[tokio::test]
async fn orphaning_keeps_even_a_dependent_made_a_moment_ago() {
    let world = World::start().await;
    let owner = config_map(&world, "owner", &Value::Null, &json!({})).await;
    config_map(&world, "child", &json!([owned_by(&owner)]), &json!({})).await;
    world
        .delete(
            &core("configmaps/owner"),
            &json!({"propagationPolicy": "Orphan"}),
        )
        .await;
    world.until_gone(&core("configmaps"), "owner").await;
    let child = world.get(&core("configmaps/child")).await;
    assert!(child["metadata"]["ownerReferences"].is_null(), "{child}");
}

#[tokio::test]
async fn one_living_owner_keeps_the_dependent() {
    let world = World::start().await;
    let one = config_map(&world, "one", &Value::Null, &json!({})).await;
    let two = config_map(&world, "two", &Value::Null, &json!({})).await;
    config_map(
        &world,
        "child",
        &json!([owned_by(&one), owned_by(&two)]),
        &json!({}),
    )
    .await;
    world.delete(&core("configmaps/one"), &Value::Null).await;
    let has_one = |child: &Value| {
        child["metadata"]["ownerReferences"]
            .as_array()
            .is_some_and(|owners| owners.len() == 1)
    };
    let child = world.until_one(&core("configmaps"), "child", has_one).await;
    assert_eq!(child["metadata"]["ownerReferences"][0]["name"], "two");
}

#[tokio::test]
async fn a_cluster_scoped_dependent_of_a_namespaced_owner_stays_and_is_told() {
    let world = World::start().await;
    let owner = config_map(&world, "owner", &Value::Null, &json!({})).await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "r", "ownerReferences": [owned_by(&owner)]}, "rules": [],
    });
    world
        .post("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role)
        .await;
    world.delete(&core("configmaps/owner"), &Value::Null).await;
    let event = world.event("r", "OwnerRefInvalidNamespace").await;
    assert_eq!(
        event["message"],
        format!(
            "ownerRef [v1/ConfigMap, namespace: , name: owner, uid: {}] does not exist in \
             namespace \"\"",
            owner["metadata"]["uid"].as_str().unwrap()
        )
    );
    let role = world
        .get("/apis/rbac.authorization.k8s.io/v1/clusterroles/r")
        .await;
    assert!(role["metadata"]["deletionTimestamp"].is_null());
}

#[tokio::test]
async fn custom_resources_are_collected_like_all_others() {
    let world = World::start().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    world.post(definitions, &definition).await;
    let established =
        |definition: &Value| crate::world::condition(definition, "Established")["status"] == "True";
    world
        .until_one(definitions, "things.example.com", established)
        .await;
    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}});
    let thing = world.post(things, &thing).await;
    let owner = json!({"apiVersion": "example.com/v1", "kind": "Thing", "name": "t",
                       "uid": thing["metadata"]["uid"]});
    config_map(&world, "child", &json!([owner]), &json!({})).await;
    let mut other =
        json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "u"}});
    other["metadata"]["ownerReferences"] = json!([owner]);
    world.post(things, &other).await;
    world.delete(&format!("{things}/t"), &Value::Null).await;
    world.until_gone(&core("configmaps"), "child").await;
    world.until_gone(things, "u").await;
}

#[tokio::test]
async fn an_orphaned_replica_set_outlives_its_deployment() {
    let world = World::start().await;
    let labels = json!({"a": "b"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template(&labels)},
    });
    world.post(&apps("deployments"), &deployment).await;
    world.until(&core("pods"), |pods| pods.len() == 1).await;
    world
        .delete(
            &apps("deployments/d"),
            &json!({"propagationPolicy": "Orphan"}),
        )
        .await;
    world.until_gone(&apps("deployments"), "d").await;
    let free = |sets: &[Value]| sets.len() == 1 && sets[0]["metadata"]["ownerReferences"].is_null();
    world.until(&apps("replicasets"), free).await;
}
