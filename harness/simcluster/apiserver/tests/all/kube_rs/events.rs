//! `Recorder`: Events, and those that repeat.

use k8s_openapi::api::{core::v1 as core, events::v1 as events};
use kube::{
    Api, Resource as _,
    api::ListParams,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::{config_maps, create};
use crate::support::World;

#[tokio::test]
async fn a_recorder_publishes_and_counts_repetitions() {
    let world = World::start();
    let object = create(&config_maps(&world), "a").await;
    let reporter = Reporter {
        controller: "tester".to_owned(),
        instance: Some("tester-1".to_owned()),
    };
    let recorder = Recorder::new(world.client.clone(), reporter);
    let event = Event {
        type_: EventType::Warning,
        reason: "Tired".to_owned(),
        note: Some("of waiting".to_owned()),
        action: "Wait".to_owned(),
        secondary: None,
    };
    for _ in 0..3 {
        let published = recorder.publish(&event, &object.object_ref(&())).await;
        published.expect("it is published");
    }
    let new: Api<events::Event> = Api::namespaced(world.client.clone(), "default");
    let new = new
        .list(&ListParams::default())
        .await
        .expect("they are listed");
    assert_eq!(new.items.len(), 1, "{:?}", new.items);
    let series = new.items[0].series.as_ref().expect("it repeats");
    assert_eq!(series.count, 3);
    // The same object through the older API, found as `kubectl describe` does.
    let old: Api<core::Event> = Api::namespaced(world.client.clone(), "default");
    let about = ListParams::default().fields("involvedObject.name=a,involvedObject.kind=ConfigMap");
    let old = old.list(&about).await.expect("they are listed");
    assert_eq!(old.items.len(), 1);
    assert_eq!(old.items[0].message.as_deref(), Some("of waiting"));
    assert_eq!(old.items[0].reporting_component.as_deref(), Some("tester"));
}
