//! Managed fields and server-side apply.
//!
//! Every write says which fields it set ([`update`]); an apply also merges a configuration into the
//! live object, gives up what it no longer names, and is refused where another manager owns a field
//! that it would change ([`apply`]). Lists and maps are merged as their schema says; a resource
//! without a schema is merged by the look of its values.
//!
//! Objects of several versions are compared as they stand: the caller converts before and after.
//! Defaulting and validation of the result are the caller's, too.

mod atom;
mod compare;
mod conflict;
mod fields;
mod lay_over;
mod managers;
mod merge;
mod order;
pub mod packed;
mod path;
mod remove;
mod scale;
mod set;

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::decode;
use crate::schema::SchemaRef;
use crate::status::Status;

use atom::Type;
use compare::Comparison;
use conflict::Conflict;
pub use lay_over::lay_over;
pub use managers::{Entry, ManagedFields, Operation};
pub use path::PathElement;
pub use scale::{apply_scale, put_managers, scale};
pub use set::FieldSet;

/// What is known about the shape of the objects.
#[derive(Clone, Debug)]
pub enum ObjectType {
    /// A built-in kind: an absent object is not quite empty, because Go writes empty structs.
    Builtin(SchemaRef),
    /// A custom resource, with `metadata` in its schema (see [`crate::schema::custom_object`]).
    Custom(SchemaRef),
    /// Nothing: every value is what it looks like.
    Untyped,
}

impl ObjectType {
    fn root(&self) -> Type<'_> {
        match self {
            Self::Builtin(schema) | Self::Custom(schema) => Type::of(schema),
            Self::Untyped => Type::Deduced,
        }
    }

    /// What an object that is about to be created is compared with.
    fn absent(&self, like: &Value) -> Value {
        let mut object = match self {
            Self::Builtin(schema) => decode::typed_value(json!({}), schema)
                .map_or_else(|_| json!({}), |decoded| decoded.value),
            Self::Custom(_) | Self::Untyped => json!({}),
        };
        for name in ["apiVersion", "kind"] {
            if let Some(value) = like.get(name) {
                object[name] = value.clone();
            }
        }
        object
    }
}

/// Who writes, through which door, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The manager's name; an empty one becomes `unknown`.
    pub manager: &'a str,
    /// The subresource that is written to, empty for the object itself.
    pub subresource: &'a str,
    /// The version that the request speaks: `apps/v1`.
    pub api_version: &'a str,
    /// The time of the write: `2024-01-02T03:04:05Z`.
    pub time: &'a str,
    /// Fields that this door does not let through, such as `status` for the object itself. Nobody
    /// comes to own them by writing here.
    pub reset: &'a FieldSet,
}

/// Why an apply failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// The configuration cannot be applied at all.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not follow the schema.
    #[error("{0}")]
    Untyped(String),
    /// Other managers own fields that the configuration would change.
    #[error("{}", conflict::message(.0))]
    Conflict(Vec<Conflict>),
}

impl ApplyError {
    /// What the API answers.
    pub fn status(&self) -> Status {
        match self {
            Self::BadRequest(message) => Status::bad_request(message.as_str()),
            Self::Untyped(message) => Status::unexpected(message.as_str()),
            Self::Conflict(conflicts) => {
                let causes = conflicts.iter().map(Conflict::cause).collect();
                Status::apply_conflict(conflict::message(conflicts), causes)
            }
        }
    }
}

/// Writes into `new` who manages its fields, after a create (`live` is `None`), update or patch.
///
/// `new` must be complete: defaulted, and with the fields of the system in place. The managed fields
/// that it brings along replace those of the live object, an empty list or a single empty entry
/// resets them, and none leaves them as they are.
pub fn update(live: Option<&Value>, new: &mut Value, object: &ObjectType, writer: &Writer<'_>) {
    let brought = packed::take(new);
    let live = live.map_or_else(|| Cow::Owned(object.absent(new)), Cow::Borrowed);
    // The live object's managers stay in the comparison, as one field that nobody can own.
    let stored = live.pointer("/metadata/managedFields");
    let mut managed = starting_point(stored, brought.as_ref(), writer);
    let comparison = Comparison::of(&live, new, object.root()).without(writer.reset);
    managed.drop_fields(&comparison.changed());
    managed.drop_fields(&comparison.removed);
    let mut own = comparison.changed().difference_recursive(writer.reset);
    own = own.difference(set::never_managed());
    if !own.is_empty() {
        managed.add(Entry::new(writer, Operation::Update, own));
        managed.cap();
    }
    put_managed_fields(new, &managed);
}

fn starting_point(
    stored: Option<&Value>,
    brought: Option<&Value>,
    writer: &Writer<'_>,
) -> ManagedFields {
    let stored = || ManagedFields::decode(stored).unwrap_or_default();
    if !writer.subresource.is_empty() {
        return stored();
    }
    match brought {
        Some(Value::Array(entries)) if entries.is_empty() || entries[..] == [json!({})] => {
            ManagedFields::default()
        }
        brought => match ManagedFields::decode(brought) {
            Some(managed) if !managed.is_empty() => managed,
            _ => stored(),
        },
    }
}

