//! Creating and updating.

use serde_json::json;
use simcluster_apiserver::Config;

use crate::support::{CONFIG_MAPS, World, revision};

#[tokio::test]
async fn a_created_object_has_what_the_server_decides() {
    let world = World::start();
    let answer = world
        .post(CONFIG_MAPS, &json!({"metadata": {"name": "a", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"}}))
        .await;
    assert_eq!(answer.code, 201);
    let object = answer.ok();
    assert_eq!(object["apiVersion"], "v1");
    assert_eq!(object["kind"], "ConfigMap");
    assert_eq!(object["metadata"]["namespace"], "default");
    assert_ne!(object["metadata"]["uid"], "mine");
    assert_ne!(
        object["metadata"]["creationTimestamp"],
        "2001-01-01T00:00:00Z"
    );
    assert_eq!(world.get(&format!("{CONFIG_MAPS}/a")).await.ok(), object);
}

#[tokio::test]
async fn creating_twice_already_exists() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let again = world
        .post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}}))
        .await;
    again.fails(409, "configmaps \"a\" already exists");
    assert_eq!(again.body["reason"], "AlreadyExists");
}

#[tokio::test]
async fn generated_names_are_made_from_the_prefix() {
    let world = World::start();
    let one = world
        .post(CONFIG_MAPS, &json!({"metadata": {"generateName": "x-"}}))
        .await
        .ok();
    let two = world
        .post(CONFIG_MAPS, &json!({"metadata": {"generateName": "x-"}}))
        .await
        .ok();
    let name = one["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
}

#[tokio::test]
async fn names_and_data_are_validated_with_causes() {
    let world = World::start();
    let answer = world
        .post(
            CONFIG_MAPS,
            &json!({"metadata": {"name": "Bad_Name"}, "data": {"b c": "x"}}),
        )
        .await;
    assert_eq!(answer.code, 422);
    assert_eq!(answer.body["details"]["kind"], "ConfigMap");
    let causes = answer.body["details"]["causes"].as_array().unwrap();
    let fields: Vec<_> = causes
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["metadata.name", "data[b c]"]);
}

#[tokio::test]
async fn an_absent_namespace_takes_no_objects() {
    let world = World::start();
    let answer = world
        .post(
            "/api/v1/namespaces/nowhere/configmaps",
            &json!({"metadata": {"name": "a"}}),
        )
        .await;
    answer.fails(404, "namespaces \"nowhere\" not found");
    let answer = world
        .post(
            CONFIG_MAPS,
            &json!({"metadata": {"name": "a", "namespace": "other"}}),
        )
        .await;
    answer.fails(
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    );
}

#[tokio::test]
async fn a_stale_update_is_a_conflict() {
    let world = World::start();
    let first = world.config_map("a", &json!({"k": "1"})).await;
    let mut next = first.clone();
    next["data"]["k"] = "2".into();
    let path = format!("{CONFIG_MAPS}/a");
    world.put(&path, &next).await.ok();
    world.put(&path, &next).await.fails(
        409,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
         please apply your changes to the latest version and try again",
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_makes_no_revision() {
    let world = World::start();
    let first = world.config_map("a", &json!({"k": "1"})).await;
    let again = world.put(&format!("{CONFIG_MAPS}/a"), &first).await.ok();
    assert_eq!(again, first);
}

#[tokio::test]
async fn a_dry_run_shows_the_result_and_keeps_nothing() {
    let world = World::start();
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    let shown = world
        .post(&path, &json!({"metadata": {"name": "a"}}))
        .await
        .ok();
    assert!(shown["metadata"]["uid"].is_string());
    assert_eq!(world.get(&format!("{CONFIG_MAPS}/a")).await.code, 404);
    let wrong = world
        .post(
            &format!("{CONFIG_MAPS}?dryRun=Some"),
            &json!({"metadata": {"name": "a"}}),
        )
        .await;
    assert_eq!(wrong.code, 422);
}

#[tokio::test]
async fn field_validation_warns_or_refuses() {
    let world = World::start();
    let body = json!({"metadata": {"name": "a"}, "dat": {}});
    let strict = world
        .post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), &body)
        .await;
    strict.fails(
        400,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dat\"",
    );
    let warned = world.post(CONFIG_MAPS, &body).await;
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"dat\\\"\""]);
    let object = warned.ok();
    assert!(object.get("dat").is_none());
    let silent = world
        .post(
            &format!("{CONFIG_MAPS}?fieldValidation=Ignore"),
            &json!({"metadata": {"name": "b"}, "dat": {}}),
        )
        .await;
    assert!(silent.warnings().is_empty());
}

#[tokio::test]
async fn bodies_of_other_kinds_and_formats_are_refused() {
    let world = World::start();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}});
    world.post(CONFIG_MAPS, &secret).await.fails(
        400,
        "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion",
    );
    let request = http::Request::post(CONFIG_MAPS)
        .header("content-type", "text/plain")
        .body(kube::client::Body::from(b"hello".to_vec()))
        .unwrap();
    assert_eq!(world.send(request).await.code, 415);
    let yaml = http::Request::post(CONFIG_MAPS)
        .header("content-type", "application/yaml")
        .body(kube::client::Body::from(
            b"metadata:\n  name: y1\ndata: {on: \"yes\"}\n".to_vec(),
        ))
        .unwrap();
    assert_eq!(world.send(yaml).await.ok()["metadata"]["name"], "y1");
}

