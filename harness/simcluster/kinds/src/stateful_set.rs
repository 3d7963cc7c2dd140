//! StatefulSet.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{
    IntOrPercent, int_or_percent, non_negative, non_negative_int_or_percent, not_more_than_all,
};
use crate::meta::{self, NameRule};
use crate::persistent_volume_claim;
use crate::pod::defaults;
use crate::read::{Fill, Read};
use crate::replica_set::{
    is_selector, same_generation, template_warnings, validate_selector, validate_template_with,
};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::claim_spec;
use crate::workload_status;

/// The fields of the spec that may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(crate) struct StatefulSet;

impl KindRules for StatefulSet {
    fn default(&self, set: &mut Value) {
        set.fill("spec.podManagementPolicy", "OrderedReady");
        set.fill("spec.updateStrategy.type", "RollingUpdate");
        if set.text("spec.updateStrategy.type") == "RollingUpdate" {
            set.fill("spec.updateStrategy.rollingUpdate.partition", 0);
        }
        for field in ["whenDeleted", "whenScaled"] {
            set.fill(
                &format!("spec.persistentVolumeClaimRetentionPolicy.{field}"),
                "Retain",
            );
        }
        set.fill("spec.replicas", 1);
        set.fill("spec.revisionHistoryLimit", 10);
        for claim in set.items("spec.volumeClaimTemplates") {
            claim.put("apiVersion", "v1");
            claim.put("kind", "PersistentVolumeClaim");
            claim.object("metadata");
            persistent_volume_claim::defaults(claim);
        }
        defaults::template(&mut set["spec"]["template"]);
    }

    fn initial_status(&self) -> Value {
        json!({"replicas": 0, "availableReplicas": 0})
    }

    fn validate_create(&self, set: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (&set["spec"], Path::new("spec"));
        let policy = spec.text("podManagementPolicy");
        if policy.is_empty() {
            errors.push(Error::required(&path.child("podManagementPolicy"), ""));
        } else if !matches!(policy, "OrderedReady" | "Parallel") {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.push(Error::invalid(
                &path.child("podManagementPolicy"),
                policy,
                detail,
            ));
        }
        validate_strategy(
            &spec["updateStrategy"],
            &path.child("updateStrategy"),
            &mut errors,
        );
        let retention = "persistentVolumeClaimRetentionPolicy";
        for field in ["whenDeleted", "whenScaled"] {
            let policy = spec.text(&format!("{retention}.{field}"));
            if !matches!(policy, "Retain" | "Delete") {
                let place = path.child(retention).child(field);
                errors.push(Error::not_supported(&place, policy, &["Retain", "Delete"]));
            }
        }
        non_negative(spec, &["replicas", "minReadySeconds"], &path, &mut errors);
        let start = spec.get("ordinals").unwrap_or(&Value::Null);
        non_negative(start, &["start"], &path.child("ordinals"), &mut errors);
        validate_selector(spec, "statefulset", &path, &mut errors);
        if is_selector(spec, "", &path, &mut errors) {
            // The pods' volumes come in part from the claims, so the server does not look into the pod's
            // spec: a wrong one shows when the first pod is made.
            let check = crate::pod::validation::template_metadata;
            validate_template_with(spec, "StatefulSet", &path, &mut errors, check);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let mut restored = new["spec"].clone();
        for field in MUTABLE {
            meta::keep(&mut restored, &old["spec"], field);
        }
        if restored != old["spec"] {
            errors.push(Error::forbidden(
                &Path::new("spec"),
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                 'template', 'updateStrategy', 'revisionHistoryLimit', \
                 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ));
        }
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        workload_status::stateful_set(new, old)
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some_and(|old| same_generation(new, old)) {
            return Vec::new();
        }
        let mut warnings = template_warnings(new, None);
        for (index, claim) in new.list("spec.volumeClaimTemplates").iter().enumerate() {
            let path = Path::new("spec").child("volumeClaimTemplates").index(index);
            // A server's paths of creates and updates differ.
            let path = old.map_or_else(|| path.clone(), |_| path.child("Spec"));
            claim_spec(&claim["spec"], &path, &mut warnings);
        }
        if new
            .integer("spec.revisionHistoryLimit")
            .is_some_and(|limit| limit < 0)
        {
            warnings.push(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a \
                 value >= 0 is recommended"
                    .to_owned(),
            );
        }
        warnings
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
                Column::text("Ready"),
                AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
            ]
        }
    }

    fn row(&self, set: &Value, now: Timestamp) -> Row {
        let count = |path: &str| set.integer(path).unwrap_or(0);
        let [names, images] = table::containers(&set["spec"]["template"]["spec"]);
        Row::new(vec![
            table::name(set),
            json!(format!(
                "{}/{}",
                count("status.readyReplicas"),
                count("spec.replicas")
            )),
            table::age(set, now),
            names,
            images,
        ])
    }
}

fn validate_strategy(strategy: &Value, path: &Path, errors: &mut Vec<Error>) {
    let rolling = path.child("rollingUpdate");
    match strategy.text("type") {
        "" => errors.push(Error::required(path, "")),
        "OnDelete" => {
            if let Some(update) = strategy.at("rollingUpdate") {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(Error::invalid_shown(
                    &rolling,
                    rolling_update(update),
                    detail,
                ));
            }
        }
        "RollingUpdate" => {
            let update = strategy.get("rollingUpdate").unwrap_or(&Value::Null);
            non_negative(update, &["partition"], &rolling, errors);
            let field = "maxUnavailable";
            non_negative_int_or_percent(update, field, &rolling, errors);
            if let Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0)) =
                int_or_percent(update, field)
            {
                let value = update[field].clone();
                errors.push(Error::invalid(&rolling.child(field), value, "cannot be 0"));
            }
            not_more_than_all(update, field, &rolling, errors);
        }
        other => {
            let update = strategy.get("rollingUpdate").unwrap_or(&Value::Null);
            let shown = format!(
                "{{\"Type\":{},\"RollingUpdate\":{}}}",
                json!(other),
                rolling_update(update)
            );
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(Error::invalid_shown(path, shown, detail));
        }
    }
}

/// A rolling update as the API shows it.
fn rolling_update(update: &Value) -> String {
    if update.is_null() {
        return "null".to_owned();
    }
    let partition = update.integer("partition").unwrap_or(0);
    let unavailable = update.at("maxUnavailable").unwrap_or(&Value::Null);
    format!("{{\"Partition\":{partition},\"MaxUnavailable\":{unavailable}}}")
}
