//! HorizontalPodAutoscaler: it is stored and shown; nothing scales by it here.

mod metrics;
mod targets;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{NOT_POSITIVE, non_negative, required};
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const CPU_PERCENT: i64 = 80;

pub(crate) struct HorizontalPodAutoscaler;

impl KindRules for HorizontalPodAutoscaler {
    fn default(&self, autoscaler: &mut Value) {
        autoscaler.fill("spec.minReplicas", 1);
        if autoscaler.text("apiVersion") == "autoscaling/v2" {
            if autoscaler.lacks("spec.metrics") {
                autoscaler.put(
                    "spec.metrics",
                    json!([{
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT},
                        },
                    }]),
                );
            }
            scaling_rules(autoscaler);
        }
    }

    fn initial_status(&self) -> Value {
        json!({"currentMetrics": null, "desiredReplicas": 0})
    }

    fn prepare_create(&self, autoscaler: &mut Value) {
        autoscaler["status"] = match autoscaler.text("apiVersion") {
            "autoscaling/v1" => json!({"currentReplicas": 0, "desiredReplicas": 0}),
            _ => self.initial_status(),
        };
    }

    fn validate_create(&self, autoscaler: &Value) -> Vec<Error> {
        validate(autoscaler, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        validate(new, Some(old))
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let counts = ["currentReplicas", "desiredReplicas"];
        non_negative(&new["status"], &counts, &Path::new("status"), &mut errors);
        errors
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn has_status(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Reference"),
                Column::text("Targets"),
                Column::text("MinPods"),
                Column::text("MaxPods"),
                Column::text("Replicas"),
                AGE,
            ]
        }
    }

    fn row(&self, autoscaler: &Value, now: Timestamp) -> Row {
        let target = autoscaler.at("spec.scaleTargetRef").unwrap_or(&Value::Null);
        let least = autoscaler.integer("spec.minReplicas");
        Row::new(vec![
            table::name(autoscaler),
            json!(format!("{}/{}", target.text("kind"), target.text("name"))),
            json!(targets::text(autoscaler)),
            json!(least.map_or_else(|| "<unset>".to_owned(), |count| count.to_string())),
            json!(autoscaler.integer("spec.maxReplicas").unwrap_or(0)),
            json!(autoscaler.integer("status.currentReplicas").unwrap_or(0)),
            table::age(autoscaler, now),
        ])
    }
}

fn validate(autoscaler: &Value, old: Option<&Value>) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (&autoscaler["spec"], Path::new("spec"));
    let old = old.map(|old| &old["spec"]);
    let least = spec.integer("minReplicas");
    // Zero is only for those who had it before.
    let had_none = old.and_then(|old| old.integer("minReplicas")) == Some(0);
    let bound = i64::from(!had_none);
    if let Some(least) = least.filter(|least| *least < bound) {
        let detail = format!("must be greater than or equal to {bound}");
        errors.push(Error::invalid(&path.child("minReplicas"), least, detail));
    }
    let most = spec.integer("maxReplicas").unwrap_or(0);
    let place = path.child("maxReplicas");
    if most == 0 {
        let detail = "must be set and greater than 0";
        errors.push(Error::required(&place, detail));
    } else if most < 0 {
        let detail = "must be greater than or equal to 1";
        errors.push(Error::invalid(&place, most, detail));
    }
    if least.is_some_and(|least| most < least) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(Error::invalid(&place, most, detail));
    }
    let target = spec.get("scaleTargetRef").unwrap_or(&Value::Null);
    let before = old.and_then(|old| old.get("scaleTargetRef"));
    let same = |field: &str| before.is_some_and(|before| before.text(field) == target.text(field));
    let group = if same("apiVersion") && same("kind") {
        Group::Unchecked
    } else if target.text("kind") == "ReplicationController" {
        Group::Any
    } else {
        Group::Named
    };
    reference(target, group, &path.child("scaleTargetRef"), &mut errors);
    metrics::validate(spec, old, &path, &mut errors);
    let percent = spec.integer("targetCPUUtilizationPercentage");
    if let Some(percent) = percent.filter(|percent| *percent < 1) {
        // Version 1 is a metric inside the server, and refused as one.
        let place = path.child("metrics").index(0).child("resource");
        let place = place.child("target").child("averageUtilization");
        errors.push(Error::invalid(&place, percent, NOT_POSITIVE));
    }
    errors
}

/// What the API version of something that is referred to must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// A group.
    Named,
    /// A group or none.
    Any,
    /// It was there before.
    Unchecked,
}

/// What is wrong with the API version of a reference.
fn version_complaint(version: &str, group: Group) -> Option<String> {
    match (group, version.matches('/').count()) {
        (Group::Unchecked, _) => None,
        (_, 2..) => Some(format!("unexpected GroupVersion string: {version}")),
        (Group::Named, 0) => Some("apiVersion must specify API group".to_owned()),
        (Group::Named, _) if version.starts_with('/') => {
            Some("apiVersion must specify API group".to_owned())
        }
        _ => None,
    }
}

/// Kind, name and API version of something that is referred to.
fn reference(target: &Value, group: Group, path: &Path, errors: &mut Vec<Error>) {
    for field in ["kind", "name"] {
        let own = target.text(field);
        required(target, field, path, errors);
        if !own.is_empty() {
            complain(errors, &path.child(field), own, name::path_segment(own));
        }
    }
    let version = target.text("apiVersion");
    if let Some(why) = version_complaint(version, group) {
        errors.push(Error::invalid(&path.child("apiVersion"), version, why));
    }
}

/// When behaviour is given in part, the rest of it is made explicit.
fn scaling_rules(autoscaler: &mut Value) {
    if autoscaler.at("spec.behavior").is_none() {
        return;
    }
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    for (direction, window, policies) in [
        ("scaleUp", Some(0), json!([pods, percent])),
        ("scaleDown", None, json!([percent])),
    ] {
        let path = format!("spec.behavior.{direction}");
        autoscaler.fill(&format!("{path}.selectPolicy"), "Max");
        if let Some(seconds) = window {
            autoscaler.fill(&format!("{path}.stabilizationWindowSeconds"), seconds);
        }
        if autoscaler.lacks(&format!("{path}.policies")) {
            autoscaler.put(&format!("{path}.policies"), policies);
        }
    }
}
