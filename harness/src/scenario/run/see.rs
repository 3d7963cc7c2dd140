//! assert, error, wait: until something is so, or nothing is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kube::{api::DynamicObject, core::TypeMeta};
use serde_json::Value;

use super::{Engine, look::shown, values::nothing, watch::Sight};
use crate::{
    Failure,
    scenario::{
        assertion::{Difference, differences},
        model::{Assert, Wait, WaitFor},
    },
};

/// How long after an answer of the cluster that does not fit it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What `wait` wants of each object.
enum Wanted {
    /// That it is there.
    Presence,
    Condition {
        name: String,
        status: String,
    },
    Path {
        path: String,
        value: Option<String>,
    },
}

impl Wanted {
    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Presence => true,
            Self::Condition { name, status } => {
                let is_so = |one: &Value| {
                    let is = one["status"].as_str().unwrap_or_default();
                    one["type"] == name.as_str() && is.eq_ignore_ascii_case(status)
                };
                let all = object["status"]["conditions"].as_array();
                all.is_some_and(|all| all.iter().any(is_so))
            }
            Self::Path { path, value } => {
                let found = at_path(object, path);
                found.is_some() && (value.is_none() || found == *value)
            }
        }
    }
}

impl Engine<'_, '_> {
    pub(super) async fn assert(&mut self, assert: &Assert) -> Result<(), Failure> {
        let limit = self.limit(assert.timeout.as_ref(), |t| &t.assert, 30)?;
        let deadline = Instant::now() + limit;
        for fragment in self.documents(assert.file.as_ref(), assert.resource.as_ref())? {
            let Some(sight) = self.sight(&fragment)? else {
                self.until_bindings(&fragment, true, limit, deadline)
                    .await?;
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
                self.until_bindings(&fragment, false, limit, deadline)
                    .await?;
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
        let text = |text: &Option<String>| self.optional_text(text.as_ref());
        let sight = Sight {
            types: TypeMeta {
                api_version: wait.api_version.clone(),
                kind: wait.kind.clone(),
            },
            namespace: text(&wait.namespace)?.unwrap_or_else(|| self.namespace.clone()),
            name: text(&wait.name)?,
            labels: text(&wait.selector)?,
        };
        let wanted = self.wanted(&wait.r#for)?;
        let mut objects_now = Vec::new();
        let judge = |objects: &BTreeMap<String, DynamicObject>| {
            objects_now = objects.values().cloned().collect();
            if wait.r#for.deletion.is_some() {
                return Ok(objects.is_empty());
            }
            let holds = |object: &DynamicObject| {
                wanted.holds(&serde_json::to_value(object).unwrap_or_default())
            };
            Ok(!objects.is_empty() && objects.values().all(holds))
        };
        match self.watch(&sight, deadline, judge).await? {
            None => {
                if let Some(format) = &wait.format {
                    self.output = Some(shown(&objects_now, Some(format))?);
                }
                Ok(())
            }
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

    /// Waits until a fragment about bindings is so, or is not. What does not ask the cluster stays as it
    /// is, so that is decided at once.
    async fn until_bindings(
        &self,
        fragment: &Value,
        wanted: bool,
        limit: Duration,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let can_change = differences(fragment, &nothing(), &self.bindings)
            .is_err_and(|error| error.asks.is_some());
        loop {
            let found = self.compared(fragment, &nothing(), &self.bindings).await?;
            if found.is_empty() == wanted {
                return Ok(());
            }
            if can_change && Instant::now() + ASK_AGAIN < deadline {
                tokio::time::sleep(ASK_AGAIN).await;
                continue;
            }
            if !wanted {
                return Err("it is so, but should not be".into());
            }
            let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
            if can_change {
                found.insert(0, format!("not so within {limit:?}"));
            }
            return Err(found.join("\n  ").into());
        }
    }

    fn wanted(&self, what: &WaitFor) -> Result<Wanted, Failure> {
        if let Some(condition) = &what.condition {
            let status = self.optional_text(condition.value.as_ref())?;
            return Ok(Wanted::Condition {
                name: self.text(&condition.name)?,
                status: status.unwrap_or_else(|| "true".to_owned()),
            });
        }
        Ok(match &what.json_path {
            Some(path) => Wanted::Path {
                path: self.text(&path.path)?,
                value: self.optional_text(path.value.as_ref())?,
            },
            None => Wanted::Presence,
        })
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
