//! Deletion.

use serde_json::json;

use crate::support::{CONFIG_MAPS, World, names};

#[tokio::test]
async fn a_deletion_is_answered_with_a_success() {
    let world = World::start();
    let made = world.config_map("a", &json!({})).await;
    let answer = world.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!(
        (&answer["kind"], &answer["status"]),
        (&json!("Status"), &json!("Success"))
    );
    assert_eq!(
        answer["details"],
        json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]})
    );
    world
        .delete(&format!("{CONFIG_MAPS}/a"))
        .await
        .fails(404, "configmaps \"a\" not found");
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let world = World::start();
    let path = format!("{CONFIG_MAPS}/a");
    world
        .post(
            CONFIG_MAPS,
            &json!({"metadata": {"name": "a", "finalizers": ["x.example.com/y"]}}),
        )
        .await
        .ok();
    let marked = world.delete(&path).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let more = json!({"metadata": {"finalizers": ["x.example.com/y", "x.example.com/z"]}});
    assert_eq!(
        world.patch("merge", &path, &more).await.code,
        422,
        "none can be added now"
    );
    world
        .patch("merge", &path, &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    assert_eq!(world.get(&path).await.code, 404);
}

#[tokio::test]
async fn propagation_is_left_to_finalizers() {
    let world = World::start();
    for (policy, finalizer) in [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")] {
        world.config_map("a", &json!({})).await;
        let path = format!("{CONFIG_MAPS}/a");
        let marked = world
            .delete_with(&path, &json!({"propagationPolicy": policy}))
            .await
            .ok();
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        world
            .patch("merge", &path, &json!({"metadata": {"finalizers": null}}))
            .await
            .ok();
        assert_eq!(world.get(&path).await.code, 404);
    }
}

#[tokio::test]
async fn preconditions_are_kept() {
    let world = World::start();
    let made = world.config_map("a", &json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let wrong = json!({"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}});
    let refused = world.delete_with(&path, &wrong).await;
    assert_eq!(refused.code, 409);
    let dry = json!({"dryRun": ["All"], "preconditions": {"uid": made["metadata"]["uid"]}});
    world.delete_with(&path, &dry).await.ok();
    assert_eq!(world.get(&path).await.code, 200);
    world
        .delete_with(
            &path,
            &json!({"preconditions": {"uid": made["metadata"]["uid"]}}),
        )
        .await
        .ok();
}

#[tokio::test]
async fn a_collection_is_deleted_as_selected() {
    let world = World::start();
    for (name, go) in [("a", "y"), ("b", "n"), ("c", "y")] {
        world
            .post(
                CONFIG_MAPS,
                &json!({"metadata": {"name": name, "labels": {"go": go}}}),
            )
            .await
            .ok();
    }
    let gone = world
        .delete(&format!("{CONFIG_MAPS}?labelSelector=go%3Dy"))
        .await
        .ok();
    assert_eq!(names(&gone), ["a", "c"]);
    assert_eq!(names(&world.get(CONFIG_MAPS).await.ok()), ["b"]);
}

#[tokio::test]
async fn a_namespace_waits_for_its_finalizer_and_takes_nothing_more() {
    let world = World::start();
    let made = world
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}}))
        .await
        .ok();
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    let marked = world.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused = world
        .post(
            "/api/v1/namespaces/n/configmaps",
            &json!({"metadata": {"name": "late"}}),
        )
        .await;
    refused.fails(
        403,
        "configmaps \"late\" is forbidden: unable to create new content in namespace n because it is being terminated",
    );
    let mut done = marked.clone();
    done["spec"]["finalizers"] = json!([]);
    world.put("/api/v1/namespaces/n/finalize", &done).await.ok();
    assert_eq!(world.get("/api/v1/namespaces/n").await.code, 404);
    let kept = world.delete("/api/v1/namespaces/default").await;
    kept.fails(
        403,
        "namespaces \"default\" is forbidden: this namespace may not be deleted",
    );
}
