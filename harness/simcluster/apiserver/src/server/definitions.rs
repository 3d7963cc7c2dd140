//! The life of a CustomResourceDefinition: its names are accepted, its resources served, and its
//! objects removed with it.
//!
//! On a real server controllers do this a moment later; here it has happened when the write that
//! brings it about is answered. The steps are still writes of their own, each with its revision.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};
use simcluster_machinery::{
    crd,
    kind::{GroupResource, GroupVersionKind},
    schema::{Schema, SchemaRef},
};

use super::{
    Inner, clock,
    custom::{self, CustomVersion},
    registry::{Registry, Resource, Subresource, collection},
};
use crate::store::{Object, StoreError};

const COLLECTION: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Holds a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

fn storage_version(definition: &Value) -> String {
    crd::initial_stored_versions(definition)
        .pop()
        .unwrap_or_default()
}

/// After a definition was written or removed.
pub(crate) fn changed(server: &Arc<Inner>, name: &str) {
    if let Some(definition) = get(server, name) {
        if definition.value()["metadata"]["deletionTimestamp"].is_null() {
            accept_names(server, &definition);
        } else {
            serve(server);
            clean_up(server, name);
        }
    }
    serve(server);
}

/// After an object of a custom resource went: perhaps its definition waits for that.
pub(crate) fn object_gone(server: &Arc<Inner>, resource: &GroupResource) {
    let name = resource.to_string();
    let waits = get(server, &name)
        .is_some_and(|definition| !definition.value()["metadata"]["deletionTimestamp"].is_null());
    if waits {
        clean_up(server, &name);
        serve(server);
    }
}

fn get(server: &Inner, name: &str) -> Option<Arc<Object>> {
    server.store.read().get(COLLECTION, name)
}

