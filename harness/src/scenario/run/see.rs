//! assert, error, wait: watching until something is so, or nothing is.
//!
//! One watch answers them all: each event is judged, and a watch or a discovery that fails is begun again
//! until the limit is reached. What is told then is the newest that was seen, with revision and age.

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
    scenario::{
        assertion::{Difference, differences},
        model::{Assert, Wait},
    },
};

/// How long after a kind was not found it is looked for again: its CRD may be on its way.
const DISCOVER_AGAIN: Duration = Duration::from_millis(100);

/// Which objects to watch.
pub(super) struct Sight {
    types: TypeMeta,
    namespace: String,
    name: Option<String>,
    labels: Option<String>,
}

/// What was seen when the limit was reached.
struct Seen {
    objects: BTreeMap<String, DynamicObject>,
    at: Instant,
    trouble: Option<String>,
}

impl Engine<'_, '_> {
    pub(super) async fn assert(&mut self, assert: &Assert) -> Result<(), Failure> {
        let limit = self.limit(assert.timeout.as_ref(), |t| &t.assert, 30)?;
        let deadline = Instant::now() + limit;
        for fragment in self.documents(assert.file.as_ref(), assert.resource.as_ref())? {
            let Some(sight) = self.sight(&fragment)? else {
                self.compare_bindings(&fragment)?;
                continue;
            };
            self.until_some(&sight, &fragment, limit, deadline).await?;
        }
        Ok(())
    }

    /// Waits until one object is as the fragment says.
    async fn until_some(
        &self,
        sight: &Sight,
        fragment: &Value,
        limit: Duration,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut nearest: Option<(String, Vec<Difference>)> = None;
        let seen = self
            .watch(sight, deadline, |objects| {
                let found = self.nearest(fragment, objects)?;
                let met = found.as_ref().is_some_and(|(_, found)| found.is_empty());
                nearest = found;
                Ok(met)
            })
            .await?;
        let Some(seen) = seen else {
            return Ok(());
        };
        let mut text = format!("not so within {limit:?}");
        match &nearest {
            Some((key, found)) => {
                for difference in found {
                    text.extend(["\n  ", &difference.to_string()]);
                }
                text.push_str(&seen.tell(key));
            }
            None => text.extend(["\n  there is no ", &sight.to_string()]),
        }
        if let Some(trouble) = &seen.trouble {
            text.extend(["\nthe last trouble with the API: ", trouble]);
        }
        Err(text.into())
    }

    /// Waits until no object is as the fragment says.
    pub(super) async fn error(&mut self, assert: &Assert) -> Result<(), Failure> {
        let limit = self.limit(assert.timeout.as_ref(), |t| &t.error, 30)?;
        let deadline = Instant::now() + limit;
        for fragment in self.documents(assert.file.as_ref(), assert.resource.as_ref())? {
            let Some(sight) = self.sight(&fragment)? else {
                if self.compare_bindings(&fragment).is_ok() {
                    return Err("it is so, but should not be".into());
                }
                continue;
            };
            let mut match_now = None;
            let seen = self
                .watch(&sight, deadline, |objects| {
                    match_now = self
                        .nearest(&fragment, objects)?
                        .filter(|(_, found)| found.is_empty())
                        .map(|(key, _)| key);
                    Ok(match_now.is_none())
                })
                .await?;
            if let (Some(seen), Some(key)) = (seen, match_now) {
                let told = seen.tell(&key);
                return Err(format!("{key} was still so after {limit:?}{told}").into());
            }
        }
        Ok(())
    }

    /// Watches for as long as `limit` that an object stays as the fragment says.
    pub(super) async fn stays(&self, assert: &Assert, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        for fragment in self.documents(assert.file.as_ref(), assert.resource.as_ref())? {
            let sight = self
                .sight(&fragment)?
                .ok_or("`hold` is about an object: give apiVersion and kind")?;
            let mut broken: Option<(String, Vec<Difference>)> = None;
            let outcome = self
                .watch(&sight, deadline, |objects| {
                    let found = self.nearest(&fragment, objects)?;
                    match found {
                        Some((_, found)) if found.is_empty() => Ok(false),
                        other => {
                            broken = Some(other.unwrap_or_default());
                            Ok(true)
                        }
                    }
                })
                .await?;
            if outcome.is_none() {
                let (key, found) = broken.unwrap_or_default();
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                let what = if key.is_empty() {
                    sight.to_string()
                } else {
                    key
                };
                return Err(format!("{what} did not stay so: {}", found.join("; ")).into());
            }
        }
        Ok(())
    }

