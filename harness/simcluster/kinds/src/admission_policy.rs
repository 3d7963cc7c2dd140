//! ValidatingAdmissionPolicy, and what it shares with MutatingAdmissionPolicy: what may be stored. What a
//! policy makes of a write is decided in the server, where it is in force is said by its bindings.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::cel::{Gives, Kind, Known};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::admission_binding::{default_match, validate_match};
use crate::admission_cel::{check, known, match_conditions};
use crate::checks::one_of;
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const REASONS: [&str; 4] = [
    "Forbidden",
    "Invalid",
    "RequestEntityTooLarge",
    "Unauthorized",
];
const MAX_ANNOTATIONS: usize = 20;

/// A policy: rules in CEL for what may be written.
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
                Column::integer("Validations"),
                Column::text("ParamKind"),
                AGE,
            ]
        }
    }

    fn row(&self, policy: &Value, now: Timestamp) -> Row {
        policy_row(policy, "spec.validations", now)
    }
}

/// What either kind of policy says, unless it is said otherwise.
pub(crate) fn default_policy(policy: &mut Value) {
    policy.fill("spec.failurePolicy", "Fail");
    if policy.at("spec.matchConstraints").is_some() {
        default_match(&mut policy["spec"]["matchConstraints"]);
    }
}

/// A policy of either kind in a table; `effects` is the list of what it does.
pub(crate) fn policy_row(policy: &Value, effects: &str, now: Timestamp) -> Row {
    let kind = match policy.at("spec.paramKind") {
        Some(kind) => format!("{}/{}", kind.text("apiVersion"), kind.text("kind")),
        None => "<unset>".to_owned(),
    };
    Row::new(vec![
        table::name(policy),
        json!(policy.list(effects).len()),
        json!(kind),
        table::age(policy, now),
    ])
}

fn validate_policy(policy: &Value, errors: &mut Vec<Error>) {
    let (empty, path) = (json!({}), Path::new("spec"));
    let spec = policy.at("spec").unwrap_or(&empty);
    let known = validate_premises(spec, &path, errors);
    let annotations = spec.list("auditAnnotations");
    if spec.list("validations").is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        for field in ["validations", "auditAnnotations"] {
            errors.push(Error::required(&path.child(field), detail));
        }
        return;
    }
    for (index, validation) in spec.list("validations").iter().enumerate() {
        let place = path.child("validations").index(index);
        validate_validation(validation, &known, &place, errors);
    }
    validate_annotations(annotations, &known, &path.child("auditAnnotations"), errors);
}

/// What policies of either kind say before what they do; gives what expressions there may use.
pub(crate) fn validate_premises(
    spec: &Value,
    path: &Path,
    errors: &mut Vec<Error>,
) -> BTreeMap<String, Known> {
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], path, errors);
    let has_params = spec.at("paramKind").is_some();
    if let Some(kind) = spec.at("paramKind") {
        validate_param_kind(kind, &path.child("paramKind"), errors);
    }
    validate_constraints(spec, path, errors);
    let place = path.child("matchConditions");
    match_conditions(spec.list("matchConditions"), has_params, &place, errors);
    let mut known = known(has_params);
    validate_variables(spec, path, &mut known, errors);
    known
}

/// Variables in their order: each may use those before it.
fn validate_variables(
    spec: &Value,
    path: &Path,
    known: &mut BTreeMap<String, Known>,
    errors: &mut Vec<Error>,
) {
    let variables = spec.list("variables");
    if variables.is_empty() {
        return;
    }
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    known.insert("variables".to_owned(), Known::Results(kinds.clone()));
    for (index, variable) in variables.iter().enumerate() {
        let path = path.child("variables").index(index);
        let own = variable.text("name");
        if own.trim().is_empty() {
            errors.push(Error::required(
                &path.child("name"),
                "name is not specified",
            ));
        } else if !is_identifier(own) {
            let detail = "name is not a valid CEL identifier";
            errors.push(Error::invalid(&path.child("name"), own, detail));
        }
        let (place, text) = (path.child("expression"), variable.text("expression"));
        if text.trim().is_empty() {
            errors.push(Error::required(&place, "expression is not specified"));
        } else if let Some(expression) = check(text, known, Gives::Anything, &place, errors) {
            kinds.insert(own.to_owned(), expression.kind());
            known.insert("variables".to_owned(), Known::Results(kinds.clone()));
        }
    }
}

