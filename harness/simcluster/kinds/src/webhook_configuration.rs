//! ValidatingWebhookConfiguration and MutatingWebhookConfiguration.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, ErrorKind, Path};
use simcluster_machinery::name;
use simcluster_machinery::webhook_client::{validate_service, validate_url};

use crate::admission_cel::match_conditions;
use crate::checks::{label_selector, one_of};
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const PORT: i64 = 443;
const TIMEOUT_SECONDS: i64 = 10;
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

/// A configuration of webhooks that may change objects, or that may not.
pub(crate) struct WebhookConfiguration {
    pub(crate) mutating: bool,
}

impl KindRules for WebhookConfiguration {
    fn default(&self, configuration: &mut Value) {
        for webhook in configuration.items("webhooks") {
            webhook.fill("failurePolicy", "Fail");
            webhook.fill("matchPolicy", "Equivalent");
            webhook.fill("namespaceSelector", json!({}));
            webhook.fill("objectSelector", json!({}));
            webhook.fill("timeoutSeconds", TIMEOUT_SECONDS);
            if self.mutating {
                webhook.fill("reinvocationPolicy", "Never");
            }
            for rule in webhook.items("rules") {
                rule.fill("scope", "*");
            }
            if webhook.at("clientConfig.service").is_some() {
                webhook.fill("clientConfig.service.port", PORT);
            }
        }
    }

    fn validate_create(&self, configuration: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut names = BTreeSet::new();
        for (index, webhook) in configuration.list("webhooks").iter().enumerate() {
            let path = Path::new("webhooks").index(index);
            validate(webhook, &path, &mut errors);
            review_versions(webhook, &path.child("admissionReviewVersions"), &mut errors);
            let own = webhook.text("name");
            if !own.is_empty() && !names.insert(own) {
                errors.push(Error::duplicate(&path.child("name"), own));
            }
        }
        errors
    }

    /// What was wrong before in all configurations' webhooks alike may stay.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let before = self.validate_create(old);
        for rule in [is_of_names, is_of_versions, is_of_side_effects] {
            if before.iter().any(rule) {
                errors.retain(|error| !rule(error));
            }
        }
        let conditions = |configuration: &Value| -> Vec<Value> {
            let webhooks = configuration.list("webhooks").iter();
            webhooks.map(|one| one["matchConditions"].clone()).collect()
        };
        if conditions(new) == conditions(old) {
            errors.retain(|error| !error.path.as_str().contains("].matchConditions"));
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        new.at("webhooks") != old.at("webhooks")
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::integer("Webhooks"), AGE] }
    }

    fn row(&self, configuration: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(configuration),
            json!(configuration.list("webhooks").len()),
            table::age(configuration, now),
        ])
    }
}

fn is_of_names(error: &Error) -> bool {
    error.kind == ErrorKind::Duplicate && error.path.as_str().ends_with("].name")
}

fn is_of_versions(error: &Error) -> bool {
    error.path.as_str().ends_with("].admissionReviewVersions")
        && error.detail.starts_with("must include")
}

fn is_of_side_effects(error: &Error) -> bool {
    error.kind == ErrorKind::NotSupported && error.path.as_str().ends_with("].sideEffects")
}

/// The versions of reviews that a webhook reads: some that servers speak, each once.
fn review_versions(webhook: &Value, path: &Path, errors: &mut Vec<Error>) {
    let versions = webhook.texts("admissionReviewVersions");
    if versions.is_empty() {
        errors.push(Error::required(path, "must specify one of v1, v1beta1"));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        let place = path.index(index);
        if versions[..index].contains(version) {
            errors.push(Error::invalid(&place, *version, "duplicate version"));
        } else {
            complain(errors, &place, version, name::dns1035_label(version));
        }
    }
    let known = |version: &&str| matches!(*version, "v1" | "v1beta1");
    if !versions.iter().any(known) {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(Error::invalid(path, json!(versions), detail));
    }
}

