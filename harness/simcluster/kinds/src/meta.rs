//! `metadata`: what is wrong with it, and what a write keeps, drops and counts.
//!
//! What the server fills in by itself (name from generateName, uid, times, resourceVersion,
//! managedFields) is not made here.

use std::collections::BTreeSet;

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::read::{Fill, Read};

const TOTAL_ANNOTATION_SIZE_LIMIT: usize = 256 * 1024;
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
const IMMUTABLE: [&str; 6] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In none.
    Cluster,
}

/// Which names a kind allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A subdomain as in RFC 1123.
    Subdomain,
    /// A label as in RFC 1123.
    Label,
    /// A label as in RFC 1035.
    Rfc1035Label,
    /// Whatever can stand in a path.
    PathSegment,
    /// An address.
    Address,
}

impl NameRule {
    /// The complaints about a name; `prefix` when characters will be appended to it.
    pub fn complaints(self, name: &str, prefix: bool) -> Vec<String> {
        let masked = match name.strip_suffix('-') {
            Some(front) if prefix && !front.is_empty() && self != Self::PathSegment => {
                format!("{front}a")
            }
            _ => name.to_owned(),
        };
        match self {
            Self::Subdomain => name::dns1123_subdomain(&masked),
            Self::Label => name::dns1123_label(&masked),
            Self::Rfc1035Label => name::dns1035_label(&masked),
            Self::PathSegment => name::path_segment(&masked),
            Self::Address => crate::addresses::name_complaints(&masked),
        }
    }
}

/// What is wrong with `metadata` (at `path`), for custom resources and built-in kinds alike.
pub fn validate(object: &Value, scope: Scope, names: NameRule, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let meta = object.get("metadata").unwrap_or(&Value::Null);
    let generate_name = meta.text("generateName");
    if !generate_name.is_empty() {
        let place = path.child("generateName");
        complain(
            &mut errors,
            &place,
            generate_name,
            names.complaints(generate_name, true),
        );
    }
    let name = meta.text("name");
    let place = path.child("name");
    if name.is_empty() {
        errors.push(Error::required(&place, "name or generateName is required"));
    } else {
        complain(&mut errors, &place, name, names.complaints(name, false));
    }
    let namespace = meta.text("namespace");
    let place = path.child("namespace");
    match scope {
        Scope::Namespaced if namespace.is_empty() => errors.push(Error::required(&place, "")),
        Scope::Namespaced => {
            complain(
                &mut errors,
                &place,
                namespace,
                name::dns1123_label(namespace),
            );
        }
        Scope::Cluster if !namespace.is_empty() => {
            errors.push(Error::forbidden(&place, "not allowed on this type"));
        }
        Scope::Cluster => {}
    }
    if let Some(generation) = meta.integer("generation").filter(|count| *count < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(Error::invalid(
            &path.child("generation"),
            generation,
            detail,
        ));
    }
    validate_labels(meta, "labels", &path.child("labels"), &mut errors);
    validate_annotations(meta, &path.child("annotations"), &mut errors);
    validate_owner_references(meta, &path.child("ownerReferences"), &mut errors);
    validate_finalizers(meta, &path.child("finalizers"), &mut errors);
    errors
}

/// What is wrong with an update of `metadata` (at `path`).
pub fn validate_update(new: &Value, old: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let (new, old) = (
        new.get("metadata").unwrap_or(&Value::Null),
        old.get("metadata").unwrap_or(&Value::Null),
    );
    if old.at("deletionTimestamp").is_some() {
        let known: BTreeSet<&str> = old.texts("finalizers").into_iter().collect();
        let added: BTreeSet<&str> = new
            .texts("finalizers")
            .into_iter()
            .filter(|one| !known.contains(one))
            .collect();
        if !added.is_empty() {
            let quoted: Vec<String> = added.iter().map(|one| format!("{one:?}")).collect();
            errors.push(Error::forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, \
                     found new finalizers []string{{{}}}",
                    quoted.join(", ")
                ),
            ));
        }
    }
    if new.lacks("resourceVersion") {
        let place = path.child("resourceVersion");
        errors.push(Error::invalid(
            &place,
            "",
            "must be specified for an update",
        ));
    }
    for field in IMMUTABLE {
        let value = new.at(field);
        if value != old.at(field) {
            let value = value.cloned().unwrap_or(Value::Null);
            errors.push(Error::invalid(
                &path.child(field),
                value,
                "field is immutable",
            ));
        }
    }
    validate_labels(new, "labels", &path.child("labels"), &mut errors);
    validate_annotations(new, &path.child("annotations"), &mut errors);
    validate_owner_references(new, &path.child("ownerReferences"), &mut errors);
    errors
}

