//! Patches of all kinds.

use serde_json::{Value, json};

use crate::support::{CONFIG_MAPS, World, revision};

async fn deployment(world: &World) -> String {
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let object = json!({
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i:1"}, {"name": "other", "image": "o"}]},
            },
        },
    });
    world.post(path, &object).await.ok();
    format!("{path}/d")
}

#[tokio::test]
async fn each_kind_of_patch_changes_the_object() {
    let world = World::start();
    world.config_map("a", &json!({"k": "1", "l": "2"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let merged = world
        .patch("merge", &path, &json!({"data": {"k": null, "m": "3"}}))
        .await
        .ok();
    assert_eq!(merged["data"], json!({"l": "2", "m": "3"}));
    let operations = json!([{"op": "test", "path": "/data/l", "value": "2"}, {"op": "remove", "path": "/data/l"}]);
    let patched = world.patch("json", &path, &operations).await.ok();
    assert_eq!(patched["data"], json!({"m": "3"}));
    let failed = world.patch("json", &path, &operations).await;
    failed.fails(
        422,
        "the server rejected our request due to an error in our request",
    );
}

#[tokio::test]
async fn a_strategic_patch_merges_lists_by_key() {
    let world = World::start();
    let path = deployment(&world).await;
    let newer =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
    let patched = world.patch("strategic", &path, &newer).await.ok();
    let containers = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    let images: Vec<&Value> = containers.iter().map(|one| &one["image"]).collect();
    assert_eq!(images, ["i:2", "o"]);
}

#[tokio::test]
async fn a_patch_may_insist_on_a_revision() {
    let world = World::start();
    let first = world.config_map("a", &json!({"k": "1"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    world
        .patch("merge", &path, &json!({"data": {"k": "2"}}))
        .await
        .ok();
    let stale = json!({"metadata": {"resourceVersion": revision(&first)}, "data": {"k": "3"}});
    assert_eq!(world.patch("merge", &path, &stale).await.code, 409);
}

#[tokio::test]
async fn the_result_of_a_patch_is_validated() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let answer = world
        .patch("merge", &path, &json!({"data": {"n": 5}}))
        .await;
    assert_eq!(answer.code, 422);
    assert!(answer.message().ends_with(
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
    ));
    let answer = world
        .patch("merge", &path, &json!({"metadata": {"name": "b"}}))
        .await;
    assert_eq!(answer.code, 400, "{}", answer.text);
}

#[tokio::test]
async fn apply_creates_merges_and_gives_up() {
    let world = World::start();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=one");
    let wanted = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let created = world
        .patch("apply", &path, &wanted(json!({"k": "1", "l": "2"})))
        .await;
    assert_eq!(created.code, 201);
    let object = created.ok();
    assert_eq!(object["metadata"]["managedFields"][0]["manager"], "one");
    assert_eq!(object["metadata"]["managedFields"][0]["operation"], "Apply");
    let changed = world
        .patch("apply", &path, &wanted(json!({"k": "1"})))
        .await
        .ok();
    assert_eq!(
        changed["data"],
        json!({"k": "1"}),
        "what is no longer applied goes"
    );
    let again = world
        .patch("apply", &path, &wanted(json!({"k": "1"})))
        .await
        .ok();
    assert_eq!(again, changed);
}

#[tokio::test]
async fn who_applies_a_scale_owns_the_replicas() {
    let world = World::start();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    world.post(path, &object).await.ok();
    let scale =
        |manager: &str, force: bool| format!("{path}/d/scale?fieldManager={manager}&force={force}");
    let wanted = |replicas: Value| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"},
            "spec": {"replicas": replicas}})
    };
    let one = scale("one", true);
    let made = world.patch("apply", &one, &wanted(json!(2))).await.ok();
    assert_eq!(made["spec"]["replicas"], 2);
    let two = scale("two", false);
    let refused = world.patch("apply", &two, &wanted(json!(3))).await;
    refused.fails(
        409,
        "Apply failed with 1 conflict: conflict with \"one\" with subresource \"scale\": \
         .spec.replicas",
    );
    let two = scale("two", true);
    world.patch("apply", &two, &wanted(json!(3))).await.ok();
    let object = world.get(&format!("{path}/d")).await.ok();
    assert_eq!(object["spec"]["replicas"], 3);
    let managers = object["metadata"]["managedFields"].as_array();
    let owners: Vec<&Value> = (managers.into_iter().flatten())
        .filter(|entry| entry["subresource"] == "scale")
        .collect();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(
        (
            &owners[0]["manager"],
            &owners[0]["apiVersion"],
            &owners[0]["fieldsV1"]
        ),
        (
            &json!("two"),
            &json!("apps/v1"),
            &json!({"f:spec": {"f:replicas": {}}})
        )
    );
    let merge = format!("{path}/d/scale");
    let words = json!({"spec": {"replicas": "many"}});
    let refused = world.patch("merge", &merge, &words).await;
    assert!(
        refused.code == 422 && refused.message().contains("of type int32"),
        "{}",
        refused.text
    );
    let scale = world.get(&merge).await.ok();
    assert_eq!(scale["spec"]["replicas"], 3, "words are not zero");
}

#[tokio::test]
async fn applying_the_same_twice_makes_no_revision() {
    let world = World::start();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=one");
    let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "1"}});
    let once = world.patch("apply", &path, &wanted).await.ok();
    let twice = world.patch("apply", &path, &wanted).await.ok();
    assert_eq!(once, twice);
    let other = format!("{CONFIG_MAPS}/a?fieldManager=two");
    let shared = world.patch("apply", &other, &wanted).await.ok();
    assert_ne!(
        shared["metadata"]["resourceVersion"], once["metadata"]["resourceVersion"],
        "another owner is a change"
    );
    let again = world.patch("apply", &other, &wanted).await.ok();
    assert_eq!(again, shared);
}

#[tokio::test]
async fn a_conflict_names_the_other_manager() {
    let world = World::start();
    let wanted = |k: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": k}});
    world
        .patch(
            "apply",
            &format!("{CONFIG_MAPS}/a?fieldManager=one"),
            &wanted("1"),
        )
        .await
        .ok();
    let two = format!("{CONFIG_MAPS}/a?fieldManager=two");
    let refused = world.patch("apply", &two, &wanted("2")).await;
    refused.fails(
        409,
        "Apply failed with 1 conflict: conflict with \"one\": .data.k",
    );
    let forced = world
        .patch("apply", &format!("{two}&force=true"), &wanted("2"))
        .await
        .ok();
    assert_eq!(forced["data"]["k"], "2");
    let nameless = world
        .patch("apply", &format!("{CONFIG_MAPS}/a"), &wanted("2"))
        .await;
    assert_eq!(nameless.code, 422);
}

#[tokio::test]
async fn other_writes_are_recorded_with_their_manager() {
    let world = World::start();
    let request = http::Request::post(CONFIG_MAPS)
        .header("content-type", "application/json")
        .header("user-agent", "tool/v1 (x)")
        .body(kube::client::Body::from(
            br#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#.to_vec(),
        ))
        .unwrap();
    let object = world.send(request).await.ok();
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"]),
        (&json!("tool"), &json!("Update"))
    );
    assert_eq!(entry["fieldsV1"], json!({"f:data": {".": {}, "f:k": {}}}));
}

#[tokio::test]
async fn unknown_kinds_of_patch_are_415() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let request = http::Request::patch(format!("{CONFIG_MAPS}/a"))
        .header("content-type", "application/json")
        .body(kube::client::Body::from(b"{}".to_vec()))
        .unwrap();
    world
        .send(request)
        .await
        .fails(415, "415: Unsupported Media Type");
}
