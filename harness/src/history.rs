//! Every version of an object that the cluster remembers: what changed, when, and by whom.
//!
//! Asked for by watching from the oldest revision, as any client may; a simulated cluster remembers
//! thousands of changes of each kind, others only the last minutes or nothing. "Whom" is the field
//! manager that the API recorded for the newest fields, which is what the API itself knows.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client, Discovery, ResourceExt as _,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    discovery::{ApiResource, verbs},
};
use serde::Serialize;
use serde_json::Value;

use crate::evidence;

/// The oldest revision there can be.
const BEGINNING: &str = "1";

/// When nothing more comes for so long, everything was told.
const SILENCE: Duration = Duration::from_millis(250);

/// One version of an object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub change: &'static str,
    /// Kind.
    pub kind: String,
    /// Namespace, for kinds that have one.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// The revision that this change made.
    pub revision: String,
    /// When, as far as the object says: whole seconds.
    pub at: Option<String>,
    /// The field manager of the newest fields, and of which subresource.
    pub by: String,
    /// What changed since the version before: `path: old → new`.
    pub changes: Vec<String>,
    /// The object, redacted.
    pub object: Value,
}

/// The versions of all objects of a kind, oldest first; an error says why they are not known.
pub async fn of_kind(
    client: &Client,
    resource: &ApiResource,
    name: Option<&str>,
) -> Result<Vec<Version>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let now = api.list(&ListParams::default().limit(1)).await?;
    let newest = revision(&now.metadata.resource_version.unwrap_or_default());
    if newest <= revision(BEGINNING) {
        return Ok(Vec::new());
    }
    let mut parameters = WatchParams::default().timeout(60).disable_bookmarks();
    if let Some(name) = name {
        parameters = parameters.fields(&format!("metadata.name={name}"));
    }
    let mut events = api.watch(&parameters, BEGINNING).await?.boxed();
    let mut versions: Vec<Version> = Vec::new();
    // The last events may be of other kinds or names, so silence ends it too.
    while let Ok(event) = tokio::time::timeout(SILENCE, events.try_next()).await {
        let (change, object) = match event? {
            Some(WatchEvent::Added(object)) => ("ADDED", object),
            Some(WatchEvent::Modified(object)) => ("MODIFIED", object),
            Some(WatchEvent::Deleted(object)) => ("DELETED", object),
            Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
            Some(WatchEvent::Bookmark(_)) => continue,
            None => break,
        };
        let reached = revision(&object.resource_version().unwrap_or_default());
        let before = versions
            .iter()
            .rev()
            .find(|version| version.is_of(&object))
            .map(|version| version.object.clone());
        versions.push(version(change, &resource.kind, &object, before.as_ref()));
        if reached >= newest {
            break;
        }
    }
    Ok(versions)
}

/// The versions of everything but Events and Leases, in the order of their revisions.
pub async fn of_all(client: &Client) -> Result<Vec<Version>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let kinds: Vec<ApiResource> = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
        .filter(|(resource, capabilities)| {
            capabilities.supports_operation(verbs::WATCH)
                && !["Event", "Lease"].contains(&resource.kind.as_str())
        })
        .map(|(resource, _)| resource)
        .collect();
    let all = futures::future::join_all(kinds.iter().map(|kind| of_kind(client, kind, None)));
    // A kind that cannot be watched from the beginning has no history; the others still have.
    let mut versions: Vec<Version> = all.await.into_iter().flatten().flatten().collect();
    versions.sort_by_key(|version| revision(&version.revision));
    Ok(versions)
}

impl Version {
    fn is_of(&self, object: &DynamicObject) -> bool {
        self.name == object.name_any() && self.namespace == object.namespace()
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.at.as_deref().unwrap_or("?");
        write!(
            f,
            "{:>6}  {at}  {:<8}  {} {}  by {}",
            self.revision, self.change, self.kind, self.name, self.by
        )?;
        for change in &self.changes {
            write!(f, "\n          {change}")?;
        }
        Ok(())
    }
}

fn revision(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn version(
    change: &'static str,
    kind: &str,
    object: &DynamicObject,
    before: Option<&Value>,
) -> Version {
    let (by, at) = newest_writer(object);
    let mut value = serde_json::to_value(object).unwrap_or_default();
    evidence::redact(&mut value);
    let mut changes = Vec::new();
    if let Some(before) = before {
        compare("", before, &value, &mut changes);
    }
    Version {
        change,
        kind: kind.to_owned(),
        namespace: object.namespace(),
        name: object.name_any(),
        revision: object.resource_version().unwrap_or_default(),
        at,
        by,
        changes,
        object: value,
    }
}

/// Who owns the fields that were written last, and when.
fn newest_writer(object: &DynamicObject) -> (String, Option<String>) {
    let entries = object.metadata.managed_fields.iter().flatten();
    let newest = entries.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    let created = object.metadata.creation_timestamp.as_ref();
    let Some(newest) = newest else {
        return ("unknown".to_owned(), created.map(|time| time.0.to_string()));
    };
    let manager = newest.manager.as_deref().unwrap_or("unknown");
    let by = match &newest.subresource {
        Some(subresource) => format!("{manager} ({subresource})"),
        None => manager.to_owned(),
    };
    let at = newest.time.as_ref().or(created);
    (by, at.map(|time| time.0.to_string()))
}

/// The leaves that differ; what changes with every write is left out.
fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<String>) {
    const ALWAYS: [&str; 2] = ["metadata.resourceVersion", "metadata.managedFields"];
    if before == after || ALWAYS.contains(&path) {
        return;
    }
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (old, new) = (old.get(key), new.get(key));
                let null = Value::Null;
                compare(
                    &below(key),
                    old.unwrap_or(&null),
                    new.unwrap_or(&null),
                    changes,
                );
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&format!("{path}[{index}]"), old, new, changes);
            }
        }
        (old, new) => changes.push(format!("{path}: {} → {}", short(old), short(new))),
    }
}

fn short(value: &Value) -> String {
    if value.is_null() {
        return "(none)".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_told_with_its_path() {
        let before = json!({"metadata": {"resourceVersion": "1"}, "spec": {"a": 1, "b": [1, 2]}});
        let after =
            json!({"metadata": {"resourceVersion": "2"}, "spec": {"a": 2, "b": [1, 3]}, "x": true});
        let mut changes = Vec::new();
        compare("", &before, &after, &mut changes);
        assert_eq!(
            changes,
            ["spec.a: 1 → 2", "spec.b[1]: 2 → 3", "x: (none) → true"]
        );
    }
}