fn validate(webhook: &Value, path: &Path, errors: &mut Vec<Error>) {
    let (own_name, place) = (webhook.text("name"), path.child("name"));
    if own_name.is_empty() {
        errors.push(Error::required(&place, ""));
    } else {
        let complaints = name::dns1123_subdomain(own_name);
        if !complaints.is_empty() {
            errors.push(Error::invalid(&place, own_name, complaints.join(",")));
        } else if own_name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.push(Error::invalid(&place, own_name, detail));
        }
    }
    for (index, rule) in webhook.list("rules").iter().enumerate() {
        validate_rule(rule, &path.child("rules").index(index), errors);
    }
    one_of(webhook, "failurePolicy", &["Fail", "Ignore"], path, errors);
    one_of(
        webhook,
        "matchPolicy",
        &["Equivalent", "Exact"],
        path,
        errors,
    );
    if webhook.lacks("sideEffects") {
        let detail = "must specify one of None, NoneOnDryRun";
        errors.push(Error::required(&path.child("sideEffects"), detail));
    } else {
        one_of(
            webhook,
            "sideEffects",
            &["None", "NoneOnDryRun"],
            path,
            errors,
        );
    }
    if let Some(seconds) = webhook
        .integer("timeoutSeconds")
        .filter(|one| !(1..=30).contains(one))
    {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(
            &path.child("timeoutSeconds"),
            seconds,
            detail,
        ));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        label_selector(webhook.at(selector), &path.child(selector), errors);
    }
    one_of(
        webhook,
        "reinvocationPolicy",
        &["IfNeeded", "Never"],
        path,
        errors,
    );
    let client = path.child("clientConfig");
    let (url, service) = (
        webhook.at("clientConfig.url"),
        webhook.at("clientConfig.service"),
    );
    if url.is_some() == service.is_some() {
        errors.push(Error::required(
            &client,
            "exactly one of url or service is required",
        ));
    } else if let Some(url) = url.and_then(Value::as_str) {
        errors.extend(validate_url(url, &client.child("url")));
    } else if let Some(service) = service {
        errors.extend(validate_service(service, &client.child("service")));
    }
    let conditions = webhook.list("matchConditions");
    match_conditions(conditions, false, &path.child("matchConditions"), errors);
}

/// Checks what a webhook or policy is asked about.
pub(crate) fn validate_rule(rule: &Value, path: &Path, errors: &mut Vec<Error>) {
    for (field, words) in [
        ("operations", "operations"),
        ("apiGroups", "API groups"),
        ("apiVersions", "API versions"),
    ] {
        let (values, place) = (rule.texts(field), path.child(field));
        if values.is_empty() {
            errors.push(Error::required(&place, ""));
        }
        if values.len() > 1 && values.contains(&"*") {
            let detail = format!("if '*' is present, must not specify other {words}");
            errors.push(Error::invalid(&place, json!(values), detail));
        }
        for (index, value) in values.into_iter().enumerate() {
            let place = place.index(index);
            match field {
                "operations" if !OPERATIONS.contains(&value) => {
                    errors.push(Error::not_supported(&place, value, &OPERATIONS));
                }
                "apiVersions" if value.is_empty() => errors.push(Error::required(&place, "")),
                _ => {}
            }
        }
    }
    let resources = rule.texts("resources");
    validate_resources(&resources, &path.child("resources"), errors);
    one_of(rule, "scope", &["*", "Cluster", "Namespaced"], path, errors);
}

/// Resources with their parts, none of them twice by way of a wildcard.
fn validate_resources(resources: &[&str], path: &Path, errors: &mut Vec<Error>) {
    if resources.is_empty() {
        errors.push(Error::required(path, ""));
    }
    let (mut all_parts, mut of_all) = (BTreeSet::new(), BTreeSet::new());
    let mut last_is_whole = false;
    for (index, one) in resources.iter().enumerate() {
        let place = path.index(index);
        if one.is_empty() {
            errors.push(Error::required(&place, ""));
            continue;
        }
        let Some((resource, part)) = one.split_once('/') else {
            last_is_whole = *one != "*";
            continue;
        };
        if all_parts.contains(resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {one}");
            errors.push(Error::invalid(&place, *one, detail));
        }
        if of_all.contains(part) {
            let detail = format!("if '*/{part}' is present, must not specify {one}");
            errors.push(Error::invalid(&place, *one, detail));
        }
        if part == "*" {
            all_parts.insert(resource);
        }
        if resource == "*" {
            of_all.insert(part);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(Error::invalid(path, json!(resources), detail));
    }
    if resources.contains(&"*") && last_is_whole {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(Error::invalid(path, json!(resources), detail));
    }
}
