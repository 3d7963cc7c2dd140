//! Who owns an object's replicas once they were written through `scale`.
//!
//! That door speaks of another kind, so ownership is translated there and back, and not without
//! loss: a manager that had set the replicas by an update comes back as two, one of them with
//! nothing but the replicas and without a time. Clients see that, and so does whoever compares
//! revisions: even a scale to the same number is a change then.

use serde_json::Value;

use super::{Entry, FieldSet, ManagedFields, Operation, PathElement, Writer};
use super::{put_managed_fields, take_managed_fields};

/// Writes into `new` who manages its fields, after its replicas at `path` were written through
/// `scale`; the writer says the version of the object itself.
pub fn scale(live: &Value, new: &mut Value, path: &[&str], writer: &Writer<'_>) {
    drop(take_managed_fields(new));
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
