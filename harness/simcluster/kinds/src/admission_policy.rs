//! ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding: what may be stored. What a policy
//! makes of a write is decided in the server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::cel::{Gives, Kind, Known};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::admission_cel::{check, known, match_conditions};
use crate::checks::{label_selector, one_of, required, required_one_of};
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::webhook_configuration::validate_rule;

const REASONS: [&str; 4] = [
    "Forbidden",
    "Invalid",
    "RequestEntityTooLarge",
    "Unauthorized",
];
const MAX_ANNOTATIONS: usize = 20;

/// A policy: rules in CEL for what may be written.
pub(crate) struct Policy;

/// Where and with which parameters a policy is in force.
pub(crate) struct Binding;

/// Which resources, unless it is said otherwise.
pub(crate) fn default_match(resources: &mut Value) {
    resources.fill("matchPolicy", "Equivalent");
    resources.fill("namespaceSelector", json!({}));
    resources.fill("objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in resources.items(rules) {
            rule.fill("scope", "*");
        }
    }
}

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
        let kind = match policy.at("spec.paramKind") {
            Some(kind) => format!("{}/{}", kind.text("apiVersion"), kind.text("kind")),
            None => "<unset>".to_owned(),
        };
        Row::new(vec![
            table::name(policy),
            json!(policy.list("spec.validations").len()),
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
        validate_binding(binding, &mut errors);
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

/// Variables in their order: each may use those before it.
pub(crate) fn validate_variables(
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
pub(crate) fn validate_constraints(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
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

/// The parameters of a binding, as a table shows them.
pub(crate) fn param_ref_cell(binding: &Value) -> String {
    match binding.at("spec.paramRef") {
        Some(param) if param.lacks("name") => "*".to_owned(),
        Some(param) if param.lacks("namespace") => param.text("name").to_owned(),
        Some(param) => format!("{}/{}", param.text("namespace"), param.text("name")),
        None => "<unset>".to_owned(),
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

pub(crate) fn validate_param_kind(kind: &Value, path: &Path, errors: &mut Vec<Error>) {
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

fn validate_match(resources: &Value, path: &Path, errors: &mut Vec<Error>) {
    let policies = ["Equivalent", "Exact"];
    required_one_of(resources, "matchPolicy", &policies, path, errors);
    for selector in ["namespaceSelector", "objectSelector"] {
        label_selector(resources.at(selector), &path.child(selector), errors);
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in resources.list(rules).iter().enumerate() {
            let path = path.child(rules).index(index);
            let names = rule.texts("resourceNames");
            for (at, own) in names.iter().enumerate() {
                let place = path.child("resourceNames").index(at);
                complain(errors, &place, own, name::path_segment(own));
                if names[..at].contains(own) {
                    errors.push(Error::duplicate(&place, *own));
                }
            }
            validate_rule(rule, &path, errors);
        }
    }
}

fn validate_binding(binding: &Value, errors: &mut Vec<Error>) {
    let (empty, path) = (json!({}), Path::new("spec"));
    let spec = binding.at("spec").unwrap_or(&empty);
    validate_bound(spec, &path, errors);
    let (place, actions) = (
        path.child("validationActions"),
        spec.texts("validationActions"),
    );
    for (index, action) in actions.iter().enumerate() {
        let place = place.index(index);
        let all = ["Audit", "Deny", "Warn"];
        if !all.contains(action) {
            errors.push(Error::not_supported(&place, *action, &all));
        }
        if actions[..index].contains(action) {
            errors.push(Error::duplicate(&place, *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure \
                      information in the API response and headers serves no purpose)";
        errors.push(Error::invalid(&place, json!(actions), detail));
    }
    if actions.is_empty() {
        let detail = "at least one validation action is required";
        errors.push(Error::required(&place, detail));
    }
}

/// What bindings of either kind of policy say.
pub(crate) fn validate_bound(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
    let policy = spec.text("policyName");
    if policy.is_empty() {
        errors.push(Error::required(&path.child("policyName"), ""));
    } else {
        complain(
            errors,
            &path.child("policyName"),
            policy,
            name::dns1123_subdomain(policy),
        );
    }
    if let Some(param) = spec.at("paramRef") {
        validate_param_ref(param, &path.child("paramRef"), errors);
    }
    if let Some(resources) = spec.at("matchResources") {
        validate_match(resources, &path.child("matchResources"), errors);
    }
}

fn validate_param_ref(param: &Value, path: &Path, errors: &mut Vec<Error>) {
    let (own, selector) = (param.text("name"), param.at("selector"));
    let both = "name and selector are mutually exclusive";
    if !own.is_empty() {
        complain(errors, &path.child("name"), own, name::path_segment(own));
        if selector.is_some() {
            errors.push(Error::forbidden(&path.child("name"), both));
        }
    }
    if selector.is_some() {
        label_selector(selector, &path.child("selector"), errors);
        if !own.is_empty() {
            errors.push(Error::forbidden(&path.child("selector"), both));
        }
    }
    if own.is_empty() && selector.is_none() {
        errors.push(Error::required(
            path,
            "one of name or selector must be specified",
        ));
    }
    required(param, "parameterNotFoundAction", path, errors);
    one_of(
        param,
        "parameterNotFoundAction",
        &["Allow", "Deny"],
        path,
        errors,
    );
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
}