#[tokio::test]
async fn a_body_too_long_is_refused() {
    let world = World::start();
    let answer = world
        .post(
            CONFIG_MAPS,
            &json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(3 << 20)}}),
        )
        .await;
    answer.fails(413, "Request entity too large: limit is 3145728");
}

#[tokio::test]
async fn methods_that_a_path_does_not_have_are_405() {
    let world = World::start();
    let body = json!({"metadata": {"name": "a"}});
    for answer in [
        world.post(&format!("{CONFIG_MAPS}/a"), &body).await,
        world.put(CONFIG_MAPS, &body).await,
        world.post("/api/v1/configmaps", &body).await,
        world.delete("/api/v1/namespaces").await,
    ] {
        answer.fails(
            405,
            "the server does not allow this method on the requested resource",
        );
    }
}

#[tokio::test]
async fn the_generation_counts_changes_of_the_spec() {
    let world = World::start();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    });
    let created = world.post(path, &deployment).await.ok();
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["spec"]["replicas"], 1, "defaults are filled in");
    let one = format!("{path}/d");
    let labelled = world
        .patch("merge", &one, &json!({"metadata": {"labels": {"x": "y"}}}))
        .await
        .ok();
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scaled = world
        .patch("merge", &one, &json!({"spec": {"replicas": 2}}))
        .await
        .ok();
    assert_eq!(scaled["metadata"]["generation"], 2);
    let status = world
        .patch(
            "merge",
            &format!("{one}/status"),
            &json!({"status": {"replicas": 2}, "spec": {"replicas": 9}}),
        )
        .await
        .ok();
    assert_eq!(
        (
            &status["metadata"]["generation"],
            &status["spec"]["replicas"]
        ),
        (&json!(2), &json!(2))
    );
    assert_eq!(status["status"]["replicas"], 2);
    let ignored = world
        .patch("merge", &one, &json!({"status": {"replicas": 7}}))
        .await
        .ok();
    assert_eq!(ignored["status"]["replicas"], 2);
}

#[tokio::test]
async fn the_scale_changes_replicas() {
    let world = World::start();
    let path = "/apis/apps/v1/namespaces/default/replicasets";
    let set = json!({
        "metadata": {"name": "r"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    });
    world.post(path, &set).await.ok();
    let scale = format!("{path}/r/scale");
    let seen = world.get(&scale).await.ok();
    assert_eq!(
        (
            &seen["kind"],
            &seen["spec"]["replicas"],
            &seen["status"]["selector"]
        ),
        (&json!("Scale"), &json!(3), &json!("a=b"))
    );
    world
        .patch("merge", &scale, &json!({"spec": {"replicas": 5}}))
        .await
        .ok();
    assert_eq!(
        world.get(&format!("{path}/r")).await.ok()["spec"]["replicas"],
        5
    );
    assert_eq!(
        world
            .patch("merge", &scale, &json!({"spec": {"replicas": -1}}))
            .await
            .code,
        422
    );
}

#[tokio::test]
async fn both_event_apis_show_the_same_event() {
    let world = World::start();
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Why", "action": "Do", "note": "told", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c", "reportingInstance": "c-1",
    });
    world
        .post("/apis/events.k8s.io/v1/namespaces/default/events", &event)
        .await
        .ok();
    let core = world.get("/api/v1/namespaces/default/events/e").await.ok();
    assert_eq!(
        (&core["message"], &core["involvedObject"]["name"]),
        (&json!("told"), &json!("p"))
    );
    assert_eq!(core["reportingComponent"], "example.com/c");
}

#[tokio::test]
async fn an_unknown_path_means_nothing() {
    let world = World::start();
    assert_eq!(
        world.get("/apis/nosuch.example.com/v1/things").await.text,
        "404 page not found\n"
    );
    world
        .get("/apis/apps/v9")
        .await
        .fails(404, "the server could not find the requested resource");
    world
        .get("/api/v1/namespaces/default/pods/p/nonsense")
        .await
        .fails(404, "the server could not find the requested resource");
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let world = World::start();
    let answer = world
        .get("/apis/apps/v1/namespaces/default/deployments/none")
        .await;
    answer.fails(404, "deployments.apps \"none\" not found");
    let unsupported = world.get("/openid/v1/jwks").await;
    assert_eq!(
        (unsupported.code, unsupported.body["reason"].as_str()),
        (501, Some("NotImplemented"))
    );
}

#[tokio::test]
async fn two_hundred_servers_answer_beside_one_another() {
    let worlds: Vec<World> = (0..200).map(|_| World::with(Config::default())).collect();
    for (n, world) in worlds.iter().enumerate() {
        let made = world.config_map("a", &json!({"n": n.to_string()})).await;
        assert_eq!(made["data"]["n"], n.to_string());
        assert!(!revision(&made).is_empty());
    }
}