/// Applies a configuration.
///
/// Answers with the merged object and its managed fields, to be decoded (built-in kinds), defaulted
/// and validated like any other write. A configuration that changes nothing gives the live object
/// back, perhaps with one more manager.
pub fn apply(
    live: Option<&Value>,
    configuration: &Value,
    object: &ObjectType,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    check_configuration(configuration, writer)?;
    let root = object.root();
    fields::validate(configuration, root).map_err(|errors| {
        let name = describe(configuration);
        ApplyError::Untyped(format!(
            "failed to create typed patch object ({name}): {errors}"
        ))
    })?;
    let created = live.is_none();
    let mut live = live.map_or_else(|| object.absent(configuration), Value::clone);
    let mut managed = ManagedFields::decode(packed::take(&mut live).as_ref()).unwrap_or_default();

    match attempt(&live, configuration, root, &mut managed, writer, force) {
        Ok(merged) => Ok(finish(live, merged, &managed, created)),
        Err(conflicts) if writer.manager == "kubectl" => {
            // What a client-side apply wrote last, and nobody changed since, is kubectl's own.
            let allowed = last_applied(&live, root, writer);
            let conflicts: Vec<Conflict> = conflicts
                .into_iter()
                .filter(|conflict| !allowed.has(&conflict.path))
                .collect();
            if !conflicts.is_empty() {
                return Err(ApplyError::Conflict(conflicts));
            }
            let merged = attempt(&live, configuration, root, &mut managed, writer, true)
                .map_err(ApplyError::Conflict)?;
            Ok(finish(live, merged, &managed, created))
        }
        Err(conflicts) => Err(ApplyError::Conflict(conflicts)),
    }
}

fn finish(live: Value, merged: Option<Value>, managed: &ManagedFields, created: bool) -> Value {
    let mut object = merged.unwrap_or(live);
    // An object that does not exist yet is created even when nothing is said about it.
    if created && object.get("metadata").is_none_or(Value::is_null) {
        object["metadata"] = json!({});
    }
    put_managed_fields(&mut object, managed);
    object
}

fn check_configuration(configuration: &Value, writer: &Writer<'_>) -> Result<(), ApplyError> {
    let version = configuration
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if version != writer.api_version {
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. \
             Specified patch version: {version}, expected: {}",
            writer.api_version
        )));
    }
    let managed = configuration
        .get("metadata")
        .and_then(|meta| meta.get("managedFields"));
    if managed.is_some_and(|managed| !managed.is_null()) {
        return Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    Ok(())
}

/// One try: the merged object, or nothing when it is the same as the live one.
fn attempt(
    live: &Value,
    configuration: &Value,
    root: Type<'_>,
    managed: &mut ManagedFields,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Option<Value>, Vec<Conflict>> {
    let merged = merge::merge(live, configuration, root);
    let own = fields::set_of(configuration, root).difference_recursive(writer.reset);
    let mut entry = Entry::new(writer, Operation::Apply, own);
    let mut others = managed.clone();
    let last = others.take_applied(writer);
    let merged = match &last {
        Some(last) if !last.fields.is_empty() => {
            let mut owned = others.all_fields();
            owned.extend(&entry.fields);
            remove::give_up(&merged, &last.fields, &owned, root)
        }
        _ => merged,
    };

    let comparison = Comparison::of(live, &merged, root).without(writer.reset);
    let changed = comparison.changed();
    let conflicts = others.conflicts_with(&changed);
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    others.drop_fields(&changed);
    others.drop_fields(&comparison.removed);
    entry.fields = entry.fields.difference(set::never_managed());
    let same = comparison.is_same();
    if same {
        entry.time = last.and_then(|last| last.time);
    }
    if !entry.fields.is_empty() {
        others.add(entry);
    }
    *managed = others;
    Ok((!same).then_some(merged))
}

/// The fields that client-side apply wrote last and that still have their value.
fn last_applied(live: &Value, root: Type<'_>, writer: &Writer<'_>) -> FieldSet {
    const ANNOTATION: &str =
        "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    let applied = live.pointer(ANNOTATION).and_then(Value::as_str);
    let applied: Option<Value> = applied.and_then(|text| serde_json::from_str(text).ok());
    let Some(applied) = applied else {
        return FieldSet::default();
    };
    if applied.get("apiVersion").and_then(Value::as_str) != Some(writer.api_version) {
        return FieldSet::default();
    }
    let comparison = Comparison::of(&applied, live, root);
    fields::set_of(&applied, root)
        .difference(&comparison.changed())
        .difference(&comparison.removed)
}

/// Takes back the new times of managed fields where nothing else has changed, so that a write
/// without effect has none.
pub fn keep_times_if_same(live: &Value, new: &mut Value) {
    if !same_but_managed_fields(live, new) {
        return;
    }
    let managers = |object: &'_ Value| {
        let managers = object.pointer("/metadata/managedFields")?;
        ManagedFields::decode(Some(managers))
    };
    let (Some(before), Some(after)) = (managers(live), managers(new)) else {
        return;
    };
    if before.same_but_times(after) {
        new["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
    }
}

/// Whether two objects differ by their managers at most. Most writes are told apart by their first fields.
fn same_but_managed_fields(one: &Value, other: &Value) -> bool {
    without(one, "metadata").eq(without(other, "metadata"))
        && without(&one["metadata"], "managedFields")
            .eq(without(&other["metadata"], "managedFields"))
}

fn without<'a>(object: &'a Value, field: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(move |(name, _)| *name != field)
}

fn put_managed_fields(object: &mut Value, managed: &ManagedFields) {
    if managed.is_empty() {
        return;
    }
    let Value::Object(object) = object else {
        return;
    };
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), managed.pack());
    }
}

/// `namespace/name; group/version, Kind=kind`, as errors name an object.
fn describe(object: &Value) -> String {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let version = text("/apiVersion");
    let version = if version.contains('/') {
        version.to_owned()
    } else {
        format!("/{version}")
    };
    format!(
        "{}/{}; {version}, Kind={}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/kind")
    )
}

#[cfg(test)]
mod tests;
