//! Every version of an object that the cluster remembers: what changed, when, and by whom.
//!
//! Asked for by watching from the oldest revision, as any client may; a simulated cluster remembers
//! thousands of changes of each kind, others only the last minutes or nothing. "Whom" is the field
//! manager that the API recorded for the changed fields, which is what the API itself knows.
//!
//! | module | its one job |
//! |---|---|
//! | [`of_object`] | one object, named as kubectl names it, with all that explains it |
//! | [`why`] | pure: reasons beside versions |
//! | `difference` | pure: what changed, and whose fields those are |

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client, Discovery, ResourceExt as _,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    discovery::{ApiResource, verbs},
};
use serde::Serialize;
use serde_json::Value;

use crate::evidence;

mod difference;
pub mod of_object;
pub mod why;

/// The oldest revision there can be.
const BEGINNING: &str = "1";

/// When nothing more comes for so long after all that is there now was told, everything was told.
const SILENCE: Duration = Duration::from_millis(250);
/// How long to wait for what is there now but was not told yet.
const LIMIT: Duration = Duration::from_secs(30);

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
    /// When, as far as the object says: whole seconds. A deletion leaves no time; among the versions of
    /// other objects it has that of the last change before it.
    pub at: Option<String>,
    /// The field manager of the newest fields, and of which subresource.
    pub by: String,
    /// What changed since the version before: `path: old → new`.
    pub changes: Vec<String>,
    /// The object, redacted.
    pub object: Value,
    /// What was redacted, to be hidden elsewhere too.
    #[serde(skip)]
    pub(crate) secrets: evidence::Secrets,
}

/// The versions of all objects of a kind, oldest first; an error says why they are not known.
pub async fn of_kind(
    client: &Client,
    resource: &ApiResource,
    name: Option<&str>,
) -> Result<Vec<Version>, kube::Error> {
    match watched(client, resource, name, BEGINNING).await {
        // The server says from where on it remembers.
        Err(kube::Error::Api(status)) if status.code == 410 => {
            let Some(oldest) = oldest_known(&status.message) else {
                return Err(kube::Error::Api(status));
            };
            watched(client, resource, name, &oldest).await
        }
        outcome => outcome,
    }
}

/// `too old resource version: ASKED (OLDEST)`
fn oldest_known(message: &str) -> Option<String> {
    let (_, after) = message.rsplit_once('(')?;
    let number = after.split(')').next()?;
    number.parse::<u64>().ok().map(|number| number.to_string())
}

async fn watched(
    client: &Client,
    resource: &ApiResource,
    name: Option<&str>,
    from: &str,
) -> Result<Vec<Version>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let fields = name.map(|name| format!("metadata.name={name}"));
    let mut list = ListParams::default();
    let mut parameters = WatchParams::default().timeout(60).disable_bookmarks();
    if let Some(fields) = &fields {
        list = list.fields(fields);
        parameters = parameters.fields(fields);
    }
    let now = api.list(&list).await?;
    let newest = revision(&now.metadata.resource_version.clone().unwrap_or_default());
    if newest <= revision(from) {
        return Ok(Vec::new());
    }
    // The newest version of what is there must be among what is told, unless it is older than `from`.
    let present = now
        .iter()
        .filter_map(kube::ResourceExt::resource_version)
        .map(|text: String| revision(&text))
        .filter(|revision_of_it| *revision_of_it > revision(from))
        .max()
        .unwrap_or(0);
    let mut events = api.watch(&parameters, from).await?.boxed();
    let mut versions: Vec<Version> = Vec::new();
    let mut newest_of: HashMap<(Option<String>, String), DynamicObject> = HashMap::new();
    let mut reached = 0;
    // The last events may be of other kinds or names, so silence ends it too.
    loop {
        let patience = if reached >= present { SILENCE } else { LIMIT };
        let Ok(event) = tokio::time::timeout(patience, events.try_next()).await else {
            break;
        };
        let (change, object) = match event? {
            Some(WatchEvent::Added(object)) => ("ADDED", object),
            Some(WatchEvent::Modified(object)) => ("MODIFIED", object),
            Some(WatchEvent::Deleted(object)) => ("DELETED", object),
            Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
            Some(WatchEvent::Bookmark(_)) => continue,
            None => break,
        };
        reached = reached.max(revision(&object.resource_version().unwrap_or_default()));
        let key = (object.namespace(), object.name_any());
        let before = newest_of.get(&key);
        versions.push(version(change, &resource.kind, &object, before));
        if change == "DELETED" {
            newest_of.remove(&key);
        } else {
            newest_of.insert(key, object);
        }
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
    times_from_neighbours(&mut versions);
    Ok(versions)
}

/// Revisions are in the order of time, so what has no time of its own was not before the one before it.
/// `versions` are in the order of their revisions.
fn times_from_neighbours(versions: &mut [Version]) {
    let mut latest: Option<String> = None;
    for version in versions {
        match &version.at {
            // All of one form and zone, so they compare as text.
            Some(at) if latest.as_ref().is_none_or(|latest| at > latest) => {
                latest = Some(at.clone());
            }
            Some(_) => {}
            None => version.at.clone_from(&latest),
        }
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

pub(crate) fn revision(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn version(
    change: &'static str,
    kind: &str,
    object: &DynamicObject,
    before: Option<&DynamicObject>,
) -> Version {
    let (raw, value) = with_and_without_secrets(kind, object);
    let changes = before.map_or_else(Vec::new, |before| {
        let before = with_and_without_secrets(kind, before);
        difference::changes([&before.0, &before.1], [&raw, &value])
    });
    let (by, at) = difference::writer(object, before, &changes);
    let mut secrets = evidence::Secrets::default();
    secrets.add(&raw);
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
        secrets,
    }
}

fn with_and_without_secrets(kind: &str, object: &DynamicObject) -> (Value, Value) {
    let mut raw = serde_json::to_value(object).unwrap_or_default();
    // Watched objects of some servers do not repeat their kind, and a Secret must be known as one.
    raw["kind"] = kind.into();
    let mut shown = raw.clone();
    evidence::redact(&mut shown);
    (raw, shown)
}
