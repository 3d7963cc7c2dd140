//! PodDisruptionBudget.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{
    conditions, label_selector, non_negative, non_negative_int_or_percent, not_more_than_all,
    one_of, selector_json,
};
use crate::meta::NameRule;
use crate::read::Read;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

pub(crate) struct PodDisruptionBudget;

impl KindRules for PodDisruptionBudget {
    fn initial_status(&self) -> Value {
        json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
    }

    fn validate_create(&self, budget: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (
            budget.get("spec").unwrap_or(&Value::Null),
            Path::new("spec"),
        );
        if spec.at("minAvailable").is_some() && spec.at("maxUnavailable").is_some() {
            let detail = "minAvailable and maxUnavailable cannot be both set";
            errors.push(Error::invalid_shown(&path, internal_json(spec), detail));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            non_negative_int_or_percent(spec, field, &path, &mut errors);
            not_more_than_all(spec, field, &path, &mut errors);
        }
        label_selector(spec.at("selector"), &path.child("selector"), &mut errors);
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        one_of(
            spec,
            "unhealthyPodEvictionPolicy",
            &policies,
            &path,
            &mut errors,
        );
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (status, path) = (&new["status"], Path::new("status"));
        conditions(status, &path.child("conditions"), &mut errors);
        let counts = [
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ];
        non_negative(status, &counts, &path, &mut errors);
        errors
    }

    /// What was wrong with the selector before may stay wrong in the same way.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let place = Path::new("spec").child("selector");
        let mut before = Vec::new();
        label_selector(old.at("spec.selector"), &place, &mut before);
        if !before.is_empty() {
            errors.retain(|error| !is_label_value_of_selector(error, &place));
        }
        errors
    }

    /// Only what every object keeps to.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn finalizers_are_qualified(&self) -> bool {
        false
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Min Available"),
                Column::text("Max Unavailable"),
                Column::integer("Allowed Disruptions"),
                AGE,
            ]
        }
    }

    fn row(&self, budget: &Value, now: Timestamp) -> Row {
        let amount = |path: &str| match budget.at(path) {
            None => json!("N/A"),
            Some(Value::String(percent)) => json!(percent),
            Some(number) => json!(number.to_string()),
        };
        Row::new(vec![
            table::name(budget),
            amount("spec.minAvailable"),
            amount("spec.maxUnavailable"),
            json!(budget.integer("status.disruptionsAllowed").unwrap_or(0)),
            table::age(budget, now),
        ])
    }
}

/// Whether it is about a value in an expression of the selector at `place`.
fn is_label_value_of_selector(error: &Error, place: &Path) -> bool {
    let expressions = format!("{}[", place.child("matchExpressions"));
    (error.path.as_str().strip_prefix(&expressions)).is_some_and(|rest| rest.contains("].values["))
}

/// The spec as JSON of the type that the server has inside.
fn internal_json(spec: &Value) -> String {
    let value = |field: &str| spec.at(field).unwrap_or(&Value::Null);
    format!(
        "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\
         \"UnhealthyPodEvictionPolicy\":{}}}",
        value("minAvailable"),
        selector_json(spec.at("selector")),
        value("maxUnavailable"),
        value("unhealthyPodEvictionPolicy"),
    )
}
