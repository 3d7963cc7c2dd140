//! Who owns an object's replicas once they were written through `scale`.
//!
//! That door speaks of another kind, so ownership is translated there and back, and not without
//! loss: a manager that had set the replicas by an update comes back as two, one of them with
//! nothing but the replicas and without a time. Clients see that, and so does whoever compares
//! revisions: even a scale to the same number is a change then.

use serde_json::{Value, json};

use super::{
    ApplyError, Entry, FieldSet, ManagedFields, ObjectType, Operation, PathElement, Writer,
};
use super::{apply, packed, put_managed_fields};
use crate::kind::GroupVersionKind;
use crate::schema::builtin;

/// Writes into `new` who manages its fields, after its replicas at `path` were written through
/// `scale`; the writer says the version of the object itself.
pub fn scale(live: &Value, new: &mut Value, path: &[&str], writer: &Writer<'_>) {
    drop(packed::take(new));
    let stored = live.pointer("/metadata/managedFields");
    let before = ManagedFields::decode(stored).unwrap_or_default();
    let replicas = FieldSet::of(&[path]);
    let steps: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
    let at = |object: &Value| {
        let place = path.iter().try_fold(object, |value, name| value.get(name));
        place.and_then(Value::as_i64).unwrap_or(0)
    };
    let changed = at(live) != at(new);
    let mut after = ManagedFields::default();
    let mut owners = Vec::new();
    for entry in before.entries() {
        if !entry.fields.has(&steps) || (!changed && entry.operation == Operation::Apply) {
            after.push(entry.clone());
            continue;
        }
        let fields = entry.fields.difference(&replicas);
        if !fields.is_empty() {
            after.push(Entry {
                fields,
                ..entry.clone()
            });
        }
        if !changed {
            owners.push(entry.clone());
        }
    }
    if changed {
        owners.push(Entry::new(writer, Operation::Update, FieldSet::default()));
    }
    for owner in owners {
        after.push(Entry {
            api_version: writer.api_version.to_owned(),
            time: None,
            fields: replicas.clone(),
            ..owner
        });
    }
    put_managed_fields(new, &after);
}

/// Applies a configuration of an object's `scale`, whose replicas stand at `path`: the merged scale,
/// and who manages the fields of the object then. The writer says the version of the object itself.
pub fn apply_scale(
    live: &Value,
    scale: &Value,
    configuration: &Value,
    path: &[&str],
    writer: &Writer<'_>,
    force: bool,
) -> Result<(Value, ManagedFields), ApplyError> {
    const VERSION: &str = "autoscaling/v1";
    let steps: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
    let stored = live.pointer("/metadata/managedFields");
    let before = ManagedFields::decode(stored).unwrap_or_default();
    let mut owners = ManagedFields::default();
    for entry in before
        .entries()
        .iter()
        .filter(|entry| entry.fields.has(&steps))
    {
        owners.push(Entry {
            api_version: VERSION.to_owned(),
            fields: FieldSet::of(&[&["spec", "replicas"]]),
            ..entry.clone()
        });
    }
    let mut scale = scale.clone();
    put_managed_fields(&mut scale, &owners);
    let kind = GroupVersionKind::new("autoscaling", "v1", "Scale");
    let shape = builtin::schema(&kind).map_or(ObjectType::Untyped, ObjectType::Builtin);
    let speaks = Writer {
        api_version: VERSION,
        ..*writer
    };
    let mut merged = apply(Some(&scale), configuration, &shape, &speaks, force)?;
    let owners = packed::take(&mut merged);
    let owners = ManagedFields::decode(owners.as_ref()).unwrap_or_default();
    let of_replicas = [PathElement::field("spec"), PathElement::field("replicas")];
    let mut owners: Vec<Entry> = (owners.entries().iter())
        .filter(|entry| entry.fields.has(&of_replicas))
        .cloned()
        .collect();

    let replicas = FieldSet::of(&[path]);
    let mut after = ManagedFields::default();
    for entry in before.entries() {
        // An applier is the same one in every version; who updates is another one in each.
        let same = |owner: &Entry| {
            owner.operation == Operation::Apply
                && entry.operation == Operation::Apply
                && (&owner.manager, &owner.subresource) == (&entry.manager, &entry.subresource)
        };
        if !entry.fields.has(&steps) {
            after.push(entry.clone());
        } else if let Some(place) = owners.iter().position(same) {
            owners.remove(place);
            after.push(entry.clone());
        } else {
            let fields = entry.fields.difference(&replicas);
            if !fields.is_empty() {
                after.push(Entry {
                    fields,
                    ..entry.clone()
                });
            }
        }
    }
    for owner in owners {
        after.push(Entry {
            api_version: writer.api_version.to_owned(),
            time: None,
            fields: replicas.clone(),
            ..owner
        });
    }
    Ok((merged, after))
}

/// Writes who manages its fields into an object.
pub fn put_managers(object: &mut Value, managed: &ManagedFields) {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    drop(packed::take(object));
    put_managed_fields(object, managed);
}