/// What built-in kinds ask of finalizers beyond [`validate`]: a domain, or one of Kubernetes' own.
pub(crate) fn validate_standard_finalizers(object: &Value, path: &Path) -> Vec<Error> {
    let finalizers = object.texts("metadata.finalizers").into_iter().enumerate();
    let strange = finalizers
        .filter(|(_, one)| !one.contains('/') && !STANDARD_FINALIZERS.contains(one))
        .map(|(index, one)| {
            Error::invalid(
                &path.child("finalizers").index(index),
                one,
                "name is neither a standard finalizer name nor is it fully qualified",
            )
        });
    strange.collect()
}

/// What custom resources are only warned of: finalizers that others could use, too.
pub fn finalizer_warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let known = old.map_or_else(Vec::new, |old| old.texts("metadata.finalizers"));
    let added: BTreeSet<&str> = (new.texts("metadata.finalizers").into_iter())
        .filter(|one| !known.contains(one))
        .collect();
    let mut warnings = Vec::new();
    for own in added {
        let mut warn = |why: &str| warnings.push(format!("metadata.finalizers: {own:?}: {why}"));
        for complaint in name::qualified_name(own) {
            warn(&complaint);
        }
        if own.contains('/') || STANDARD_FINALIZERS.contains(&own) {
            continue;
        }
        let path = if own.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        warn(&format!(
            "prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with \
             other finalizer writers"
        ));
    }
    warnings
}

/// Takes out owner references that are given twice; what to say about it, if there were any.
pub fn dedup_owner_references(object: &mut Value, after_admission: bool) -> Option<String> {
    let references = object.get_mut("metadata")?.get_mut("ownerReferences")?;
    let references = references.as_array_mut()?;
    let mut twice: Vec<String> = Vec::new();
    let mut kept: Vec<Value> = Vec::new();
    for reference in references.drain(..) {
        if kept.contains(&reference) {
            twice.push(reference.text("uid").to_owned());
        } else {
            kept.push(reference);
        }
    }
    *references = kept;
    if twice.is_empty() {
        return None;
    }
    let when = if after_admission {
        " after mutating admission happens"
    } else {
        ""
    };
    Some(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner \
         references in 1.20+, and may reject such requests as early as 1.24; please fix your \
         requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    ))
}

/// Each complaint as an invalid value at `path`.
pub(crate) fn complain(
    errors: &mut Vec<Error>,
    path: &Path,
    value: &str,
    complaints: impl IntoIterator<Item = String>,
) {
    errors.extend(
        complaints
            .into_iter()
            .map(|detail| Error::invalid(path, value, detail)),
    );
}

