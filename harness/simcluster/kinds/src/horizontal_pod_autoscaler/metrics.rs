//! What a HorizontalPodAutoscaler may measure, and how it may behave: validation only.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::quantity::Quantity;

use super::reference;
use crate::checks::{NOT_POSITIVE, label_selector, one_of};
use crate::meta::complain;
use crate::read::Read;

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
pub(super) fn validate(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (index, metric) in spec.list("metrics").iter().enumerate() {
        validate_metric(metric, &path.child("metrics").index(index), errors);
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = spec.at(&format!("behavior.{direction}")) {
            let place = path.child("behavior").child(direction);
            validate_rules(rules, &place, errors);
        }
    }
}

fn validate_metric(metric: &Value, path: &Path, errors: &mut Vec<Error>) {
    let kind = metric.text("type");
    if kind.is_empty() {
        let detail = "must specify a metric source type";
        errors.push(Error::required(&path.child("type"), detail));
    }
    let meant = SOURCES.iter().find(|(own, _)| *own == kind);
    if meant.is_none() {
        let known: Vec<&str> = SOURCES.iter().map(|(own, _)| *own).collect();
        errors.push(Error::not_supported(&path.child("type"), kind, &known));
    }
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
        validate_source(field, source, &path.child(field), errors);
    }
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

fn validate_source(field: &str, source: &Value, path: &Path, errors: &mut Vec<Error>) {
    let target = source.at("target").unwrap_or(&Value::Null);
    let place = path.child("target");
    if matches!(field, "resource" | "containerResource") {
        if source.lacks("name") {
            let detail = "must specify a resource name";
            errors.push(Error::required(&path.child("name"), detail));
        }
        if field == "containerResource" && source.lacks("container") {
            let detail = "must specify a container";
            errors.push(Error::required(&path.child("container"), detail));
        }
        validate_target(target, &place, errors);
        let (percent, value) = (
            target.at("averageUtilization").is_some(),
            target.at("averageValue").is_some(),
        );
        if !percent && !value {
            let detail = "must set either a target raw value or a target utilization";
            let place = place.child("averageUtilization");
            errors.push(Error::required(&place, detail));
        }
        if percent && value {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(Error::forbidden(&place.child("averageValue"), detail));
        }
        return;
    }
    if field == "object" {
        let described = source.at("describedObject").unwrap_or(&Value::Null);
        reference(described, &path.child("describedObject"), errors);
    }
    let (metric, of_metric) = (source.at("metric"), path.child("metric"));
    let metric = metric.unwrap_or(&Value::Null);
    let own = metric.text("name");
    if own.is_empty() {
        let detail = "must specify a metric name";
        errors.push(Error::required(&of_metric.child("name"), detail));
    } else {
        let complaints = name::path_segment(own);
        complain(errors, &of_metric.child("name"), own, complaints);
    }
    if metric.at("selector").is_some() {
        label_selector(metric.at("selector"), &of_metric.child("selector"), errors);
    }
    validate_target(target, &place, errors);
    if field == "pods" && !is_positive(target, "averageValue") {
        let detail = "must specify a positive target averageValue";
        errors.push(Error::required(&place.child("averageValue"), detail));
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
}
