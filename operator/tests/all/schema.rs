//! What the definition refuses, and in which words.

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::cluster;

fn resource(name: &str, change: &Value) -> DynamicObject {
    let mut resource = json!({
        "apiVersion": "otus.homework/v1",
        "kind": "MySQL",
        "metadata": {"name": name},
        "spec": {"image": "mysql:8.4", "database": "db", "password": "otuspassword", "storage_size": "2Gi"},
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        resource["spec"][key] = value.clone();
        if value.is_null() {
            resource["spec"]
                .as_object_mut()
                .expect("a spec")
                .remove(key);
        }
    }
    serde_json::from_value(resource).expect("an object")
}

#[tokio::test]
async fn what_cannot_work_is_refused_when_it_is_written() {
    let cluster = cluster::start().await;
    let kind = GroupVersionKind::gvk("otus.homework", "v1", "MySQL");
    let api: Api<DynamicObject> =
        Api::default_namespaced_with(cluster.client(), &ApiResource::from_gvk(&kind));
    let long = "a".repeat(41);
    let names = "metadata.name must be at most 40";
    let reserved = "this name belongs to the server itself";
    for (name, change, words) in [
        (long.as_str(), json!({}), names),
        ("1db", json!({}), names),
        ("a.b", json!({}), names),
        ("db", json!({"database": "mysql"}), reserved),
        ("db", json!({"database": "SYS"}), reserved),
        ("db", json!({"database": "a`b"}), "spec.database"),
        ("db", json!({"database": "-a"}), "spec.database"),
        ("db", json!({"database": "d".repeat(65)}), "spec.database"),
        ("db", json!({"storage_size": "0"}), "greater than zero"),
        ("db", json!({"storage_size": "-1Gi"}), "spec.storage_size"),
        ("db", json!({"storage_size": "much"}), "spec.storage_size"),
        ("db", json!({"storage_size": "0.0"}), "greater than zero"),
        (
            "db",
            json!({"storage_size": "1.5.1Gi"}),
            "spec.storage_size",
        ),
        ("db", json!({"password": ""}), "spec.password"),
        ("db", json!({"password": "a\u{0}b"}), "spec.password"),
        ("db", json!({"password": "p".repeat(129)}), "spec.password"),
        (
            "db",
            json!({"password": null}),
            "either password or passwordSecretRef must be set",
        ),
        (
            "db",
            json!({"passwordSecretRef": {"name": "a", "key": "b"}}),
            "password and passwordSecretRef exclude each other",
        ),
    ] {
        let said = match api
            .create(&PostParams::default(), &resource(name, &change))
            .await
        {
            Ok(_) => panic!("{name} with {change} was accepted"),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(words), "{name} with {change}: {said}");
    }
    for (number, size) in ["1e3", "1.5Gi", "500M", "1"].into_iter().enumerate() {
        let good = resource(&format!("good-{number}"), &json!({"storage_size": size}));
        let accepted = api.create(&PostParams::default(), &good).await;
        accepted.unwrap_or_else(|error| panic!("{size}: {error}"));
    }
    api.create(&PostParams::default(), &resource("otus-db", &json!({})))
        .await
        .expect("the good one is accepted");
    for (change, words) in [
        (json!({"database": "other"}), "cannot be changed"),
        (json!({"storage_size": "1Gi"}), "cannot shrink"),
        (
            json!({"storageClassName": "fast"}),
            "the class of existing volumes cannot be changed",
        ),
    ] {
        let patch = Patch::Merge(json!({"spec": change}));
        let said = match api.patch("otus-db", &PatchParams::default(), &patch).await {
            Ok(_) => panic!("{change} was accepted"),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(words), "{change}: {said}");
    }
    cluster.shutdown().await;
}
