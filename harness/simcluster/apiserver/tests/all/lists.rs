//! Lists.

use serde_json::json;

use crate::support::{CONFIG_MAPS, World, names, revision};

async fn with_five() -> World {
    let world = World::start();
    for (n, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let object = json!({"metadata": {"name": name, "labels": {"odd": (n % 2).to_string()}}});
        world.post(CONFIG_MAPS, &object).await.ok();
    }
    world
}

#[tokio::test]
async fn items_of_built_in_lists_do_not_repeat_their_type() {
    let list = with_five().await.get(CONFIG_MAPS).await.ok();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ConfigMapList"), &json!("v1"))
    );
    assert!(list["items"][0].get("kind").is_none());
    assert_eq!(names(&list), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_list_in_parts_shows_one_revision() {
    let world = with_five().await;
    let first = world.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    world.config_map("bb", &json!({})).await;
    world.delete(&format!("{CONFIG_MAPS}/c")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = world
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await
        .ok();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(revision(&second), revision(&first));
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = world
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await
        .ok();
    assert_eq!(names(&third), ["e"]);
    assert!(third["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn a_forgotten_revision_is_410() {
    let world = with_five().await;
    let first = world.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    world.config_map("z", &json!({})).await;
    world.server.compact();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let answer = world
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await;
    assert_eq!(
        (answer.code, answer.body["reason"].as_str()),
        (410, Some("Expired"))
    );
}

#[tokio::test]
async fn an_exact_revision_shows_the_past() {
    let world = with_five().await;
    let before = world.get(CONFIG_MAPS).await.ok();
    world.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    let rv = revision(&before);
    let past = world
        .get(&format!(
            "{CONFIG_MAPS}?resourceVersion={rv}&resourceVersionMatch=Exact"
        ))
        .await
        .ok();
    assert_eq!(past, before);
    let newer = world
        .get(&format!("{CONFIG_MAPS}?resourceVersion={rv}"))
        .await
        .ok();
    assert_eq!(names(&newer), ["b", "c", "d", "e"]);
}

#[tokio::test]
async fn the_future_is_a_timeout() {
    let world = World::start();
    let answer = world
        .get(&format!("{CONFIG_MAPS}?resourceVersion=99999"))
        .await;
    assert_eq!(answer.code, 504);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(
        answer
            .message()
            .starts_with("Timeout: Too large resource version: 99999, current: ")
    );
}

#[tokio::test]
async fn selectors_select() {
    let world = with_five().await;
    let select = |query: &str| format!("{CONFIG_MAPS}?{query}");
    for (query, expected) in [
        ("labelSelector=odd%3D1", vec!["b", "d"]),
        ("labelSelector=odd+in+(0),odd", vec!["a", "c", "e"]),
        ("labelSelector=!odd", vec![]),
        ("fieldSelector=metadata.name%3Dc", vec!["c"]),
        (
            "fieldSelector=metadata.name!%3Dc,metadata.namespace%3Ddefault",
            vec!["a", "b", "d", "e"],
        ),
    ] {
        let list = world.get(&select(query)).await.ok();
        assert_eq!(names(&list), expected, "{query}");
    }
    let answer = world.get(&select("fieldSelector=data.x%3Dy")).await;
    assert_eq!(answer.code, 400, "{}", answer.text);
    let answer = world.get(&select("labelSelector=a%3D%3D%3Db")).await;
    assert_eq!(answer.code, 400, "{}", answer.text);
}

#[tokio::test]
async fn namespaces_are_lists_of_their_own() {
    let world = with_five().await;
    world
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "def"}}))
        .await
        .ok();
    world
        .post(
            "/api/v1/namespaces/def/configmaps",
            &json!({"metadata": {"name": "other"}}),
        )
        .await
        .ok();
    assert_eq!(
        names(&world.get("/api/v1/namespaces/def/configmaps").await.ok()),
        ["other"]
    );
    assert_eq!(
        world.get(CONFIG_MAPS).await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(
        world.get("/api/v1/configmaps").await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[tokio::test]
async fn rules_between_options_are_kept() {
    let world = World::start();
    let answer = world
        .get(&format!("{CONFIG_MAPS}?resourceVersionMatch=Exact"))
        .await;
    answer.fails(
        422,
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
    let answer = world.get(&format!("{CONFIG_MAPS}?continue=rubbish")).await;
    assert!(
        answer.message().starts_with("invalid continue token: "),
        "{}",
        answer.text
    );
}
