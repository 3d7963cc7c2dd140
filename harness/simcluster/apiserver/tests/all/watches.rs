//! Watches.

use serde_json::json;
use simcluster_apiserver::Config;

use crate::support::{CONFIG_MAPS, World, revision};

#[tokio::test]
async fn a_watch_without_a_revision_begins_with_what_is_there() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let mut watch = world.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    world.config_map("b", &json!({})).await;
    assert_eq!(watch.brief().await, "ADDED b");
    world
        .patch(
            "merge",
            &format!("{CONFIG_MAPS}/b"),
            &json!({"data": {"k": "v"}}),
        )
        .await
        .ok();
    assert_eq!(watch.brief().await, "MODIFIED b");
    world.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!(watch.brief().await, "DELETED a");
}

#[tokio::test]
async fn a_watch_from_a_revision_misses_nothing() {
    let world = World::start();
    let first = world.config_map("a", &json!({})).await;
    world.config_map("b", &json!({})).await;
    world.delete(&format!("{CONFIG_MAPS}/b")).await.ok();
    let rv = revision(&first);
    let mut watch = world
        .watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion={rv}"))
        .await;
    assert_eq!(watch.brief().await, "ADDED b");
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    let current: u64 = revision(&gone["object"]).parse().unwrap();
    assert_eq!(current, rv.parse::<u64>().unwrap() + 2);
}

#[tokio::test]
async fn a_forgotten_revision_ends_the_watch_with_410() {
    let world = World::start();
    let first = world.config_map("a", &json!({})).await;
    world.config_map("b", &json!({})).await;
    world.server.compact();
    let rv = revision(&first);
    let mut watch = world
        .watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion={rv}"))
        .await;
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn who_does_not_read_a_watch_is_told_so_and_costs_no_history() {
    let world = World::with(Config {
        log_limit: 16,
        service_account_admission: false,
        ..Config::default()
    });
    let made = world.config_map("a", &json!({})).await;
    let from = revision(&made);
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={from}");
    let mut watch = world.watch(&path).await;
    let object = format!("{CONFIG_MAPS}/a");
    for change in 0..100 {
        let data = json!({"data": {"k": change.to_string()}});
        world.patch("merge", &object, &data).await.ok();
    }
    let mut seen = 0;
    let last = loop {
        match watch.next().await {
            Some(event) if event["type"] == "ERROR" => break event,
            Some(_) => seen += 1,
            None => panic!("the watch ended after {seen} events without a word"),
        }
    };
    assert_eq!((&last["object"]["code"], seen), (&json!(410), 0));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut watch = world.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
}

#[tokio::test]
async fn selectors_turn_changes_into_additions_and_deletions() {
    let world = World::start();
    let first = world.config_map("m", &json!({})).await;
    let rv = revision(&first);
    let mut watch = world
        .watch(&format!(
            "{CONFIG_MAPS}?watch=true&resourceVersion={rv}&labelSelector=on%3Dyes"
        ))
        .await;
    let path = format!("{CONFIG_MAPS}/m");
    for (value, expected) in [("yes", "ADDED m"), ("no", "DELETED m"), ("yes", "ADDED m")] {
        world
            .patch(
                "merge",
                &path,
                &json!({"metadata": {"labels": {"on": value}}}),
            )
            .await
            .ok();
        assert_eq!(watch.brief().await, expected);
    }
}

#[tokio::test]
async fn one_object_can_be_watched() {
    let world = World::start();
    let mut watch = world
        .watch(&format!(
            "{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3Db"
        ))
        .await;
    world.config_map("a", &json!({})).await;
    world.config_map("b", &json!({})).await;
    assert_eq!(watch.brief().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_ends_in_time() {
    let world = World::start();
    let mut watch = world
        .watch(&format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1"))
        .await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_watch_ends_with_the_server() {
    let world = World::start();
    let mut watch = world.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    world.server.shutdown();
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_thousand_watchers_see_each_change() {
    let world = World::start();
    let mut watches = Vec::new();
    for _ in 0..1000 {
        watches.push(world.watch(&format!("{CONFIG_MAPS}?watch=true")).await);
    }
    world.config_map("a", &json!({})).await;
    for watch in &mut watches {
        assert_eq!(watch.brief().await, "ADDED a");
    }
}
