//! Watch until a condition holds; say what was last seen when it does not.
//!
//! Nothing here sleeps and asks again: the wait ends with the watch event that fulfils it. A limit is
//! generous, for when it runs out something is wrong, not slow.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::conditions::{Condition, Verdict};

/// How long a wait lasts unless told otherwise.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A wait that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The limit ran out.
    #[error(
        "waited {limit:?} for {object} {condition}, in vain: {missing}\nlast seen {age:?} ago:\n{seen}"
    )]
    TimedOut {
        /// Kind and name.
        object: String,
        /// The condition.
        condition: String,
        /// What the condition still missed.
        missing: String,
        /// The limit.
        limit: Duration,
        /// How long ago the object was last seen to change.
        age: Duration,
        /// The object as YAML.
        seen: String,
    },
    /// The condition cannot hold any more.
    #[error("{object} was {condition}, but never will be: {why}\nlast seen:\n{seen}")]
    Never {
        /// Kind and name.
        object: String,
        /// The condition.
        condition: String,
        /// Why not.
        why: String,
        /// The object as YAML.
        seen: String,
    },
    /// The watch ended.
    #[error("could not watch {object}")]
    Watch {
        /// Kind and name.
        object: String,
        /// What the API said.
        #[source]
        source: watcher::Error,
    },
}

/// Watches the object `name` until `condition` holds; gives the object as it then was.
pub async fn until<K>(
    api: &Api<K>,
    name: &str,
    condition: Condition<K>,
    limit: Duration,
) -> Result<Option<K>, WaitError>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let object = format!("{} {name}", K::kind(&K::DynamicType::default()));
    until_named(api, object, name, condition, limit).await
}

/// As [`until`], for objects whose kind is known only at run time.
pub async fn until_dynamic(
    api: &Api<DynamicObject>,
    resource: &ApiResource,
    name: &str,
    condition: Condition<DynamicObject>,
    limit: Duration,
) -> Result<Option<DynamicObject>, WaitError> {
    let object = format!("{} {name}", resource.kind);
    until_named(api, object, name, condition, limit).await
}

async fn until_named<K>(
    api: &Api<K>,
    object: String,
    name: &str,
    condition: Condition<K>,
    limit: Duration,
) -> Result<Option<K>, WaitError>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut seen = Seen {
        object: None,
        missing: "nothing was seen".to_owned(),
        at: Instant::now(),
    };
    let outcome = tokio::time::timeout(limit, watch(api, name, &condition, &mut seen)).await;
    match outcome {
        Ok(Ok(Verdict::Met)) => Ok(seen.object),
        Ok(Ok(Verdict::Never(why))) => Err(WaitError::Never {
            object,
            condition: condition.to_string(),
            why,
            seen: seen.yaml(),
        }),
        Ok(Err(source)) => Err(WaitError::Watch { object, source }),
        Ok(Ok(Verdict::NotYet(missing))) => {
            Err(seen.timed_out(object, &condition, limit, Some(missing)))
        }
        Err(_) => Err(seen.timed_out(object, &condition, limit, None)),
    }
}

/// Watches all objects of a kind until `condition` holds for one of them, whichever it is.
pub async fn until_any<K>(
    api: &Api<K>,
    condition: Condition<K>,
    limit: Duration,
) -> Result<K, WaitError>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let mut seen = Seen {
        object: None,
        missing: "there is none".to_owned(),
        at: Instant::now(),
    };
    let search = async {
        let config = watcher::Config::default();
        let mut events = std::pin::pin!(watcher(api.clone(), config).default_backoff());
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::InitApply(object) | watcher::Event::Apply(object))) => {
                    seen.at = Instant::now();
                    match condition.judge(Some(&object)) {
                        Verdict::Met => return object,
                        Verdict::NotYet(missing) | Verdict::Never(missing) => {
                            seen.missing = missing;
                        }
                    }
                    seen.object = Some(object);
                }
                Ok(_) => {}
                // The watcher starts again by itself, with back-off.
                Err(error) => seen.missing = format!("the watch failed: {error}"),
            }
        }
    };
    if let Ok(object) = tokio::time::timeout(limit, search).await {
        return Ok(object);
    }
    let object = format!("any {}", K::kind(&K::DynamicType::default()));
    Err(seen.timed_out(object, &condition, limit, None))
}

struct Seen<K> {
    object: Option<K>,
    missing: String,
    at: Instant,
}

impl<K: Serialize + Resource + Clone + 'static> Seen<K> {
    fn yaml(&self) -> String {
        let Some(object) = &self.object else {
            return "(nothing)".to_owned();
        };
        let mut object = object.clone();
        object.meta_mut().managed_fields = None;
        serde_yaml::to_string(&object).unwrap_or_else(|error| format!("(not printable: {error})"))
    }

    fn timed_out(
        &self,
        object: String,
        condition: &Condition<K>,
        limit: Duration,
        missing: Option<String>,
    ) -> WaitError {
        WaitError::TimedOut {
            object,
            condition: condition.to_string(),
            missing: missing.unwrap_or_else(|| self.missing.clone()),
            limit,
            age: self.at.elapsed(),
            seen: self.yaml(),
        }
    }
}

async fn watch<K>(
    api: &Api<K>,
    name: &str,
    condition: &Condition<K>,
    seen: &mut Seen<K>,
) -> Result<Verdict, watcher::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api.clone(), config).default_backoff());
    let mut listed = false;
    loop {
        // A watch that fails is started again by the watcher, with back-off; only the limit ends it.
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(Verdict::NotYet("the watch ended".to_owned())),
            Err(error) => {
                seen.missing = format!("the watch failed: {error}");
                continue;
            }
        };
        match event {
            watcher::Event::Init => {
                listed = false;
                seen.object = None;
                continue;
            }
            watcher::Event::InitApply(object) => {
                if object.name_any() == name {
                    seen.object = Some(object);
                }
                continue;
            }
            watcher::Event::InitDone => listed = true,
            watcher::Event::Apply(object) => seen.object = Some(object),
            watcher::Event::Delete(_) => seen.object = None,
        }
        seen.at = Instant::now();
        if !listed {
            continue;
        }
        match condition.judge(seen.object.as_ref()) {
            Verdict::NotYet(missing) => seen.missing = missing,
            decided => return Ok(decided),
        }
    }
}
