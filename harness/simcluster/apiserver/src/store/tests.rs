//! The store orders writes, refuses stale ones, and remembers the recent past.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{Change, Collection, Key, Object, Objects, Store, StoreError};

fn map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": data}})
}

#[test]
fn one_revision_orders_all_collections() {
    let mut store = Store::new(10);
    let a = store
        .create(&"/configmaps".into(), &"ns/a".into(), map("a", "1"))
        .unwrap();
    let b = store
        .create(&"/secrets".into(), &"ns/b".into(), map("b", "1"))
        .unwrap();
    assert!(a.revision() < b.revision());
    assert_eq!(store.revision(), b.revision());
    assert_eq!(
        b.value()["metadata"]["resourceVersion"],
        b.revision().to_string()
    );
}

#[test]
fn versions_beyond_the_history_are_let_go() {
    const REMEMBERED: usize = 16;
    let mut store = Store::new(REMEMBERED);
    let (configmaps, key) = ("/configmaps".into(), "ns/a".into());
    let mut last = store.create(&configmaps, &key, map("a", "0")).unwrap();
    let mut versions = vec![Arc::downgrade(&last)];
    for change in 1..20 * REMEMBERED {
        let data = change.to_string();
        last = store
            .update(&configmaps, &key, last.revision(), map("a", &data))
            .unwrap();
        versions.push(Arc::downgrade(&last));
    }
    let alive = versions.iter().filter(|one| one.strong_count() > 0).count();
    assert!(
        (1..=4 * REMEMBERED).contains(&alive),
        "{alive} of {} versions are kept",
        versions.len()
    );
}

#[test]
fn changes_long_past_are_told_as_they_were() {
    const MANY: usize = 3 * super::RECENT;
    let mut store = Store::new(MANY);
    let (configmaps, key) = ("/configmaps".into(), "ns/a".into());
    let begin = store.revision();
    let mut last = store.create(&configmaps, &key, map("a", "0")).unwrap();
    let mut versions = vec![(last.value().clone(), last.json())];
    for change in 1..MANY {
        let data = change.to_string();
        last = store
            .update(&configmaps, &key, last.revision(), map("a", &data))
            .unwrap();
        versions.push((last.value().clone(), last.json()));
    }
    let events = store.events_since(&configmaps, begin).unwrap();
    assert_eq!(events.len(), versions.len());
    let mut previous = None;
    for (event, version) in events.iter().zip(&versions) {
        let seen = |object: &Object| (object.value().clone(), object.json());
        assert_eq!(seen(&event.object), *version);
        assert_eq!(event.object.revision(), event.revision);
        assert_eq!(event.previous.as_deref().map(seen), previous);
        previous = Some(version.clone());
    }
}

#[test]
fn stale_update_is_a_conflict() {
    let mut store = Store::new(10);
    let (configmaps, key) = ("/configmaps".into(), "ns/a".into());
    let first = store.create(&configmaps, &key, map("a", "1")).unwrap();
    let second = store
        .update(&configmaps, &key, first.revision(), map("a", "2"))
        .unwrap();
    assert_eq!(
        store
            .update(&configmaps, &key, first.revision(), map("a", "3"))
            .unwrap_err(),
        StoreError::Stale {
            key: key.clone(),
            current: second.revision()
        }
    );
    assert_eq!(
        store.create(&configmaps, &key, map("a", "4")).unwrap_err(),
        StoreError::Exists(key)
    );
}

