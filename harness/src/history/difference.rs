//! Pure: what one version of an object changed in the one before, and whose fields those are.
//!
//! The API records field managers with times of whole seconds, so "whose" is found in this order: the
//! manager whose entry is new, the one that owns a changed field, the newest. It does not know which user
//! sent a request; the API does not keep that.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::Value;

/// What changes with every write and says nothing.
const ALWAYS: [&str; 2] = ["metadata.resourceVersion", "metadata.managedFields"];
/// The writer of what leaves no field manager.
const NOT_RECORDED: &str = "(not recorded)";
/// A value longer than this is cut.
const LONGEST: usize = 120;

/// The leaves that differ, as `path: old → new`. `shown` are the same objects without their secrets: what
/// differs only there is said to have changed, not how.
pub(super) fn changes(before: [&Value; 2], after: [&Value; 2]) -> Vec<String> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

/// `[as it is, as it may be shown]` of both sides.
fn compare(path: &str, before: [&Value; 2], after: [&Value; 2], found: &mut Vec<String>) {
    if before[0] == after[0] || ALWAYS.contains(&path) {
        return;
    }
    match (before[0], after[0]) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                compare(
                    &below,
                    before.map(|value| &value[key.as_str()]),
                    after.map(|value| &value[key.as_str()]),
                    found,
                );
            }
        }
        (Value::Array(_), Value::Array(_))
            if key_of(before[0]).is_some_and(|key| key_of(after[0]) == Some(key)) =>
        {
            let key = key_of(before[0]).unwrap_or_default();
            let mut names: Vec<&str> = [before[0], after[0]]
                .into_iter()
                .flat_map(|list| list.as_array().into_iter().flatten())
                .filter_map(|item| item[key].as_str())
                .collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                // What may be shown is the same list without secrets: the same items at the same places.
                let old = position(before[0], key, name);
                let new = position(after[0], key, name);
                compare(
                    &format!("{path}[{name}]"),
                    before.map(|list| at(list, old)),
                    after.map(|list| at(list, new)),
                    found,
                );
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for index in 0..old.len() {
                compare(
                    &format!("{path}[{index}]"),
                    before.map(|value| &value[index]),
                    after.map(|value| &value[index]),
                    found,
                );
            }
        }
        _ if before[1] == after[1] => found.push(format!("{path}: changed (redacted)")),
        _ => found.push(format!(
            "{path}: {} → {}",
            short(before[1]),
            short(after[1])
        )),
    }
}

/// By what the items of a list are told apart, as conditions and containers are: their order says nothing.
fn key_of(list: &Value) -> Option<&'static str> {
    let items = list.as_array().filter(|items| !items.is_empty())?;
    ["type", "name"].into_iter().find(|key| {
        let mut names: Vec<&str> = items
            .iter()
            .filter_map(|item| item[*key].as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.len() == items.len()
    })
}

fn position(list: &Value, key: &str, name: &str) -> Option<usize> {
    list.as_array()?.iter().position(|item| item[key] == name)
}

fn at(list: &Value, position: Option<usize>) -> &Value {
    position.map_or(&Value::Null, |position| &list[position])
}

