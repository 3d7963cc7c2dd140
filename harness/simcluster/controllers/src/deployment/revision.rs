//! Which ReplicaSet belongs to the present template, which to earlier ones, and how they are numbered. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{rolling, strategy};
use crate::{hash, ownership::controller_reference};

/// Of a deployment: the revision it is at; of a set: the revision it was last wanted at.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";
/// Annotations of a deployment that its sets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// The sets of a deployment, told apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// That of the present template.
    pub(super) new: Option<Arc<ReplicaSet>>,
    /// All others, oldest first.
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

impl Found {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

/// Of several sets with the present template the oldest counts.
pub(super) fn find(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Found {
    let mut sets = sets.to_vec();
    sets.sort_by(|left, right| age(left).cmp(&age(right)));
    let new = sets.iter().position(|set| is_of_template(deployment, set));
    Found {
        new: new.map(|index| sets.remove(index)),
        old: sets,
    }
}

pub(super) fn age(set: &ReplicaSet) -> (Option<jiff::Timestamp>, &Option<String>) {
    (
        set.metadata.creation_timestamp.as_ref().map(|time| time.0),
        &set.metadata.name,
    )
}

/// Whether a set has the deployment's present template.
pub(super) fn is_of_template(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = deployment.spec.as_ref().map(|spec| &spec.template);
    let have = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    match (wanted, have) {
        (Some(wanted), Some(have)) => {
            let (wanted, have) = (bare(wanted), bare(have));
            wanted == have || telling(&wanted) == telling(&have)
        }
        _ => false,
    }
}

/// A template without the label that sets add, and without a time of creation.
fn bare(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(metadata) = &mut template.metadata {
        metadata.creation_timestamp = None;
        if let Some(labels) = &mut metadata.labels {
            labels.remove(HASH_LABEL);
        }
    }
    template
}

/// What a template says; much may be left out or be there empty.
fn telling(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    drop_empty(&mut value);
    value
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for field in fields.values_mut() {
                drop_empty(field);
            }
            // An empty source of a volume (`emptyDir: {}`) means something: only metadata is cleared of empty maps.
            fields.retain(|_, field| !field.is_null());
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                metadata.retain(|_, field| field.as_object().is_none_or(|map| !map.is_empty()));
                if metadata.is_empty() {
                    fields.remove("metadata");
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

/// The revision of a set; 0 if it has none.
pub(super) fn of(set: &ReplicaSet) -> i64 {
    set.annotations()
        .get(REVISION)
        .and_then(|revision| revision.parse().ok())
        .unwrap_or_default()
}

/// The revision after all old ones.
pub(super) fn next(old: &[Arc<ReplicaSet>]) -> i64 {
    old.iter().map(|set| of(set)).max().unwrap_or_default() + 1
}

/// What has to change on the set of the present template, as a merge patch.
pub(super) fn update(deployment: &Deployment, set: &ReplicaSet, revision: i64) -> Option<Value> {
    let mut annotations = copied(deployment);
    if of(set) < revision {
        annotations.insert(REVISION.to_owned(), revision.to_string());
        if of(set) > 0 {
            let history = set.annotations().get(REVISION_HISTORY);
            let mut revisions: Vec<String> = history
                .map(|history| history.split(',').map(ToOwned::to_owned).collect())
                .unwrap_or_default();
            revisions.push(of(set).to_string());
            annotations.insert(REVISION_HISTORY.to_owned(), revisions.join(","));
        }
    }
    annotations.retain(|key, value| set.annotations().get(key) != Some(value));
    let wanted_seconds = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds);
    let seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let same_seconds = wanted_seconds.unwrap_or_default() == seconds.unwrap_or_default();
    if annotations.is_empty() && same_seconds {
        return None;
    }
    let mut patch = json!({"metadata": {
        "uid": set.metadata.uid,
        "resourceVersion": set.metadata.resource_version,
        "annotations": annotations,
    }});
    if !same_seconds {
        patch["spec"] = json!({"minReadySeconds": wanted_seconds});
    }
    Some(patch)
}

/// A merge patch that scales a set, and says for how large a deployment.
pub(super) fn resize(deployment: &Deployment, set: &ReplicaSet, replicas: i32) -> Value {
    json!({
        "metadata": {
            "uid": set.metadata.uid,
            "resourceVersion": set.metadata.resource_version,
            "annotations": sizes(deployment),
        },
        "spec": {"replicas": replicas},
    })
}

fn sizes(deployment: &Deployment) -> BTreeMap<String, String> {
    let replicas = strategy::replicas(deployment);
    let maximum = replicas.saturating_add(strategy::max_surge(deployment));
    [
        (DESIRED.to_owned(), replicas.to_string()),
        (MAXIMUM.to_owned(), maximum.to_string()),
    ]
    .into()
}

fn copied(deployment: &Deployment) -> BTreeMap<String, String> {
    let mut annotations = deployment.annotations().clone();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    annotations
}

/// A set for the present template.
pub(super) fn new_set(deployment: &Deployment, found: &Found, revision: i64) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let mut template = spec.template;
    let hash = hash::in_order(revision, &telling(&bare(&template)), collisions);
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.clone());
    let mut annotations = copied(deployment);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.extend(sizes(deployment));
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(rolling::new_set_size(deployment, found)),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// Old sets beyond the history that the deployment keeps; only those that are done with their pods go.
pub(super) fn too_old(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> Vec<Arc<ReplicaSet>> {
    let limit = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit);
    let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else {
        return Vec::new();
    };
    let mut staying: Vec<_> = old
        .iter()
        .filter(|set| set.metadata.deletion_timestamp.is_none())
        .cloned()
        .collect();
    let surplus = staying
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or_default());
    staying.sort_by(|left, right| (of(left), age(left)).cmp(&(of(right), age(right))));
    staying.truncate(surplus);
    staying.retain(|set| {
        let status = set.status.clone().unwrap_or_default();
        status.replicas == 0
            && rolling::wanted_of(set) == 0
            && set.metadata.generation <= status.observed_generation
    });
    staying
}
