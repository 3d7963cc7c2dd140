//! What a job that exists may not change.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};

use super::validation;
use crate::checks::{IMMUTABLE, immutable, selector_json};
use crate::read::{Fill, Read};

/// What a job may not change. The whole spec is looked at once more, as the API does.
pub(super) fn check(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let (new_spec, old_spec) = (&new["spec"], &old["spec"]);
    validation::spec(new_spec, &path, &mut errors);
    completions(new_spec, old_spec, &path, &mut errors);
    if new_spec.at("selector") != old_spec.at("selector") {
        let shown = selector_json(new_spec.at("selector"));
        errors.push(Error::invalid_shown(
            &path.child("selector"),
            shown,
            IMMUTABLE,
        ));
    }
    template(new, old, &path.child("template"), &mut errors);
    let fixed = [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ];
    immutable(new_spec, old_spec, &fixed, &path, &mut errors);
    errors
}

fn completions(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) {
    let path = path.child("completions");
    if new.at("completions") == old.at("completions") {
        return;
    }
    let given = new.at("completions").cloned().unwrap_or(Value::Null);
    if new.text("completionMode") != "Indexed" {
        errors.push(Error::invalid(&path, given, IMMUTABLE));
    } else if !given.is_null() && new.at("completions") != new.at("parallelism") {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.push(Error::invalid(&path, given, detail));
    }
}

/// A job that is suspended and has no pods may still be told where its pods run, and what they get.
fn template(new: &Value, old: &Value, path: &Path, errors: &mut Vec<Error>) {
    let before = &old["spec"]["template"];
    let mut after = new["spec"]["template"].clone();
    if old.flag("spec.suspend") && old.integer("status.active").unwrap_or(0) == 0 {
        let directives = [
            "metadata.annotations",
            "metadata.labels",
            "spec.nodeSelector",
            "spec.affinity.nodeAffinity",
            "spec.tolerations",
            "spec.schedulingGates",
        ];
        for field in directives {
            restore(&mut after, before, field);
        }
        // Of the rules for its place, only those for nodes may come and go.
        if before.at("spec.affinity").is_none() && after.lacks("spec.affinity") {
            after.take_field("spec.affinity");
        }
        for list in ["containers", "initContainers"] {
            let known = before.list(&format!("spec.{list}"));
            let containers = after.items(&format!("spec.{list}")).iter_mut();
            for (container, known) in containers.zip(known) {
                restore(container, known, "resources");
            }
        }
    }
    if after != *before {
        errors.push(Error::invalid(
            path,
            new["spec"]["template"].clone(),
            IMMUTABLE,
        ));
    }
}

/// The field as it was.
fn restore(new: &mut Value, old: &Value, field: &str) {
    match old.at(field) {
        Some(value) => new.put(field, value.clone()),
        None => drop(new.take_field(field)),
    }
}