fn short(value: &Value) -> String {
    if value.is_null() {
        return "(none)".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whose write it was, with the subresource, and when; as far as the API recorded it.
pub(super) fn writer(
    object: &DynamicObject,
    before: Option<&DynamicObject>,
    changes: &[String],
) -> (String, Option<String>) {
    let created = object.metadata.creation_timestamp.as_ref();
    let entries: Vec<&ManagedFieldsEntry> =
        object.metadata.managed_fields.iter().flatten().collect();
    let known = |entry: &ManagedFieldsEntry| {
        let before = before.and_then(|before| before.metadata.managed_fields.as_ref());
        before.is_some_and(|before| before.contains(entry))
    };
    let newest = |entries: &[&ManagedFieldsEntry]| {
        let time = |entry: &&ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
        let latest = entries.iter().map(time).max().flatten();
        // Of several of one second, the first: an update of the status follows the creation.
        entries
            .iter()
            .find(|entry| time(entry) == latest)
            .map(|entry| (*entry).clone())
    };
    let new: Vec<_> = entries
        .iter()
        .copied()
        .filter(|entry| !known(entry))
        .collect();
    let owning: Vec<_> = entries
        .iter()
        .copied()
        .filter(|entry| changes.iter().any(|change| owns(entry, change)))
        .collect();
    let both: Vec<_> = new
        .iter()
        .copied()
        .filter(|entry| owning.contains(entry))
        .collect();
    let first = if before.is_none() {
        &entries
    } else {
        &Vec::new()
    };
    let found = [&both, &new, &owning, first]
        .into_iter()
        .find_map(|entries| newest(entries));
    let Some(found) = found else {
        // A request to delete, and the end itself, leave no manager and no time.
        return (NOT_RECORDED.to_owned(), None);
    };
    let manager = found.manager.as_deref().unwrap_or("unknown");
    let by = match &found.subresource {
        Some(subresource) => format!("{manager} ({subresource})"),
        None => manager.to_owned(),
    };
    let at = found.time.as_ref().or(created);
    (by, at.map(|time| time.0.to_string()))
}

/// Whether an entry's fields hold the path of a change, as far as the path has no list in it.
fn owns(entry: &ManagedFieldsEntry, change: &str) -> bool {
    let Some(fields) = &entry.fields_v1 else {
        return false;
    };
    let path = change.split(": ").next().unwrap_or_default();
    let mut at = &fields.0;
    let mut steps = 0;
    for part in path.split('.') {
        let name = part.split('[').next().unwrap_or_default();
        match at.get(format!("f:{name}")) {
            Some(below) => at = below,
            None => break,
        }
        steps += 1;
        if part.contains('[') {
            break;
        }
    }
    // `metadata` alone is everybody's.
    steps > 1 || (steps == 1 && !path.starts_with("metadata."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn only_what_changed_is_told_with_its_path() {
        let before = json!({"metadata": {"resourceVersion": "1"}, "spec": {"a": 1, "b": [1, 2]}});
        let after =
            json!({"metadata": {"resourceVersion": "2"}, "spec": {"a": 2, "b": [1, 3]}, "x": true});
        assert_eq!(
            changes([&before, &before], [&after, &after]),
            ["spec.a: 1 → 2", "spec.b[1]: 2 → 3", "x: (none) → true"]
        );
    }

    #[test]
    fn conditions_are_told_by_their_type_wherever_they_stand() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
        let before = json!([condition("Ready", "False"), condition("Synced", "True")]);
        let after = json!([condition("Synced", "True"), condition("Ready", "True")]);
        assert_eq!(
            changes([&before, &before], [&after, &after]),
            ["[Ready].status: \"False\" → \"True\""]
        );
    }

    #[test]
    fn a_secret_that_changed_is_said_to_have_changed_and_not_how() {
        let (before, after) = (json!({"password": "old"}), json!({"password": "new"}));
        let shown = json!({"password": "<redacted>"});
        assert_eq!(
            changes([&before, &shown], [&after, &shown]),
            ["password: changed (redacted)"]
        );
    }

    #[test]
    fn of_two_managers_of_one_second_the_one_that_owns_the_changed_field_wrote() {
        let entry = |manager: &str, fields: Value| {
            json!({"manager": manager, "operation": "Update", "apiVersion": "v1",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
        };
        let version = |phase: &str| {
            object(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": [
                entry("scheduler", json!({"f:spec": {"f:nodeName": {}}})),
                entry("kubelet", json!({"f:status": {"f:phase": {}}})),
                entry("creator", json!({"f:metadata": {"f:labels": {}}})),
            ]}, "status": {"phase": phase}}),
            )
        };
        let (by, _) = writer(
            &version("Running"),
            Some(&version("Pending")),
            &["status.phase: \"Pending\" → \"Running\"".to_owned()],
        );
        assert_eq!(by, "kubelet");
    }
}
