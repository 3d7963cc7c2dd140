//! What a HorizontalPodAutoscaler may measure, and how it may behave: validation only.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::quantity::Quantity;

use super::{Group, reference, version_complaint};
use crate::checks::{NEGATIVE, NOT_POSITIVE, one_of};
use crate::meta::complain;
use crate::read::Read;
use crate::resources;

const LONGEST_PERIOD: i64 = 1800;
const LONGEST_WINDOW: i64 = 3600;

/// Types of metrics with their fields, in the order in which refusals list them.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// Checks `metrics` and `behavior`.
pub(super) fn validate(spec: &Value, old: Option<&Value>, path: &Path, errors: &mut Vec<Error>) {
    // Where a reference was wrong before, references are let be.
    let of_objects = |spec: &Value| -> bool {
        let metrics = spec.list("metrics").iter();
        let mut objects = metrics.filter(|metric| metric.text("type") == "Object");
        objects.any(|metric| {
            let version = metric.text("object.describedObject.apiVersion");
            version_complaint(version, Group::Any).is_some()
        })
    };
    let group = if old.is_some_and(of_objects) {
        Group::Unchecked
    } else {
        Group::Any
    };
    let metrics = spec.list("metrics");
    let place = path.child("metrics");
    for (index, metric) in metrics.iter().enumerate() {
        validate_metric(metric, group, &place.index(index), errors);
    }
    let can_be_zero =
        (metrics.iter()).any(|metric| matches!(metric.text("type"), "Object" | "External"));
    if spec.integer("minReplicas") == Some(0) && !can_be_zero {
        let detail = "must specify at least one Object or External metric to support scaling to \
                      zero replicas";
        errors.push(Error::forbidden(&place, detail));
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = spec.at(&format!("behavior.{direction}")) {
            let place = path.child("behavior").child(direction);
            validate_rules(rules, &place, errors);
        }
    }
}

fn validate_metric(metric: &Value, group: Group, path: &Path, errors: &mut Vec<Error>) {
    let kind = metric.text("type");
    if kind.is_empty() {
        let detail = "must specify a metric source type";
        errors.push(Error::required(&path.child("type"), detail));
    }
    let meant = SOURCES.iter().find(|(own, _)| *own == kind);
    let unknown = meant.is_none().then(|| {
        let known: Vec<&str> = SOURCES.iter().map(|(own, _)| *own).collect();
        Error::not_supported(&path.child("type"), kind, &known)
    });
    errors.extend(unknown.clone());
    // Only the first source is looked at, in this order.
    let order = [
        "object",
        "external",
        "pods",
        "resource",
        "containerResource",
    ];
    let given: Vec<&str> = (order.into_iter())
        .filter(|field| metric.at(field).is_some())
        .collect();
    if let Some(field) = given.first() {
        let source = metric.at(field).unwrap_or(&Value::Null);
        validate_source(field, source, group, &path.child(field), errors);
    }
    // Said once more.
    errors.extend(unknown);
    let meant = meant.map(|(_, field)| *field);
    if let Some(field) = meant.filter(|field| !given.contains(field)) {
        let detail = "must populate information for the given metric source";
        errors.push(Error::required(&path.child(field), detail));
    }
    if given.len() != 1 {
        for field in given.iter().filter(|field| Some(**field) != meant) {
            let detail = "must populate the given metric source only";
            errors.push(Error::forbidden(&path.child(field), detail));
        }
    }
}

