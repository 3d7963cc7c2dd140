//! `watcher` with both ways to begin, and the store that is filled from it.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{
        WatchStreamExt as _, reflector,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;

use super::{config_maps, create, in_time};
use crate::support::World;

/// `Apply a`, as a line.
fn line(event: &Event<ConfigMap>) -> String {
    match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(one) => format!("begin with {}", one.name_any()),
        Event::InitDone => "ready".to_owned(),
        Event::Apply(one) => format!("apply {}", one.name_any()),
        Event::Delete(one) => format!("delete {}", one.name_any()),
    }
}

async fn sees_everything(config: watcher::Config) {
    let world = World::start();
    let api = config_maps(&world);
    for name in ["a", "b", "c"] {
        create(&api, name).await;
    }
    let mut stream = Box::pin(watcher(api.clone(), config));
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("ready") {
        let event = in_time("the beginning", stream.next()).await;
        seen.push(line(&event.expect("it goes on").expect("nothing fails")));
    }
    let expected = [
        "init",
        "begin with a",
        "begin with b",
        "begin with c",
        "ready",
    ];
    assert_eq!(seen, expected);
    create(&api, "d").await;
    let change = Patch::Merge(json!({"data": {"x": "y"}}));
    let changed = api.patch("a", &PatchParams::default(), &change).await;
    changed.expect("it is changed");
    let gone = api.delete("b", &DeleteParams::default()).await;
    gone.expect("it is deleted");
    for expected in ["apply d", "apply a", "delete b"] {
        let event = in_time(expected, stream.next()).await;
        let event = event.expect("it goes on").expect("nothing fails");
        assert_eq!(line(&event), expected);
    }
    // Whoever has seen too little is told so, begins anew, and misses nothing.
    create(&api, "e").await;
    world.server.compact();
    in_time("after the past was forgotten", async {
        let expected = ["apply e", "begin with e"];
        loop {
            let event = stream.next().await.expect("it goes on");
            if event.is_ok_and(|event| expected.contains(&line(&event).as_str())) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_watcher_that_lists_first_sees_everything() {
    sees_everything(watcher::Config::default().page_size(2)).await;
}

#[tokio::test]
async fn a_watcher_that_streams_its_list_sees_everything() {
    sees_everything(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test]
async fn a_store_follows_its_watcher() {
    let world = World::start();
    let api = config_maps(&world);
    create(&api, "a").await;
    let (store, writer) = reflector::store();
    let events = watcher(api.clone(), watcher::Config::default().streaming_lists());
    let mut events = Box::pin(reflector::reflector(writer, events).touched_objects());
    in_time("the first object", events.next()).await;
    create(&api, "b").await;
    in_time("both objects", async {
        while store.len() < 2 {
            events.next().await;
        }
    })
    .await;
    let gone = api.delete("a", &DeleteParams::default()).await;
    gone.expect("it is deleted");
    in_time("one object", async {
        while store.len() > 1 {
            events.next().await;
        }
    })
    .await;
    assert_eq!(store.state()[0].name_any(), "b");
}
