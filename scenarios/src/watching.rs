//! Waiting for a set of objects to be as expected: the counterpart, for lists, of the harness's waits for
//! one object. Nothing here sleeps and asks again.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use harness::{Failure, wait};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;

/// Watches the objects that `config` selects until `test` gives a value.
pub async fn until<K, T>(
    api: Api<K>,
    config: watcher::Config,
    what: &str,
    test: impl FnMut(&BTreeMap<String, K>) -> Option<T>,
) -> Result<T, Failure>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    until_within(api, config, what, wait::LIMIT, test).await
}

/// As [`until`], with a limit of its own.
pub async fn until_within<K, T>(
    api: Api<K>,
    config: watcher::Config,
    what: &str,
    limit: Duration,
    mut test: impl FnMut(&BTreeMap<String, K>) -> Option<T>,
) -> Result<T, Failure>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut objects = BTreeMap::new();
    let watched = async {
        let mut events = watcher::watcher(api, config).boxed();
        let mut complete = false;
        while let Some(event) = events.try_next().await? {
            match event {
                Event::Init => {
                    objects.clear();
                    complete = false;
                }
                Event::InitApply(object) | Event::Apply(object) => {
                    objects.insert(key(&object), object);
                }
                Event::Delete(object) => {
                    objects.remove(&key(&object));
                }
                Event::InitDone => complete = true,
            }
            if complete && let Some(value) = test(&objects) {
                return Ok::<_, Failure>(value);
            }
        }
        Err("the watch ended".into())
    };
    match tokio::time::timeout(limit, watched).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(format!("waited {limit:?} for {what}, in vain; last seen: {objects:#?}").into())
        }
    }
}

fn key<K: Resource>(object: &K) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}
