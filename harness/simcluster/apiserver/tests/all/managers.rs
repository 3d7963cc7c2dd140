//! `metadata.managedFields`, which the server keeps as text and nobody may see as text.

use serde_json::{Value, json};

use crate::{
    hook::Hook,
    support::{CONFIG_MAPS, World, revision},
    webhooks::register,
};

/// Looks at all managed fields in an answer or a question, however deep, and counts them.
fn lists(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, below)| {
                if name == "managedFields" {
                    assert!(below[0]["fieldsV1"].is_object(), "{below}");
                    return 1;
                }
                lists(below)
            })
            .sum(),
        Value::Array(items) => items.iter().map(lists).sum(),
        _ => 0,
    }
}

#[track_caller]
fn seen(value: &Value) {
    assert!(lists(value) > 0, "nobody is named in {value}");
}

#[tokio::test]
async fn every_answer_shows_managers_as_a_list() {
    let world = World::start();
    seen(&world.config_map("a", &json!({"k": "1"})).await);
    let one = format!("{CONFIG_MAPS}/a");
    let put = world.get(&one).await.ok();
    seen(&put);
    seen(&world.put(&one, &put).await.ok());
    let json_patch = json!([{"op": "replace", "path": "/data/k", "value": "2"}]);
    seen(&world.patch("json", &one, &json_patch).await.ok());
    for (kind, value) in [("merge", "3"), ("strategic", "4")] {
        let change = json!({"data": {"k": value}});
        seen(&world.patch(kind, &one, &change).await.ok());
    }
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
                         "data": {"other": "5"}});
    let apply = format!("{one}?fieldManager=me");
    seen(&world.patch("apply", &apply, &applied).await.ok());
    let dry = format!("{one}?dryRun=All");
    let change = json!({"data": {"k": "6"}});
    seen(&world.patch("merge", &dry, &change).await.ok());
    seen(&world.get(CONFIG_MAPS).await.ok());
    for form in [
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    ] {
        seen(&world.get_as(&one, form).await.ok());
        let whole = format!("{one}?includeObject=Object");
        seen(&world.get_as(&whole, form).await.ok());
    }
    let yaml = world.get_as(&one, "application/yaml").await.text;
    assert!(yaml.contains("managedFields:\n"), "{yaml}");
    let mut watch = world.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    seen(&watch.next().await.expect("the object is there"));
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    world.patch("merge", &one, &held).await.ok();
    seen(&world.delete(&one).await.ok());
}

#[tokio::test]
async fn what_is_written_back_unchanged_is_no_change() {
    let world = World::start();
    let hook = Hook::adding().await;
    let resource = "mutatingwebhookconfigurations";
    register(&world, resource, &hook.config, &json!({})).await;
    let made = world.config_map("a", &json!({"k": "1"})).await;
    let one = format!("{CONFIG_MAPS}/a");
    let again = world.put(&one, &made).await.ok();
    assert_eq!(revision(&again), revision(&made));
    let nothing = json!({"data": {"k": "1"}});
    let again = world.patch("merge", &one, &nothing).await.ok();
    assert_eq!(again, made);
    for asked in hook.asked() {
        seen(&asked["object"]);
        if asked["operation"] == "UPDATE" {
            seen(&asked["oldObject"]);
        }
    }
}

#[tokio::test]
async fn patches_can_read_and_write_managers() {
    let world = World::start();
    world.config_map("a", &json!({"k": "1"})).await;
    let one = format!("{CONFIG_MAPS}/a");
    let manager = "/metadata/managedFields/0/manager";
    let renamed = json!([
        {"op": "test", "path": "/metadata/managedFields/0/operation", "value": "Update"},
        {"op": "replace", "path": manager, "value": "heir"},
    ]);
    let after = world.patch("json", &one, &renamed).await.ok();
    assert_eq!(after["metadata"]["managedFields"][0]["manager"], "heir");
    let copied = json!([
        {"op": "add", "path": "/data/was", "value": ""},
        {"op": "copy", "from": manager, "path": "/data/was"},
    ]);
    let after = world.patch("json", &one, &copied).await.ok();
    assert_eq!(after["data"]["was"], "heir");
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let after = world.patch("merge", &one, &reset).await.ok();
    assert_eq!(after["metadata"].get("managedFields"), None);
}

#[tokio::test]
async fn managers_cannot_be_sent_as_text() {
    let world = World::start();
    let made = world.config_map("a", &json!({"k": "1"})).await;
    let one = format!("{CONFIG_MAPS}/a");
    let text = made["metadata"]["managedFields"].to_string();
    let change = json!({"metadata": {"managedFields": text}});
    assert_eq!(world.patch("merge", &one, &change).await.code, 422);
    let mut sent = made.clone();
    sent["metadata"]["managedFields"] = text.into();
    assert_eq!(world.put(&one, &sent).await.code, 400);
    assert_eq!(world.get(&one).await.ok(), made);
}
