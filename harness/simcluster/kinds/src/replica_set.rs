//! ReplicaSet, and what all workloads with a selector and a template share.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{label_selector, non_negative, selector_json, selector_matches};
use crate::deployment::selector_is_immutable;
use crate::pod::{defaults, validation, warnings};
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::name_of_pods;

pub(crate) struct ReplicaSet;

impl KindRules for ReplicaSet {
    fn default(&self, set: &mut Value) {
        set.fill("spec.replicas", 1);
        defaults::template(&mut set["spec"]["template"]);
    }

    fn initial_status(&self) -> Value {
        json!({"replicas": 0})
    }

    fn validate_create(&self, set: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (&set["spec"], Path::new("spec"));
        non_negative(spec, &["replicas", "minReadySeconds"], &path, &mut errors);
        validate_selector_and_template(spec, &path, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        selector_is_immutable(new, old, &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_replica_counts(&new["status"], &Path::new("status"), &mut errors);
        errors
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        workload_warnings(new, old)
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn selectable_fields(&self, set: &Value) -> Vec<(&'static str, String)> {
        let replicas = set.integer("status.replicas").unwrap_or(0);
        vec![("status.replicas", replicas.to_string())]
    }

    fn columns(&self) -> &'static [Column] {
        REPLICA_COLUMNS
    }

    fn row(&self, set: &Value, now: Timestamp) -> Row {
        let mut row = replica_row(set, now);
        row.cells.push(table::selector(set.at("spec.selector")));
        row
    }
}

pub(crate) const REPLICA_COLUMNS: &[Column] = &[
    NAME,
    Column::integer("Desired"),
    Column::integer("Current"),
    Column::integer("Ready"),
    AGE,
    Column::wide("Containers"),
    Column::wide("Images"),
    Column::wide("Selector"),
];

/// The row of a set of replicas, all but the selector.
pub(crate) fn replica_row(set: &Value, now: Timestamp) -> Row {
    let count = |path: &str| json!(set.integer(path).unwrap_or(0));
    let [names, images] = table::containers(&set["spec"]["template"]["spec"]);
    Row::new(vec![
        table::name(set),
        count("spec.replicas"),
        count("status.replicas"),
        count("status.readyReplicas"),
        table::age(set, now),
        names,
        images,
    ])
}

/// Warnings about a workload, when it is new or its generation has changed: its template, and its
/// name when its pods are named after it.
pub(crate) fn workload_warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = if old.is_none() {
        name_of_pods(new)
    } else {
        Vec::new()
    };
    warnings.extend(template_warnings(new, old));
    warnings
}

/// Warnings about the template of a workload, when it is new or its generation has changed.
pub(crate) fn template_warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| same_generation(new, old)) {
        return Vec::new();
    }
    let path = Path::new("spec").child("template");
    let template = new.at("spec.template");
    template.map_or_else(Vec::new, |template| warnings::of_template(template, &path))
}

/// Whether nothing has changed that the generation counts.
pub(crate) fn same_generation(new: &Value, old: &Value) -> bool {
    new.at("metadata.generation") == old.at("metadata.generation")
}

/// A selector that is there, is not empty, matches the template, and a template of pods that run
/// for ever. The texts say deployment and ReplicaSet for both kinds, as the API does.
pub(crate) fn validate_selector_and_template(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    validate_selector(spec, "deployment", path, errors);
    if !is_selector(spec, "invalid label selector", path, errors) {
        return;
    }
    validate_template(spec, "ReplicaSet", path, errors);
}

/// Whether the selector, if there is one, can be understood; says so if not.
pub(crate) fn is_selector(
    spec: &Value,
    detail: &str,
    path: &Path,
    errors: &mut Vec<Error>,
) -> bool {
    let selector = spec.at("selector");
    let sound = simcluster_machinery::selector::LabelSelector::from_object(selector).is_ok();
    if !sound {
        let shown = selector_json(selector);
        errors.push(Error::invalid_shown(&path.child("selector"), shown, detail));
    }
    sound
}

/// A selector that is there and is not empty.
pub(crate) fn validate_selector(spec: &Value, owner: &str, path: &Path, errors: &mut Vec<Error>) {
    let path = path.child("selector");
    let Some(selector) = spec.at("selector") else {
        errors.push(Error::required(&path, ""));
        return;
    };
    label_selector(Some(selector), &path, errors);
    if selector.lacks("matchLabels") && selector.lacks("matchExpressions") {
        errors.push(Error::invalid_shown(
            &path,
            selector_json(Some(selector)),
            format!("empty selector is invalid for {owner}"),
        ));
    }
}

/// A template that the selector matches, of pods that run for ever.
pub(crate) fn validate_template(spec: &Value, owner: &str, path: &Path, errors: &mut Vec<Error>) {
    validate_template_with(spec, owner, path, errors, validation::template);
}

/// As [`validate_template`], with the check of the template itself in hand.
pub(crate) fn validate_template_with(
    spec: &Value,
    owner: &str,
    path: &Path,
    errors: &mut Vec<Error>,
    check: impl Fn(&Value, &Path, &mut Vec<Error>),
) {
    let template = spec.get("template").unwrap_or(&Value::Null);
    let selector = spec.at("selector");
    let path = path.child("template");
    let empty =
        selector.is_some_and(|one| one.lacks("matchLabels") && one.lacks("matchExpressions"));
    // No selector selects nothing.
    if selector.is_none() || !empty && !selector_matches(selector, template) {
        errors.push(Error::invalid(
            &path.child("metadata").child("labels"),
            template
                .at("metadata.labels")
                .cloned()
                .unwrap_or(Value::Null),
            "`selector` does not match template `labels`",
        ));
    }
    check(template, &path, errors);
    let policy = template.text("spec.restartPolicy");
    let path = path.child("spec");
    if policy != "Always" && !policy.is_empty() {
        errors.push(Error::not_supported(
            &path.child("restartPolicy"),
            policy,
            &["Always"],
        ));
    }
    if template.at("spec.activeDeadlineSeconds").is_some() {
        errors.push(Error::forbidden(
            &path.child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {owner} is not Supported"),
        ));
    }
}

fn validate_replica_counts(status: &Value, path: &Path, errors: &mut Vec<Error>) {
    let counts = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
    ];
    let all = [&counts[..], &["observedGeneration"]].concat();
    non_negative(status, &all, path, errors);
    let count = |field: &str| status.integer(field).unwrap_or(0);
    for (field, other) in [
        ("fullyLabeledReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ] {
        if count(field) > count(other) {
            let words = if other == "replicas" {
                "status.replicas"
            } else {
                other
            };
            let detail = format!("cannot be greater than {words}");
            errors.push(Error::invalid(&path.child(field), count(field), detail));
        }
    }
}