/// Changes a definition as the server itself, again if somebody was faster.
fn rewrite(server: &Inner, name: &str, change: impl Fn(&mut Value)) {
    let key = name.into();
    while let Some(current) = get(server, name) {
        let mut new = current.value().clone();
        change(&mut new);
        if new == *current.value() {
            return;
        }
        let finished = !new["metadata"]["deletionTimestamp"].is_null()
            && new["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty);
        let based_on = current.revision();
        let written = if finished {
            server.store.delete(&COLLECTION.into(), &key, based_on, new)
        } else {
            server.store.update(&COLLECTION.into(), &key, based_on, new)
        };
        match written {
            Err(StoreError::Stale { .. }) => {}
            _ => return,
        }
    }
}

/// Sets a condition; the time of transition changes with its status.
pub(crate) fn set_condition(
    object: &mut Value,
    now: &str,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else {
        return;
    };
    let at = conditions
        .iter()
        .position(|condition| condition["type"] == kind);
    let since = at
        .map(|at| &conditions[at])
        .filter(|own| own["status"] == status)
        .and_then(|own| own["lastTransitionTime"].as_str())
        .unwrap_or(now)
        .to_owned();
    let condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// Decides whether the names of a definition are free, and says so in its status.
fn accept_names(server: &Inner, definition: &Object) {
    let group = definition.value()["spec"]["group"].clone();
    let others: Vec<Arc<Object>> = server
        .store
        .read()
        .snapshot(COLLECTION)
        .objects
        .values()
        .filter(|other| {
            other.value()["spec"]["group"] == group && other.name() != definition.name()
        })
        .cloned()
        .collect();
    let now = clock::rfc3339(server.config.clock.now());
    rewrite(server, definition.name(), |definition| {
        let (accepted, conflict) = judge_names(definition, &others);
        definition["status"]["acceptedNames"] = accepted;
        match conflict {
            None => {
                set_condition(
                    definition,
                    &now,
                    "NamesAccepted",
                    "True",
                    "NoConflicts",
                    "no conflicts found",
                );
                set_condition(
                    definition,
                    &now,
                    "Established",
                    "True",
                    "InitialNamesAccepted",
                    "the initial names have been accepted",
                );
            }
            Some((reason, message)) => {
                set_condition(definition, &now, "NamesAccepted", "False", reason, &message);
                if !crd::is_established(definition) {
                    set_condition(
                        definition,
                        &now,
                        "Established",
                        "False",
                        "NotAccepted",
                        "not all names are accepted",
                    );
                }
            }
        }
    });
}

/// The names that are free, and the last conflict.
fn judge_names(
    definition: &Value,
    others: &[Arc<Object>],
) -> (Value, Option<(&'static str, String)>) {
    let asked = &definition["spec"]["names"];
    let accepted = &definition["status"]["acceptedNames"];
    let mut taken: HashSet<String> = HashSet::new();
    let mut kinds: HashSet<String> = HashSet::new();
    for other in others {
        let names = &other.value()["status"]["acceptedNames"];
        for field in ["plural", "singular"] {
            taken.extend(names[field].as_str().map(str::to_owned));
        }
        for name in names["shortNames"].as_array().into_iter().flatten() {
            taken.extend(name.as_str().map(str::to_owned));
        }
        for field in ["kind", "listKind"] {
            kinds.extend(names[field].as_str().map(str::to_owned));
        }
    }
    let mut result = accepted.as_object().cloned().unwrap_or_default();
    let mut conflict = None;
    let mut judge = |field: &'static str, reason: &'static str, taken: &HashSet<String>| {
        let name = asked[field].as_str().unwrap_or_default();
        if name.is_empty() {
            return;
        }
        if taken.contains(name) {
            conflict = Some((reason, format!("{name:?} is already in use")));
        } else {
            result.insert(field.to_owned(), name.into());
        }
    };
    judge("plural", "PluralConflict", &taken);
    judge("singular", "SingularConflict", &taken);
    judge("kind", "KindConflict", &kinds);
    judge("listKind", "ListKindConflict", &kinds);
    let shorts: Vec<&str> = asked["shortNames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let clashes: Vec<String> = shorts
        .iter()
        .filter(|&&name| taken.contains(name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    if clashes.is_empty() {
        if shorts.is_empty() {
            result.remove("shortNames");
        } else {
            result.insert("shortNames".to_owned(), json!(shorts));
        }
    } else {
        conflict = Some((
            "ShortNamesConflict",
            simcluster_machinery::status::aggregate(clashes.into_iter()),
        ));
    }
    match asked.get("categories") {
        Some(categories) => result.insert("categories".to_owned(), categories.clone()),
        None => result.remove("categories"),
    };
    (result.into(), conflict)
}

/// What is told while objects wait for their finalizers.
fn clean_up(server: &Arc<Inner>, name: &str) {
    let Some(definition) = get(server, name) else {
        return;
    };
    let spec = &definition.value()["spec"];
    let objects = collection(
        spec["group"].as_str().unwrap_or_default(),
        spec["names"]["plural"].as_str().unwrap_or_default(),
    );
    let now = clock::rfc3339(server.config.clock.now());
    let snapshot = server.store.read().snapshot(&objects);
    for (key, object) in &snapshot.objects {
        remove_object(server, &objects, key, object, &now);
    }
    if server.store.read().is_empty(&objects) {
        rewrite(server, name, |definition| {
            if let Some(finalizers) = definition["metadata"]["finalizers"].as_array_mut() {
                finalizers.retain(|own| own != FINALIZER);
            }
        });
    } else {
        rewrite(server, name, |definition| {
            set_condition(
                definition,
                &now,
                "Terminating",
                "True",
                "InstanceDeletionInProgress",
                "CustomResource deletion is in progress",
            );
        });
    }
}

fn remove_object(
    server: &Inner,
    objects: &crate::store::Collection,
    key: &crate::store::Key,
    object: &Object,
    now: &str,
) {
    let mut value = object.value().clone();
    let held = value["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|own| !own.is_empty());
    // A writer who was faster has its own way here again when the object goes.
    let _ = if !held {
        server.store.delete(objects, key, object.revision(), value)
    } else if value["metadata"]["deletionTimestamp"].is_null() {
        value["metadata"]["deletionTimestamp"] = now.into();
        value["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        server.store.update(objects, key, object.revision(), value)
    } else {
        return;
    };
}

/// When a definition is marked for deletion.
pub(crate) fn mark_deleted(definition: &mut Value, now: &str) {
    set_condition(
        definition,
        now,
        "Terminating",
        "True",
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    );
}

/// Serves what the definitions in the store say.
pub(crate) fn serve(server: &Inner) {
    let before = server.registry();
    let snapshot = server.store.read().snapshot(COLLECTION);
    let mut resources = Vec::new();
    for definition in snapshot.objects.values().map(|object| object.value()) {
        if crd::is_established(definition) {
            resources.extend(resources_of(definition, &before));
        }
    }
    let measured = !server.kubelets().is_empty();
    server.set_registry(Registry::with(resources, measured, snapshot.revision));
}

/// The served versions of a definition; what was compiled before is kept.
fn resources_of(definition: &Value, before: &Registry) -> Vec<Arc<Resource>> {
    let spec = &definition["spec"];
    let group = spec["group"].as_str().unwrap_or_default();
    let names = &definition["status"]["acceptedNames"];
    let plural = names["plural"].as_str().unwrap_or_default();
    let source = custom::source(definition);
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions
        .filter(|version| version["served"] == true)
        .map(|version| {
            let name = version["name"].as_str().unwrap_or_default();
            if let Some(known) = before.find(group, name, plural)
                && known
                    .custom
                    .as_ref()
                    .is_some_and(|own| own.source == source)
            {
                return known;
            }
            Arc::new(resource(definition, group, names, name, version))
        })
        .collect()
}

fn resource(
    definition: &Value,
    group: &str,
    names: &Value,
    version_name: &str,
    version: &Value,
) -> Resource {
    let text = |field: &str| names[field].as_str().unwrap_or_default().to_owned();
    let list = |field: &str| -> Vec<String> {
        let items = names[field].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let kind = GroupVersionKind::new(group, version_name, &text("kind"));
    let custom = CustomVersion::read(kind.clone(), definition, version);
    let words = |verbs: &[&str]| verbs.iter().map(|&verb| verb.to_owned()).collect();
    let mut subresources = Vec::new();
    let parts = ["get", "patch", "update"];
    if custom.has_status_subresource() {
        subresources.push(Subresource {
            name: "status".to_owned(),
            kind: kind.clone(),
            verbs: words(&parts),
        });
    }
    if custom.scale().is_some() {
        subresources.push(Subresource {
            name: "scale".to_owned(),
            kind: GroupVersionKind::new("autoscaling", "v1", "Scale"),
            verbs: words(&parts),
        });
    }
    let stored_as = GroupVersionKind::new(group, &storage_version(definition), "").api_version();
    Resource {
        name: GroupResource::new(group, &text("plural")),
        list_kind: text("listKind"),
        singular: text("singular"),
        namespaced: definition["spec"]["scope"] == "Namespaced",
        short_names: list("shortNames"),
        categories: list("categories"),
        verbs: words(&[
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch",
        ]),
        subresources,
        collection: collection(group, &text("plural")),
        stored_as,
        schema: SchemaRef::new(Schema::default()),
        custom: Some(Arc::new(custom)),
        kind,
    }
}
