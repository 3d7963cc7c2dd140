//! ReplicationController, the ancestor of ReplicaSet: its selector is a plain map of labels.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{non_negative, required};
use crate::pod::{defaults, validation};
use crate::read::{Fill, Read};
use crate::replica_set::{REPLICA_COLUMNS, replica_row, workload_warnings};
use crate::rules::KindRules;
use crate::table::{self, Column, Row};

pub(crate) struct ReplicationController;

impl KindRules for ReplicationController {
    fn default(&self, controller: &mut Value) {
        controller.fill("spec.replicas", 1);
        if controller.at("spec.template").is_some() {
            defaults::template(&mut controller["spec"]["template"]);
        }
        let labels = controller.at("spec.template.metadata.labels").cloned();
        if let Some(labels) = labels {
            for path in ["spec.selector", "metadata.labels"] {
                if controller.lacks(path) {
                    controller.put(path, labels.clone());
                }
            }
        }
    }

    fn initial_status(&self) -> Value {
        json!({"replicas": 0})
    }

    fn validate_create(&self, controller: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (&controller["spec"], Path::new("spec"));
        non_negative(spec, &["minReadySeconds"], &path, &mut errors);
        required(spec, "selector", &path, &mut errors);
        non_negative(spec, &["replicas"], &path, &mut errors);
        let template_path = path.child("template");
        let Some(template) = spec.at("template") else {
            errors.push(Error::required(&template_path, ""));
            return errors;
        };
        let labels = template.at("metadata.labels").cloned().unwrap_or(json!({}));
        if spec
            .map("selector")
            .any(|(key, value)| labels.get(key) != Some(value))
        {
            errors.push(Error::invalid(
                &template_path.child("metadata").child("labels"),
                labels,
                "`selector` does not match template `labels`",
            ));
        }
        validation::template(template, &template_path, &mut errors);
        let policy = template.text("spec.restartPolicy");
        if policy != "Always" {
            let place = template_path.child("spec").child("restartPolicy");
            errors.push(Error::not_supported(&place, policy, &["Always"]));
        }
        if template.at("spec.activeDeadlineSeconds").is_some() {
            let place = template_path.child("spec").child("activeDeadlineSeconds");
            let detail = "activeDeadlineSeconds in ReplicationController is not Supported";
            errors.push(Error::forbidden(&place, detail));
        }
        errors
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

    fn selectable_fields(&self, controller: &Value) -> Vec<(&'static str, String)> {
        let replicas = controller.integer("status.replicas").unwrap_or(0);
        vec![("status.replicas", replicas.to_string())]
    }

    fn columns(&self) -> &'static [Column] {
        REPLICA_COLUMNS
    }

    fn row(&self, controller: &Value, now: Timestamp) -> Row {
        let mut row = replica_row(controller, now);
        row.cells.push(table::labels(controller, "spec.selector"));
        row
    }
}
