//! DaemonSet.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{
    IntOrPercent, int_or_percent, non_negative, non_negative_int_or_percent, not_more_than_all,
};
use crate::deployment::selector_is_immutable;
use crate::meta;
use crate::pod::defaults;
use crate::read::{Fill, Read};
use crate::replica_set::{template_warnings, validate_selector, validate_template};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::workload_status;

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(crate) struct DaemonSet;

impl KindRules for DaemonSet {
    fn default(&self, set: &mut Value) {
        set.fill("spec.updateStrategy.type", "RollingUpdate");
        if set.text("spec.updateStrategy.type") == "RollingUpdate" {
            set.fill("spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
            set.fill("spec.updateStrategy.rollingUpdate.maxSurge", 0);
        }
        set.fill("spec.revisionHistoryLimit", 10);
        defaults::template(&mut set["spec"]["template"]);
    }

    fn prepare_create(&self, set: &mut Value) {
        meta::begin_generation(set, true);
        set["status"] = self.initial_status();
        set_template_generation(set, template_generation(set).max(1));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        meta::keep(new, old, "status");
        let before = template_generation(old);
        let changed = new.at("spec.template") != old.at("spec.template");
        set_template_generation(new, before + i64::from(changed));
        meta::carry_generation(new, old, self.bumps_generation(new, old));
    }

    fn initial_status(&self) -> Value {
        json!({
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        })
    }

    fn validate_create(&self, set: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (&set["spec"], Path::new("spec"));
        if spec.at("selector").is_some() {
            validate_selector(spec, "daemonset", &path, &mut errors);
        }
        validate_template(spec, "DaemonSet", &path, &mut errors);
        non_negative(
            spec,
            &["minReadySeconds", "revisionHistoryLimit"],
            &path,
            &mut errors,
        );
        validate_strategy(
            &spec["updateStrategy"],
            &path.child("updateStrategy"),
            &mut errors,
        );
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        selector_is_immutable(new, old, &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        workload_status::daemon_set(new, old)
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some_and(|old| template_generation(old) == template_generation(new)) {
            return Vec::new();
        }
        template_warnings(new, None)
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
                Column::integer("Desired"),
                Column::integer("Current"),
                Column::integer("Ready"),
                Column::integer("Up-to-date"),
                Column::integer("Available"),
                Column::text("Node Selector"),
                AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, set: &Value, now: Timestamp) -> Row {
        let count = |field: &str| json!(set.integer(&format!("status.{field}")).unwrap_or(0));
        let [names, images] = table::containers(&set["spec"]["template"]["spec"]);
        Row::new(vec![
            table::name(set),
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberReady"),
            count("updatedNumberScheduled"),
            count("numberAvailable"),
            table::labels(set, "spec.template.spec.nodeSelector"),
            table::age(set, now),
            names,
            images,
            table::selector(set.at("spec.selector")),
        ])
    }
}

/// A count of changes of the template that apps/v1 only knows as an annotation.
fn template_generation(set: &Value) -> i64 {
    let annotations = set.at("metadata.annotations");
    let count = annotations.and_then(|all| all.get(TEMPLATE_GENERATION)?.as_str()?.parse().ok());
    count.unwrap_or(0)
}

fn set_template_generation(set: &mut Value, count: i64) {
    if let Some(annotations) = set.object("metadata.annotations") {
        annotations.insert(TEMPLATE_GENERATION.to_owned(), json!(count.to_string()));
    }
}

fn validate_strategy(strategy: &Value, path: &Path, errors: &mut Vec<Error>) {
    let rolling = path.child("rollingUpdate");
    match (strategy.text("type"), strategy.at("rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.push(Error::required(&rolling, "")),
        ("RollingUpdate", Some(update)) => {
            for field in ["maxUnavailable", "maxSurge"] {
                non_negative_int_or_percent(update, field, &rolling, errors);
                not_more_than_all(update, field, &rolling, errors);
            }
            let zero = |field: &str| {
                matches!(
                    int_or_percent(update, field),
                    None | Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0))
                )
            };
            let place = rolling.child("maxUnavailable");
            match (zero("maxUnavailable"), zero("maxSurge")) {
                (false, false) => errors.push(Error::invalid(
                    &rolling.child("maxSurge"),
                    update["maxSurge"].clone(),
                    "may not be set when maxUnavailable is non-zero",
                )),
                (true, true) => {
                    errors.push(Error::required(&place, "cannot be 0 when maxSurge is 0"));
                }
                _ => {}
            }
        }
        (other, update) => {
            let update = update.map_or_else(
                || "null".to_owned(),
                |update| {
                    let (unavailable, surge) = (&update["maxUnavailable"], &update["maxSurge"]);
                    format!("{{\"MaxUnavailable\":{unavailable},\"MaxSurge\":{surge}}}")
                },
            );
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":{update}}}", json!(other));
            let types = ["RollingUpdate", "OnDelete"];
            errors.push(Error::not_supported_shown(path, shown, &types));
        }
    }
}
