//! HorizontalPodAutoscaler: it is stored and shown; nothing scales by it here.

mod metrics;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{NOT_POSITIVE, required};
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
        let mut errors = Vec::new();
        let (spec, path) = (&autoscaler["spec"], Path::new("spec"));
        let least = spec.integer("minReplicas").unwrap_or(1);
        if least < 1 {
            let detail = "must be greater than or equal to 1";
            errors.push(Error::invalid(&path.child("minReplicas"), least, detail));
        }
        let most = spec.integer("maxReplicas").unwrap_or(0);
        let place = path.child("maxReplicas");
        if most < 1 {
            errors.push(Error::invalid(&place, most, NOT_POSITIVE));
        }
        if most < least {
            let detail = "must be greater than or equal to `minReplicas`";
            errors.push(Error::invalid(&place, most, detail));
        }
        let target = spec.get("scaleTargetRef").unwrap_or(&Value::Null);
        reference(target, &path.child("scaleTargetRef"), &mut errors);
        metrics::validate(spec, &path, &mut errors);
        let percent = spec.integer("targetCPUUtilizationPercentage");
        if let Some(percent) = percent.filter(|percent| *percent < 1) {
            // Version 1 is a metric inside the server, and refused as one.
            let place = path.child("metrics").index(0).child("resource");
            let place = place.child("target").child("averageUtilization");
            errors.push(Error::invalid(&place, percent, NOT_POSITIVE));
        }
        errors
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
            json!(targets(autoscaler)),
            json!(least.map_or_else(|| "<unset>".to_owned(), |count| count.to_string())),
            json!(autoscaler.integer("spec.maxReplicas").unwrap_or(0)),
            json!(autoscaler.integer("status.currentReplicas").unwrap_or(0)),
            table::age(autoscaler, now),
        ])
    }
}

/// Kind and name of something that is referred to.
fn reference(target: &Value, path: &Path, errors: &mut Vec<Error>) {
    for field in ["kind", "name"] {
        let own = target.text(field);
        required(target, field, path, errors);
        if !own.is_empty() {
            complain(errors, &path.child(field), own, name::path_segment(own));
        }
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

/// What is measured against what is wanted; nothing is measured here.
fn targets(autoscaler: &Value) -> String {
    let cpu = autoscaler.integer("spec.targetCPUUtilizationPercentage");
    let mut texts: Vec<String> = cpu
        .iter()
        .map(|percent| format!("cpu: <unknown>/{percent}%"))
        .collect();
    for metric in autoscaler.list("spec.metrics") {
        let resource = metric.text("resource.name");
        let wanted = metric
            .integer("resource.target.averageUtilization")
            .map_or_else(
                || metric.text("resource.target.averageValue").to_owned(),
                |percent| format!("{percent}%"),
            );
        texts.push(format!("{resource}: <unknown>/{wanted}"));
    }
    if texts.is_empty() {
        "<none>".to_owned()
    } else {
        texts.join(", ")
    }
}