/// What a policy concerns; without rules its expressions would have no types.
fn validate_constraints(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    match spec.at("matchConstraints") {
        None => errors.push(Error::required(&path.child("matchConstraints"), "")),
        Some(resources) => {
            let place = path.child("matchConstraints");
            validate_match(resources, &place, errors);
            if resources.list("resourceRules").is_empty() {
                errors.push(Error::required(&place.child("resourceRules"), ""));
            }
        }
    }
}

fn validate_validation(
    validation: &Value,
    known: &BTreeMap<String, Known>,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let (place, text) = (path.child("expression"), validation.text("expression"));
    if text.trim().is_empty() {
        errors.push(Error::required(&place, "expression is not specified"));
    } else {
        check(text, known, Gives::Condition, &place, errors);
    }
    let (place, text) = (
        path.child("messageExpression"),
        validation.text("messageExpression"),
    );
    if !text.is_empty() && text.trim().is_empty() {
        errors.push(Error::invalid(
            &place,
            text,
            "must be non-empty if specified",
        ));
    } else if !text.is_empty() {
        check(text, known, Gives::Text, &place, errors);
    }
    let (place, text) = (path.child("message"), validation.text("message"));
    if !text.is_empty() && text.trim().is_empty() {
        let detail = "message must be non-empty if specified";
        errors.push(Error::invalid(&place, text, detail));
    } else if text.trim().contains('\n') {
        errors.push(Error::invalid(
            &place,
            text,
            "message must not contain line breaks",
        ));
    }
    one_of(validation, "reason", &REASONS, path, errors);
}

fn validate_annotations(
    annotations: &[Value],
    known: &BTreeMap<String, Known>,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if annotations.len() > MAX_ANNOTATIONS {
        let detail = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.push(Error::invalid(path, json!(annotations), detail));
    }
    let mut keys: Vec<&str> = Vec::new();
    for (index, annotation) in annotations.iter().enumerate() {
        let path = path.index(index);
        let (place, key) = (path.child("key"), annotation.text("key"));
        if key.is_empty() {
            errors.push(Error::required(&place, "key is not specified"));
        } else {
            complain(errors, &place, key, name::qualified_name(key));
        }
        let (place, text) = (
            path.child("valueExpression"),
            annotation.text("valueExpression"),
        );
        if text.trim().is_empty() {
            errors.push(Error::required(&place, "valueExpression is not specified"));
        } else {
            check(text, known, Gives::TextOrNull, &place, errors);
        }
        if keys.contains(&key) {
            errors.push(Error::duplicate(&path.child("key"), key));
        }
        keys.push(key);
    }
}

fn validate_param_kind(kind: &Value, path: &Path, errors: &mut Vec<Error>) {
    let (place, text) = (path.child("apiVersion"), kind.text("apiVersion"));
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    if text.is_empty() {
        errors.push(Error::required(&place, ""));
    } else if version.contains('/') {
        let detail = format!("unexpected GroupVersion string: {text}");
        errors.push(Error::invalid(&place, text, detail));
    } else {
        let complaints = if group.is_empty() {
            Vec::new()
        } else {
            name::dns1123_subdomain(group)
        };
        if !complaints.is_empty() {
            errors.push(Error::invalid(&place, group, complaints.join(",")));
        }
        if version.is_empty() {
            errors.push(Error::invalid(&place, text, "version must be specified"));
        } else if let complaints = name::dns1035_label(version)
            && !complaints.is_empty()
        {
            errors.push(Error::invalid(&place, version, complaints.join(",")));
        }
    }
    let (place, own) = (path.child("kind"), kind.text("kind"));
    if own.is_empty() {
        errors.push(Error::required(&place, ""));
    } else if let complaints = name::dns1035_label(&own.to_lowercase())
        && !complaints.is_empty()
    {
        let detail = format!(
            "may have mixed case, but should otherwise match: {}",
            complaints.join(",")
        );
        errors.push(Error::invalid(&place, own, detail));
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
}