#[test]
fn the_past_is_read_until_it_is_compacted() {
    let mut store = Store::new(100);
    let configmaps = "/configmaps".into();
    let a = store
        .create(&configmaps, &"ns/a".into(), map("a", "1"))
        .unwrap();
    let then = store.revision();
    store
        .update(&configmaps, &"ns/a".into(), a.revision(), map("a", "2"))
        .unwrap();
    store
        .create(&configmaps, &"ns/b".into(), map("b", "1"))
        .unwrap();
    let a = store.get(&configmaps, "ns/a").unwrap();
    store
        .delete(&configmaps, &"ns/a".into(), a.revision(), a.value().clone())
        .unwrap();

    let past = store.snapshot_at(&configmaps, then).unwrap();
    assert_eq!(past.objects.len(), 1);
    assert_eq!(past.objects["ns/a"].value()["data"]["k"], "1");
    assert_eq!(
        store
            .snapshot(&configmaps)
            .objects
            .keys()
            .map(|k| &**k)
            .collect::<Vec<_>>(),
        ["ns/b"]
    );
    let changes: Vec<Change> = store
        .events_since(&configmaps, then)
        .unwrap()
        .iter()
        .map(|event| event.change)
        .collect();
    assert_eq!(changes, [Change::Modified, Change::Added, Change::Deleted]);

    store.compact(store.revision() - 1);
    assert!(matches!(
        store.snapshot_at(&configmaps, then),
        Err(StoreError::Compacted { .. })
    ));
    assert_eq!(
        store
            .events_since(&configmaps, store.revision() - 1)
            .unwrap()
            .len(),
        1
    );
    assert!(matches!(
        store.events_since(&configmaps, store.revision() + 1),
        Err(StoreError::Future { .. })
    ));
}

#[test]
fn the_log_is_bounded() {
    let mut store = Store::new(3);
    let configmaps = "/configmaps".into();
    let begin = store.revision();
    for n in 0..5 {
        store
            .create(&configmaps, &format!("ns/{n}").into(), map("x", "1"))
            .unwrap();
    }
    assert!(matches!(
        store.events_since(&configmaps, begin),
        Err(StoreError::Compacted { .. })
    ));
    assert_eq!(store.events_since(&configmaps, begin + 2).unwrap().len(), 3);
}

#[test]
fn a_snapshot_does_not_see_later_writes() {
    let mut store = Store::new(10);
    let configmaps = "/configmaps".into();
    store
        .create(&configmaps, &"ns/a".into(), map("a", "1"))
        .unwrap();
    let snapshot = store.snapshot(&configmaps);
    store
        .create(&configmaps, &"ns/b".into(), map("b", "1"))
        .unwrap();
    assert_eq!(snapshot.objects.len(), 1);
}

#[test]
fn json_text_is_made_once_and_can_leave_out_the_type() {
    let mut store = Store::new(10);
    let object = store
        .create(&"/configmaps".into(), &"ns/a".into(), map("a", "1"))
        .unwrap();
    let parsed: Value = serde_json::from_slice(&object.json()).unwrap();
    assert_eq!(&parsed, object.value());
    let mut bare = b"{".to_vec();
    bare.extend_from_slice(object.json_without_type());
    let bare: Value = serde_json::from_slice(&bare).unwrap();
    assert!(bare.get("kind").is_none() && bare.get("data").is_some());
    assert_eq!(object.json().as_ptr(), object.json().as_ptr());
    assert_eq!(
        Arc::strong_count(&object),
        3,
        "held by the map, the log and this test"
    );
}

/// A watch from any revision, played upon the list of that revision, gives the list of now.
#[test]
fn events_replay_any_list_of_the_past() {
    let mut random = StdRng::seed_from_u64(7);
    let mut store = Store::new(400);
    let collection: Collection = "/configmaps".into();
    for step in 0..1_000 {
        let key: Key = format!("default/{}", random.random_range(0..20)).into();
        let value = map(&key, &step.to_string());
        let written = match store.get(&collection, &key) {
            None => store.create(&collection, &key, value),
            Some(old) if random.random_bool(0.3) => {
                store.delete(&collection, &key, old.revision(), value)
            }
            Some(old) => store.update(&collection, &key, old.revision(), value),
        };
        written.unwrap();
    }
    let shown = |objects: &Objects| -> Vec<(Key, Value)> {
        let objects = objects.iter();
        objects
            .map(|(key, one)| (key.clone(), one.value().clone()))
            .collect()
    };
    let now = store.snapshot(&collection);
    let mut replayed = 0;
    for revision in 0..=store.revision() {
        let Ok(mut past) = store.snapshot_at(&collection, revision) else {
            continue;
        };
        for event in store.events_since(&collection, revision).unwrap() {
            match event.change {
                Change::Deleted => past.objects.remove(&event.key),
                _ => past.objects.insert(event.key.clone(), event.object.clone()),
            };
        }
        assert_eq!(shown(&past.objects), shown(&now.objects), "from {revision}");
        replayed += 1;
    }
    assert_eq!(replayed, 401, "as far back as the log reaches");
}