    pub(super) async fn wait(&mut self, wait: &Wait) -> Result<(), Failure> {
        let limit = self.limit(wait.timeout.as_ref(), |t| &t.assert, 30)?;
        let deadline = Instant::now() + limit;
        let text = |text: &Option<String>| text.as_deref().map(|text| self.text(text)).transpose();
        let sight = Sight {
            types: TypeMeta {
                api_version: wait.api_version.clone(),
                kind: wait.kind.clone(),
            },
            namespace: text(&wait.namespace)?.unwrap_or_else(|| self.namespace.clone()),
            name: text(&wait.name)?,
            labels: text(&wait.selector)?,
        };
        let what = &wait.r#for;
        let judge = |objects: &BTreeMap<String, DynamicObject>| {
            if what.deletion.is_some() {
                return Ok(objects.is_empty());
            }
            let holds = |object: &DynamicObject| {
                let value = serde_json::to_value(object).unwrap_or_default();
                if let Some(condition) = &what.condition {
                    let status = condition.value.as_deref().unwrap_or("true");
                    return value["status"]["conditions"].as_array().is_some_and(|all| {
                        all.iter().any(|one| {
                            one["type"] == condition.name.as_str()
                                && one["status"]
                                    .as_str()
                                    .is_some_and(|is| is.eq_ignore_ascii_case(status))
                        })
                    });
                }
                what.json_path
                    .as_ref()
                    .is_some_and(|path| at_path(&value, &path.path) == Some(path.value.clone()))
            };
            Ok(!objects.is_empty() && objects.values().all(holds))
        };
        match self.watch(&sight, deadline, judge).await? {
            None => Ok(()),
            Some(seen) => {
                let key = seen.objects.keys().next().cloned().unwrap_or_default();
                Err(format!("{sight}: not so within {limit:?}{}", seen.tell(&key)).into())
            }
        }
    }

    /// The object with the fewest differences.
    fn nearest(
        &self,
        fragment: &Value,
        objects: &BTreeMap<String, DynamicObject>,
    ) -> Result<Option<(String, Vec<Difference>)>, Failure> {
        let mut nearest: Option<(String, Vec<Difference>)> = None;
        for (key, object) in objects {
            let value = serde_json::to_value(object)?;
            let found = differences(fragment, &value, &self.bindings)?;
            if nearest
                .as_ref()
                .is_none_or(|(_, least)| found.len() < least.len())
            {
                nearest = Some((key.clone(), found));
            }
        }
        Ok(nearest)
    }

    fn compare_bindings(&self, fragment: &Value) -> Result<(), Failure> {
        let found = differences(fragment, &super::nothing(), &self.bindings)?;
        if found.is_empty() {
            return Ok(());
        }
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        Err(found.join("\n  ").into())
    }

    /// The objects that a fragment is about; `None` if it is about bindings only.
    pub(super) fn sight(&self, fragment: &Value) -> Result<Option<Sight>, Failure> {
        let (Some(api_version), Some(kind)) =
            (fragment["apiVersion"].as_str(), fragment["kind"].as_str())
        else {
            return Ok(None);
        };
        let metadata = &fragment["metadata"];
        let text = |value: &Value| match value.as_str() {
            Some(text) => self.text(text).map(Some),
            None => Ok(None),
        };
        let name = text(&metadata["name"])?;
        let labels = match (&name, metadata["labels"].as_object()) {
            (None, Some(labels)) => {
                let mut selector = Vec::new();
                for (key, value) in labels {
                    if let Some(value) = text(value)? {
                        selector.push(format!("{key}={value}"));
                    }
                }
                Some(selector.join(","))
            }
            _ => None,
        };
        Ok(Some(Sight {
            types: TypeMeta {
                api_version: self.text(api_version)?,
                kind: self.text(kind)?,
            },
            namespace: text(&metadata["namespace"])?.unwrap_or_else(|| self.namespace.clone()),
            name,
            labels,
        }))
    }

    /// Watches until `judge` says yes; gives what was seen if it never does.
    async fn watch(
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
    fn tell(&self, key: &str) -> String {
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

/// The text at `{.status.phase}`.
fn at_path(value: &Value, path: &str) -> Option<String> {
    let path = path.trim_start_matches('{').trim_end_matches('}');
    let mut at = value;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        at = at.get(name)?;
        if let Some(index) = index {
            at = at.get(index)?;
        }
    }
    Some(match at {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}