/// Keys and values of the labels in the field `field` of `value`.
pub(crate) fn validate_labels(value: &Value, field: &str, path: &Path, errors: &mut Vec<Error>) {
    for (key, value) in value.map(field) {
        complain(errors, path, key, name::qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        complain(errors, path, value, name::label_value(value));
    }
}

/// Keys and total size of the annotations of `meta`.
pub(crate) fn validate_annotations(meta: &Value, path: &Path, errors: &mut Vec<Error>) {
    let mut size = 0;
    for (key, value) in meta.map("annotations") {
        complain(errors, path, key, name::qualified_name(&key.to_lowercase()));
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > TOTAL_ANNOTATION_SIZE_LIMIT {
        errors.push(Error::too_long(path, TOTAL_ANNOTATION_SIZE_LIMIT));
    }
}

fn validate_owner_references(meta: &Value, path: &Path, errors: &mut Vec<Error>) {
    let mut controller: Option<String> = None;
    for reference in meta.list("ownerReferences") {
        let api_version = reference.text("apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.is_empty() {
            let place = path.child("apiVersion");
            errors.push(Error::invalid(
                &place,
                api_version,
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            if reference.lacks(field) {
                errors.push(Error::invalid(&path.child(field), "", "must not be empty"));
            }
        }
        let kind = reference.text("kind");
        if (group, version, kind) == ("", "v1", "Event") {
            let detail =
                format!("{group}/{version}, Kind={kind} is disallowed from being an owner");
            errors.push(Error::invalid_shown(
                path,
                owner_reference_json(reference),
                detail,
            ));
        }
        if reference.flag("controller") {
            let this = format!("{kind}/{}", reference.text("name"));
            if let Some(first) = &controller {
                let all = meta
                    .list("ownerReferences")
                    .iter()
                    .map(owner_reference_json);
                let all: Vec<String> = all.collect();
                errors.push(Error::invalid_shown(
                    path,
                    format!("[{}]", all.join(",")),
                    format!(
                        "Only one reference can have Controller set to true. \
                         Found \"true\" in references for {first} and {this}"
                    ),
                ));
            } else {
                controller = Some(this);
            }
        }
    }
}

fn owner_reference_json(reference: &Value) -> String {
    const ORDER: [&str; 6] = [
        "apiVersion",
        "kind",
        "name",
        "uid",
        "controller",
        "blockOwnerDeletion",
    ];
    in_order(reference, &ORDER)
}

/// An object as JSON with its fields in the order of a Go struct.
pub(crate) fn in_order(value: &Value, order: &[&str]) -> String {
    let fields = order.iter().filter_map(|name| {
        let field = value.get(name)?;
        Some(format!("{}:{field}", Value::from(*name)))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn validate_finalizers(meta: &Value, path: &Path, errors: &mut Vec<Error>) {
    let finalizers = meta.texts("finalizers");
    for finalizer in &finalizers {
        complain(errors, path, finalizer, name::qualified_name(finalizer));
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        errors.push(Error::invalid(
            path,
            meta["finalizers"].clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}

/// What no update can change, taken from `old`: uid when `new` has none, the time of creation, and
/// the deletion once it has begun. The server calls it before [`crate::KindRules::prepare_update`].
pub fn carry_server_fields(new: &mut Value, old: &Value) {
    if new.lacks("metadata.uid") {
        keep(new, old, "metadata.uid");
    }
    keep(new, old, "metadata.creationTimestamp");
    for field in [
        "metadata.deletionTimestamp",
        "metadata.deletionGracePeriodSeconds",
    ] {
        if old.at(field).is_some() {
            keep(new, old, field);
        }
    }
}

/// The generation of a new object: 1. Kinds that do not count keep what the client sent.
pub(crate) fn begin_generation(object: &mut Value, counts: bool) {
    if counts {
        object.put("metadata.generation", 1);
    }
}

/// The generation of an update: the old one, and one more when `bump`.
pub(crate) fn carry_generation(new: &mut Value, old: &Value, bump: bool) {
    match old.integer("metadata.generation").unwrap_or(0) + i64::from(bump) {
        0 => drop(new.take_field("metadata.generation")),
        generation => new.put("metadata.generation", generation),
    }
}

/// The field `field` as it was in `old`, also when it was absent.
pub(crate) fn keep(new: &mut Value, old: &Value, field: &str) {
    match old.at(field) {
        Some(value) => new.put(field, value.clone()),
        None => drop(new.take_field(field)),
    }
}

/// All but metadata and status as in `old`, and the generation too.
pub(crate) fn keep_for_status_update(new: &mut Value, old: &Value) {
    if let (Value::Object(new), Value::Object(old)) = (&mut *new, old) {
        let own = |field: &str| matches!(field, "metadata" | "status");
        new.retain(|field, _| own(field) || old.contains_key(field));
        for (field, value) in old.iter().filter(|(field, _)| !own(field)) {
            // Nearly always it is the same, and comparing is cheaper than copying.
            if new.get(field) != Some(value) {
                new.insert(field.clone(), value.clone());
            }
        }
    }
    keep(new, old, "metadata.generation");
}

/// What an update of the status of a custom resource keeps: all but the status. Of the metadata,
/// what any write may change (managedFields, resourceVersion as a precondition) is `new`'s.
pub fn keep_all_but_status(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    for field in [
        "status",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ] {
        keep(&mut kept, new, field);
    }
    *new = kept;
}

#[cfg(test)]
mod tests;
