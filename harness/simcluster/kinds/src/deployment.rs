//! Deployment.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{
    IMMUTABLE, IntOrPercent, int_or_percent, non_negative, non_negative_int_or_percent,
    not_more_than_all, selector_json,
};
use crate::meta;
use crate::pod::defaults;
use crate::read::{Fill, Read};
use crate::replica_set::{validate_selector_and_template, workload_warnings};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::workload_status;

pub(crate) struct Deployment;

impl KindRules for Deployment {
    fn default(&self, deployment: &mut Value) {
        deployment.fill("spec.replicas", 1);
        deployment.fill("spec.strategy.type", "RollingUpdate");
        if deployment.text("spec.strategy.type") == "RollingUpdate" {
            deployment.fill("spec.strategy.rollingUpdate.maxUnavailable", "25%");
            deployment.fill("spec.strategy.rollingUpdate.maxSurge", "25%");
        }
        deployment.fill("spec.revisionHistoryLimit", 10);
        deployment.fill("spec.progressDeadlineSeconds", 600);
        defaults::template(&mut deployment["spec"]["template"]);
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        meta::keep_for_status_update(new, old);
        meta::keep(new, old, "metadata.labels");
    }

    fn validate_create(&self, deployment: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (&deployment["spec"], Path::new("spec"));
        non_negative(spec, &["replicas"], &path, &mut errors);
        validate_selector_and_template(spec, &path, &mut errors);
        validate_strategy(&spec["strategy"], &path.child("strategy"), &mut errors);
        let counts = [
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
        ];
        non_negative(spec, &counts, &path, &mut errors);
        if let Some(deadline) = spec.integer("progressDeadlineSeconds")
            && deadline <= spec.integer("minReadySeconds").unwrap_or(0)
        {
            errors.push(Error::invalid(
                &path.child("progressDeadlineSeconds"),
                deadline,
                "must be greater than minReadySeconds",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        selector_is_immutable(new, old, &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        workload_status::deployment(new, old)
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

    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        new.get("spec") != old.get("spec")
            || new.at("metadata.annotations") != old.at("metadata.annotations")
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Ready"),
                Column::text("Up-to-date"),
                Column::text("Available"),
                AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, deployment: &Value, now: Timestamp) -> Row {
        let count = |path: &str| deployment.integer(path).unwrap_or(0);
        let [names, images] = table::containers(&deployment["spec"]["template"]["spec"]);
        Row::new(vec![
            table::name(deployment),
            json!(format!(
                "{}/{}",
                count("status.readyReplicas"),
                count("spec.replicas")
            )),
            json!(count("status.updatedReplicas")),
            json!(count("status.availableReplicas")),
            table::age(deployment, now),
            names,
            images,
            table::selector(deployment.at("spec.selector")),
        ])
    }
}

/// The selector of a workload is for ever.
pub(crate) fn selector_is_immutable(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    let selector = new.at("spec.selector");
    if selector != old.at("spec.selector") {
        let path = Path::new("spec").child("selector");
        errors.push(Error::invalid_shown(
            &path,
            selector_json(selector),
            IMMUTABLE,
        ));
    }
}

fn validate_strategy(strategy: &Value, path: &Path, errors: &mut Vec<Error>) {
    let rolling = path.child("rollingUpdate");
    match (strategy.text("type"), strategy.at("rollingUpdate")) {
        ("Recreate", Some(_)) => errors.push(Error::forbidden(
            &rolling,
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        ("Recreate", None) => {}
        ("RollingUpdate", None) => errors.push(Error::required(
            &rolling,
            "this should be defaulted and never be nil",
        )),
        ("RollingUpdate", Some(update)) => {
            for field in ["maxUnavailable", "maxSurge"] {
                non_negative_int_or_percent(update, field, &rolling, errors);
            }
            let zero = |field: &str| {
                matches!(
                    int_or_percent(update, field),
                    Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0))
                )
            };
            if zero("maxUnavailable") && zero("maxSurge") {
                errors.push(Error::invalid(
                    &rolling.child("maxUnavailable"),
                    update["maxUnavailable"].clone(),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
            not_more_than_all(update, "maxUnavailable", &rolling, errors);
        }
        (other, _) => {
            let update = strategy.at("rollingUpdate").map_or_else(
                || "null".to_owned(),
                |update| {
                    let (unavailable, surge) = (&update["maxUnavailable"], &update["maxSurge"]);
                    format!("{{\"MaxUnavailable\":{unavailable},\"MaxSurge\":{surge}}}")
                },
            );
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":{update}}}", json!(other));
            let types = ["Recreate", "RollingUpdate"];
            errors.push(Error::not_supported_shown(path, shown, &types));
        }
    }
}