fn validate_source(
    field: &str,
    source: &Value,
    group: Group,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let target = source.at("target").unwrap_or(&Value::Null);
    let place = path.child("target");
    let has = |field: &str| target.at(field).is_some();
    if matches!(field, "resource" | "containerResource") {
        let own = source.text("name");
        if own.is_empty() {
            let detail = "must specify a resource name";
            errors.push(Error::required(&path.child("name"), detail));
        } else if field == "containerResource" {
            resources::validate_name(own, &path.child("name"), errors);
        }
        if field == "containerResource" {
            let (container, place) = (source.text("container"), path.child("container"));
            if container.is_empty() {
                errors.push(Error::required(&place, "must specify a container"));
            } else {
                let complaints = name::dns1123_label(container);
                complain(errors, &place, container, complaints);
            }
        }
        validate_target(target, &place, errors);
        if !has("averageUtilization") && !has("averageValue") {
            let detail = "must set either a target raw value or a target utilization";
            let place = place.child("averageUtilization");
            errors.push(Error::required(&place, detail));
        }
        if has("averageUtilization") && has("averageValue") {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(Error::forbidden(&place.child("averageValue"), detail));
        }
        return;
    }
    if field == "object" {
        let described = source.at("describedObject").unwrap_or(&Value::Null);
        let place = path.child("describedObject");
        reference(described, group, &place, errors);
    }
    let own = source.text("metric.name");
    let of_metric = path.child("metric").child("name");
    if own.is_empty() {
        errors.push(Error::required(&of_metric, "must specify a metric name"));
    } else {
        complain(errors, &of_metric, own, name::path_segment(own));
    }
    validate_target(target, &place, errors);
    let missing = match field {
        "pods" if !has("averageValue") => "must specify a positive target averageValue",
        "object" if !has("value") && !has("averageValue") => {
            "must set either a target value or averageValue"
        }
        "external" if !has("value") && !has("averageValue") => {
            "must set either a target value for metric or a per-pod target"
        }
        _ => "",
    };
    if !missing.is_empty() {
        errors.push(Error::required(&place.child("averageValue"), missing));
    }
    if field == "external" && has("value") && has("averageValue") {
        let detail = "may not set both a target value for metric and a per-pod target";
        errors.push(Error::forbidden(&place.child("value"), detail));
    }
}

fn is_positive(target: &Value, field: &str) -> bool {
    let quantity: Option<Quantity> = target.text(field).parse().ok();
    quantity.is_some_and(|quantity| quantity > Quantity::ZERO)
}

fn validate_target(target: &Value, path: &Path, errors: &mut Vec<Error>) {
    let kind = target.text("type");
    if kind.is_empty() {
        let detail = "must specify a metric target type";
        errors.push(Error::required(&path.child("type"), detail));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(Error::invalid(&path.child("type"), kind, detail));
    }
    for field in ["value", "averageValue"] {
        if let Some(value) = target.at(field)
            && !is_positive(target, field)
        {
            let detail = "must be positive";
            errors.push(Error::invalid(&path.child(field), value.clone(), detail));
        }
    }
    let percent = target.integer("averageUtilization");
    if let Some(percent) = percent.filter(|percent| *percent < 1) {
        let place = path.child("averageUtilization");
        errors.push(Error::invalid(&place, percent, NOT_POSITIVE));
    }
}

fn validate_rules(rules: &Value, path: &Path, errors: &mut Vec<Error>) {
    if let Some(window) = rules.integer("stabilizationWindowSeconds") {
        let place = path.child("stabilizationWindowSeconds");
        if window < 0 {
            let detail = "must be greater than or equal to zero";
            errors.push(Error::invalid(&place, window, detail));
        }
        if window > LONGEST_WINDOW {
            let detail = format!("must be less than or equal to {LONGEST_WINDOW}");
            errors.push(Error::invalid(&place, window, detail));
        }
    }
    let choices = ["Disabled", "Max", "Min"];
    one_of(rules, "selectPolicy", &choices, path, errors);
    let policies = rules.list("policies");
    let place = path.child("policies");
    if policies.is_empty() {
        let detail = "must specify at least one Policy";
        errors.push(Error::required(&place, detail));
    }
    for (index, policy) in policies.iter().enumerate() {
        let place = place.index(index);
        let kinds = ["Percent", "Pods"];
        if !kinds.contains(&policy.text("type")) {
            let kind = policy.text("type");
            errors.push(Error::not_supported(&place.child("type"), kind, &kinds));
        }
        for field in ["value", "periodSeconds"] {
            let number = policy.integer(field).unwrap_or(0);
            if number <= 0 {
                let detail = "must be greater than zero";
                errors.push(Error::invalid(&place.child(field), number, detail));
            }
            if field == "periodSeconds" && number > LONGEST_PERIOD {
                let detail = format!("must be less than or equal to {LONGEST_PERIOD}");
                errors.push(Error::invalid(&place.child(field), number, detail));
            }
        }
    }
    let tolerance = rules.at("tolerance").and_then(resources::parse);
    if let Some(tolerance) = tolerance.filter(Quantity::is_negative) {
        let place = path.child("tolerance");
        errors.push(Error::invalid(&place, tolerance.to_string(), NEGATIVE));
    }
}
