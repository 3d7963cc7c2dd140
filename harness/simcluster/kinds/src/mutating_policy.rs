//! MutatingAdmissionPolicy: what may be stored. What a policy makes of a write is decided in the server,
//! where it is in force is said by its bindings.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::cel::Gives;
use simcluster_machinery::field::{Error, Path};

use crate::admission_cel::check;
use crate::admission_policy::{default_policy, policy_row, validate_premises};
use crate::checks::required_one_of;
use crate::read::Read;
use crate::rules::KindRules;
use crate::table::{AGE, Column, NAME, Row};

/// A policy: expressions in CEL for how writes are changed.
pub(crate) struct Policy;

impl KindRules for Policy {
    fn default(&self, policy: &mut Value) {
        default_policy(policy);
    }

    fn validate_create(&self, policy: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_policy(policy, &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::integer("Mutations"),
                Column::text("ParamKind"),
                AGE,
            ]
        }
    }

    fn row(&self, policy: &Value, now: Timestamp) -> Row {
        policy_row(policy, "spec.mutations", now)
    }
}

fn validate_policy(policy: &Value, errors: &mut Vec<Error>) {
    let (empty, path) = (json!({}), Path::new("spec"));
    let spec = policy.at("spec").unwrap_or(&empty);
    let known = validate_premises(spec, &path, errors);
    let mutations = spec.list("mutations");
    if mutations.is_empty() {
        let detail = "mutations must contain at least one item";
        errors.push(Error::required(&path.child("mutations"), detail));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let place = path.child("mutations").index(index);
        let types = ["ApplyConfiguration", "JSONPatch"];
        required_one_of(mutation, "patchType", &types, &place, errors);
        for (kind, field, gives) in [
            (types[0], "applyConfiguration", Gives::Configuration),
            (types[1], "jsonPatch", Gives::JsonPatch),
        ] {
            let place = place.child(field);
            let meant = mutation.text("patchType") == kind;
            match mutation.at(field) {
                None if meant => {
                    let detail = format!("must be specified when patchType is {kind}");
                    errors.push(Error::required(&place, detail));
                }
                Some(given) if !meant => {
                    let detail = format!("may only be specified when patchType is {kind}");
                    errors.push(Error::invalid(&place, given.clone(), detail));
                }
                Some(given) => {
                    let (place, text) = (place.child("expression"), given.text("expression"));
                    if text.trim().is_empty() {
                        errors.push(Error::required(&place, "expression is not specified"));
                    } else {
                        check(text, &known, gives, &place, errors);
                    }
                }
                None => {}
            }
        }
    }
    let policies = ["IfNeeded", "Never"];
    required_one_of(spec, "reinvocationPolicy", &policies, &path, errors);
}
