//! The cache keeps what it is told, and says what changed.

use k8s_openapi::api::core::v1::ConfigMap;

use super::*;

fn config_map(name: &str, uid: &str, revision: u64) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.namespace = Some("n".into());
    object.metadata.name = Some(name.into());
    object.metadata.uid = Some(uid.into());
    object.metadata.resource_version = Some(revision.to_string());
    object
}

fn log(cache: &Cache<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = log.clone();
    cache.on_change(move |change| {
        let metadata = &change.object().metadata;
        let word = match change {
            Change::Added(_) => "added",
            Change::Updated { .. } => "updated",
            Change::Removed(_) => "removed",
        };
        let (uid, revision) = (&metadata.uid, &metadata.resource_version);
        sink.lock().unwrap().push(format!(
            "{word} {} {}",
            uid.as_deref().unwrap(),
            revision.as_deref().unwrap()
        ));
    });
    log
}

#[test]
fn an_own_write_is_known_before_the_watch_tells_it() {
    let cache = Cache::default();
    cache.replace(vec![], Some("5"));
    cache.written(config_map("a", "u", 6));
    assert!(cache.get("n", "a").is_some());
}

#[test]
fn an_own_write_that_the_watch_told_and_ended_is_not_resurrected() {
    let cache = Cache::default();
    cache.replace(vec![], Some("5"));
    cache.told(config_map("a", "u", 6));
    cache.told_gone(&config_map("a", "u", 7));
    cache.written(config_map("a", "u", 6));
    assert!(cache.get("n", "a").is_none());
}

#[test]
fn a_late_old_version_does_not_replace_a_newer_own_write() {
    let cache = Cache::default();
    cache.replace(vec![config_map("a", "u", 4)], Some("5"));
    cache.written(config_map("a", "u", 9));
    cache.told(config_map("a", "u", 7));
    assert_eq!(
        cache
            .get("n", "a")
            .unwrap()
            .metadata
            .resource_version
            .as_deref(),
        Some("9")
    );
}

#[test]
fn a_deleted_object_stays_marked_through_versions_older_than_its_deletion() {
    let cache = Cache::default();
    cache.replace(vec![config_map("a", "u", 4)], Some("5"));
    let at = Time(jiff::Timestamp::UNIX_EPOCH);
    cache.deleted(&ObjectKey::new("n", "a"), "u", &at);
    cache.told(config_map("a", "u", 6));
    assert_eq!(
        cache.get("n", "a").unwrap().metadata.deletion_timestamp,
        Some(at)
    );
    cache.told_gone(&config_map("a", "u", 8));
    cache.told(config_map("a", "v", 9));
    assert!(
        cache
            .get("n", "a")
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
    );
}

#[test]
fn a_list_removes_what_is_not_in_it_but_not_what_was_written_after_it() {
    let cache = Cache::default();
    cache.replace(
        vec![config_map("a", "u", 4), config_map("b", "v", 5)],
        Some("5"),
    );
    let log = log(&cache);
    cache.written(config_map("c", "w", 12));
    cache.replace(vec![config_map("b", "v", 5)], Some("10"));
    let names: Vec<_> = cache
        .all()
        .iter()
        .filter_map(|o| o.metadata.name.clone())
        .collect();
    assert_eq!(names, ["b", "c"]);
    assert!(log.lock().unwrap().contains(&"removed u 4".to_owned()));
}

#[test]
fn another_object_under_an_old_name_is_a_removal_and_an_addition() {
    let cache = Cache::default();
    cache.replace(vec![config_map("a", "u", 4)], Some("5"));
    let log = log(&cache);
    cache.told(config_map("a", "v", 8));
    assert_eq!(
        *log.lock().unwrap(),
        ["added u 4", "removed u 4", "added v 8"]
    );
}

#[tokio::test]
async fn a_cache_is_synced_after_its_first_list() {
    let cache = Cache::<ConfigMap>::default();
    cache.replace_with_nothing();
    cache.synced().await;
}
