//! What a pod that exists may change in its spec: images, the deadline, more tolerations, fewer
//! scheduling gates.

use std::fmt::Write;

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};

use super::container::validate_image;
use crate::read::{Fill, Read};

const LARGEST_DEADLINE: i64 = 2_147_483_647;
const MUTABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,\
    `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with an update of the spec.
pub(super) fn validate(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec");
    let mut stop = false;
    for list in ["containers", "initContainers"] {
        let list_path = path.child(list);
        let containers = new[list].as_array().map(Vec::as_slice).unwrap_or_default();
        if containers.len() != old.list(list).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(Error::forbidden(&list_path, detail));
            stop = true;
            continue;
        }
        for (index, container) in containers.iter().enumerate() {
            validate_image(container, &list_path.index(index), errors);
        }
    }
    if stop || !validate_deadline(new, old, &path, errors) {
        return;
    }
    validate_tolerations(new, old, &path, errors);
    validate_gates(new, old, &path, errors);
    if !old.list("schedulingGates").is_empty() {
        validate_places(new, old, &path, errors);
    }
    let (changed, kept) = (without_mutable(new, old), old);
    if changed != *kept {
        let diff = difference(&changed, kept);
        let detail = format!("pod updates may not change fields other than {MUTABLE}\n{diff}");
        errors.push(Error::forbidden(&path, detail));
    }
}

/// A deadline may come and shrink. Answers whether to look further.
fn validate_deadline(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) -> bool {
    let place = path.child("activeDeadlineSeconds");
    let before = old.integer("activeDeadlineSeconds");
    match (new.integer("activeDeadlineSeconds"), before) {
        (Some(now), _) if !(0..=LARGEST_DEADLINE).contains(&now) => {
            let detail = simcluster_machinery::name::out_of_range(0, LARGEST_DEADLINE);
            errors.push(Error::invalid(&place, now, detail));
            false
        }
        (Some(now), Some(before)) if before < now => {
            let detail = "must be less than or equal to previous value";
            errors.push(Error::invalid(&place, now, detail));
            false
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(Error::invalid(&place, Value::Null, detail));
            true
        }
        _ => true,
    }
}

fn validate_tolerations(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) {
    let same = |one: &Value, other: &Value| {
        ["key", "operator", "value", "effect"]
            .iter()
            .all(|field| one.at(field) == other.at(field))
    };
    let kept = old.list("tolerations").iter().all(|before| {
        new.list("tolerations")
            .iter()
            .any(|after| same(before, after))
    });
    if !kept {
        errors.push(Error::forbidden(
            &path.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}

fn validate_gates(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, gate) in new.list("schedulingGates").iter().enumerate() {
        if !old.list("schedulingGates").contains(gate) {
            let detail = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                gate.text("name")
            );
            errors.push(Error::forbidden(
                &path.child("schedulingGates").index(index).child("name"),
                detail,
            ));
        }
    }
}

/// A gated pod may be told more about where to run, and nothing is taken back.
fn validate_places(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) {
    let selector = "nodeSelector";
    let kept = |key: &str, value: &Value| {
        let labels = new.at(selector);
        labels.and_then(|labels| labels.get(key)) == Some(value)
    };
    if !old.map(selector).all(|(key, value)| kept(key, value)) {
        errors.push(Error::invalid(
            &path.child(selector),
            new.at(selector).cloned().unwrap_or(Value::Null),
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        ));
    }
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let list = format!("affinity.nodeAffinity.{required}.nodeSelectorTerms");
    let (after, before) = (new.list(&list), old.list(&list));
    let place = path.child("affinity").child("nodeAffinity");
    let place = place.child(required).child("nodeSelectorTerms");
    if !before.is_empty() && before.len() != after.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(Error::invalid(&place, after.to_vec(), detail));
        return;
    }
    for (index, (after, before)) in after.iter().zip(before).enumerate() {
        if !only_adds(after, before) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.push(Error::invalid(&place.index(index), after.clone(), detail));
        }
    }
}

/// Whether a term has all that it had, first. One that selected nothing still must.
fn only_adds(after: &Value, before: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    if lists.iter().all(|list| before.list(list).is_empty()) {
        return lists.iter().all(|list| after.list(list).is_empty());
    }
    lists
        .iter()
        .all(|list| after.list(list).starts_with(before.list(list)))
}

/// The new spec with everything that may change as it was.
fn without_mutable(new: &Value, old: &Value) -> Value {
    let mut new = new.clone();
    for list in ["containers", "initContainers"] {
        for (index, container) in new.items(list).iter_mut().enumerate() {
            restore(container, &old[list][index], "image");
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations"] {
        restore(&mut new, old, field);
    }
    if old
        .integer("terminationGracePeriodSeconds")
        .is_some_and(|before| before < 0)
        && new.integer("terminationGracePeriodSeconds") == Some(1)
    {
        restore(&mut new, old, "terminationGracePeriodSeconds");
    }
    if !old.list("schedulingGates").is_empty() {
        // A gated pod may still be told where to run.
        for field in ["schedulingGates", "nodeSelector", "affinity.nodeAffinity"] {
            restore(&mut new, old, field);
        }
        if old.at("affinity").is_none() && new.lacks("affinity") {
            new.take_field("affinity");
        }
    }
    new
}

fn restore(new: &mut Value, old: &Value, field: &str) {
    match old.at(field) {
        Some(value) => new.put(field, value.clone()),
        None => drop(new.take_field(field)),
    }
}

/// The fields that differ, a line each for what was and what is asked for.
fn difference(new: &Value, old: &Value) -> String {
    let mut text = String::from("  core.PodSpec{\n  \t... // fields that are equal\n");
    let empty = serde_json::Map::new();
    let new = new.as_object().unwrap_or(&empty);
    let old = old.as_object().unwrap_or(&empty);
    let mut names: Vec<&String> = new.keys().chain(old.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names
        .into_iter()
        .filter(|name| new.get(*name) != old.get(*name))
    {
        for (sign, value) in [('-', old.get(name)), ('+', new.get(name))] {
            let value = value.unwrap_or(&Value::Null);
            let _ = writeln!(text, "{sign} \t{name}: {value},");
        }
    }
    text.push_str("  }\n");
    text
}

/// What is wrong with an update of the ephemeral containers: they are only added.
pub(super) fn validate_ephemeral(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec").child("ephemeralContainers");
    for before in old.list("spec.ephemeralContainers") {
        let own_name = before.text("name");
        let after = new.list("spec.ephemeralContainers");
        match after.iter().find(|one| one.text("name") == own_name) {
            None => errors.push(Error::forbidden(
                &path,
                format!("existing ephemeral containers {own_name:?} may not be removed\n"),
            )),
            Some(after) if after != before => errors.push(Error::forbidden(
                &path,
                format!("existing ephemeral containers {own_name:?} may not be changed\n"),
            )),
            Some(_) => {}
        }
    }
}
