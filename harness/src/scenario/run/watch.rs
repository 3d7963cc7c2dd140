//! Watching objects until they are judged to be right.
//!
//! Each event is judged, and a watch or a discovery that fails is begun again until the limit is reached.
//! What is told then is the newest that was seen, with revision and age.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::TryStreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::DynamicObject,
    core::TypeMeta,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::Value;

use super::Engine;
use crate::{
    Failure, evidence,
    objects::{self, ObjectError},
};

/// How long after a kind was not found it is looked for again: its CRD may be on its way.
const DISCOVER_AGAIN: Duration = Duration::from_millis(100);

/// Which objects to watch.
pub(super) struct Sight {
    pub(super) types: TypeMeta,
    pub(super) namespace: String,
    pub(super) name: Option<String>,
    pub(super) labels: Option<String>,
}

/// What was seen when the limit was reached.
pub(super) struct Seen {
    pub(super) objects: BTreeMap<String, DynamicObject>,
    at: Instant,
    pub(super) trouble: Option<String>,
}

impl Engine<'_, '_> {
    /// Watches until `judge` says yes; gives what was seen if it never does.
    pub(super) async fn watch(
        &self,
        sight: &Sight,
        deadline: Instant,
        mut judge: impl FnMut(&BTreeMap<String, DynamicObject>) -> Result<bool, Failure>,
    ) -> Result<Option<Seen>, Failure> {
        let mut seen = Seen {
            objects: BTreeMap::new(),
            at: Instant::now(),
            trouble: None,
        };
        let watching = self.watch_for_ever(sight, &mut seen, &mut judge);
        let limit = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(limit, Box::pin(watching)).await {
            Ok(outcome) => outcome.map(|()| None),
            Err(_) => Ok(Some(seen)),
        }
    }

    async fn watch_for_ever(
        &self,
        sight: &Sight,
        seen: &mut Seen,
        judge: &mut impl FnMut(&BTreeMap<String, DynamicObject>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let api = loop {
            match self.api(sight).await {
                Ok(api) => break api,
                Err(error) => {
                    // A kind that is not there has no objects, which may be just what is wanted.
                    if matches!(error, ObjectError::NoMatch { .. }) && judge(&seen.objects)? {
                        return Ok(());
                    }
                    seen.trouble = Some(crate::proof::chain(&error));
                    tokio::time::sleep(DISCOVER_AGAIN).await;
                }
            }
        };
        let mut config = watcher::Config::default();
        if let Some(name) = &sight.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        if let Some(labels) = &sight.labels {
            config = config.labels(labels);
        }
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = false;
        let mut fresh = BTreeMap::new();
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Init)) => {
                    listed = false;
                    fresh.clear();
                    continue;
                }
                Ok(Some(watcher::Event::InitApply(object))) => {
                    fresh.insert(sight.key(&object), sight.typed(object));
                    continue;
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    seen.objects = std::mem::take(&mut fresh);
                    listed = true;
                }
                Ok(Some(watcher::Event::Apply(object))) => {
                    seen.objects.insert(sight.key(&object), sight.typed(object));
                }
                Ok(Some(watcher::Event::Delete(object))) => {
                    seen.objects.remove(&sight.key(&object));
                }
                Ok(None) => return Err("the watch ended".into()),
                // The watcher begins again by itself, with back-off.
                Err(error) => {
                    seen.trouble = Some(crate::proof::chain(&error));
                    continue;
                }
            }
            seen.at = Instant::now();
            if listed && judge(&seen.objects)? {
                return Ok(());
            }
        }
    }

    async fn api(&self, sight: &Sight) -> Result<Api<DynamicObject>, ObjectError> {
        let mut pattern = DynamicObject {
            types: Some(sight.types.clone()),
            metadata: kube::core::ObjectMeta::default(),
            data: Value::Null,
        };
        pattern.metadata.namespace = Some(sight.namespace.clone());
        let found = objects::api_for(&self.cluster.client(), &pattern, &self.namespace).await;
        found.map(|(api, _)| api)
    }
}

impl Sight {
    fn key(&self, object: &DynamicObject) -> String {
        format!("{} {}", self.types.kind, object.name_any())
    }

    /// A list does not repeat the kind in each of its items.
    fn typed(&self, mut object: DynamicObject) -> DynamicObject {
        object.types = Some(self.types.clone());
        object
    }
}

impl std::fmt::Display for Sight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.types.kind)?;
        match (&self.name, &self.labels) {
            (Some(name), _) => write!(f, " {name}"),
            (None, Some(labels)) => write!(f, " with {labels}"),
            (None, None) => Ok(()),
        }
    }
}

impl Seen {
    /// The object as it was last seen: revision, age, text.
    pub(super) fn tell(&self, key: &str) -> String {
        let Some(object) = self.objects.get(key) else {
            return "\nnothing was seen".to_owned();
        };
        let mut value = serde_json::to_value(object).unwrap_or_default();
        evidence::redact(&mut value);
        format!(
            "\nlast seen: {key} at revision {}, {:.1} s before the end:\n{}",
            object.resource_version().unwrap_or_default(),
            self.at.elapsed().as_secs_f64(),
            serde_yaml::to_string(&value).unwrap_or_default()
        )
    }
}
