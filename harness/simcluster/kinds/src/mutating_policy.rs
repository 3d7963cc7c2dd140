//! MutatingAdmissionPolicy and MutatingAdmissionPolicyBinding: what may be stored. What a policy makes
//! of a write is decided in the server.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::cel::Gives;
use simcluster_machinery::field::{Error, Path};

use crate::admission_cel::{check, known, match_conditions};
use crate::admission_policy::{
    default_match, param_ref_cell, validate_bound, validate_constraints, validate_param_kind,
    validate_variables,
};
use crate::checks::{one_of, required_one_of};
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

/// A policy: expressions in CEL for how writes are changed.
pub(crate) struct Policy;

/// Where and with which parameters a policy is in force.
pub(crate) struct Binding;

impl KindRules for Policy {
    fn default(&self, policy: &mut Value) {
        policy.fill("spec.failurePolicy", "Fail");
        if policy.at("spec.matchConstraints").is_some() {
            default_match(&mut policy["spec"]["matchConstraints"]);
        }
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
        let kind = match policy.at("spec.paramKind") {
            Some(kind) => format!("{}/{}", kind.text("apiVersion"), kind.text("kind")),
            None => "<unset>".to_owned(),
        };
        Row::new(vec![
            table::name(policy),
            json!(policy.list("spec.mutations").len()),
            json!(kind),
            table::age(policy, now),
        ])
    }
}

impl KindRules for Binding {
    fn default(&self, binding: &mut Value) {
        if binding.at("spec.matchResources").is_some() {
            default_match(&mut binding["spec"]["matchResources"]);
        }
    }

    fn validate_create(&self, binding: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let empty = json!({});
        let spec = binding.at("spec").unwrap_or(&empty);
        validate_bound(spec, &Path::new("spec"), &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("PolicyName"),
                Column::text("ParamRef"),
                AGE,
            ]
        }
    }

    fn row(&self, binding: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(binding),
            json!(binding.text("spec.policyName")),
            json!(param_ref_cell(binding)),
            table::age(binding, now),
        ])
    }
}

fn validate_policy(policy: &Value, errors: &mut Vec<Error>) {
    let (empty, path) = (json!({}), Path::new("spec"));
    let spec = policy.at("spec").unwrap_or(&empty);
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], &path, errors);
    let has_params = spec.at("paramKind").is_some();
    if let Some(kind) = spec.at("paramKind") {
        validate_param_kind(kind, &path.child("paramKind"), errors);
    }
    validate_constraints(spec, &path, errors);
    let place = path.child("matchConditions");
    match_conditions(spec.list("matchConditions"), has_params, &place, errors);
    let mut known = known(has_params);
    validate_variables(spec, &path, &mut known, errors);
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
