//! ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding: what may be stored. What a policy
//! does where it is in force is said by the policy.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{label_selector, one_of, required, required_one_of};
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::webhook_configuration::validate_rule;

/// Where and with which parameters a policy is in force.
pub(crate) struct Binding {
    /// Whether its policy changes what is written; one that judges also says how.
    pub(crate) mutating: bool,
}

impl KindRules for Binding {
    fn default(&self, binding: &mut Value) {
        if binding.at("spec.matchResources").is_some() {
            default_match(&mut binding["spec"]["matchResources"]);
        }
    }

    fn validate_create(&self, binding: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (empty, path) = (json!({}), Path::new("spec"));
        let spec = binding.at("spec").unwrap_or(&empty);
        validate_bound(spec, &path, &mut errors);
        if !self.mutating {
            validate_actions(spec, &path, &mut errors);
        }
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

/// The parameters of a binding, as a table shows them.
fn param_ref_cell(binding: &Value) -> String {
    match binding.at("spec.paramRef") {
        Some(param) if param.lacks("name") => "*".to_owned(),
        Some(param) if param.lacks("namespace") => param.text("name").to_owned(),
        Some(param) => format!("{}/{}", param.text("namespace"), param.text("name")),
        None => "<unset>".to_owned(),
    }
}

/// What bindings of either kind of policy say.
fn validate_bound(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
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

/// What a policy that judges may do to a write.
fn validate_actions(spec: &Value, path: &Path, errors: &mut Vec<Error>) {
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

/// Which resources are meant.
pub(crate) fn validate_match(resources: &Value, path: &Path, errors: &mut Vec<Error>) {
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
