//! ValidatingWebhookConfiguration and MutatingWebhookConfiguration.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
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
            if !names.insert(webhook.text("name")) {
                errors.push(Error::duplicate(&path.child("name"), webhook.text("name")));
            }
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

fn validate(webhook: &Value, path: &Path, errors: &mut Vec<Error>) {
    let (own_name, place) = (webhook.text("name"), path.child("name"));
    if own_name.is_empty() {
        errors.push(Error::required(&place, ""));
    } else {
        let complaints = name::dns1123_subdomain(own_name);
        let sound = complaints.is_empty();
        complain(errors, &place, own_name, complaints);
        if sound && own_name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.push(Error::invalid(&place, own_name, detail));
        }
    }
    for (index, rule) in webhook.list("rules").iter().enumerate() {
        validate_rule(rule, &path.child("rules").index(index), errors);
    }
    let versions = webhook.texts("admissionReviewVersions");
    let place = path.child("admissionReviewVersions");
    if versions.is_empty() {
        errors.push(Error::required(&place, "must specify one of v1, v1beta1"));
    } else if !versions
        .iter()
        .any(|version| matches!(*version, "v1" | "v1beta1"))
    {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(Error::invalid(&place, json!(versions), detail));
    }
    one_of(webhook, "failurePolicy", &["Fail", "Ignore"], path, errors);
    one_of(
        webhook,
        "matchPolicy",
        &["Equivalent", "Exact"],
        path,
        errors,
    );
    one_of(
        webhook,
        "reinvocationPolicy",
        &["IfNeeded", "Never"],
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
    let conditions = webhook.list("matchConditions");
    match_conditions(conditions, false, &path.child("matchConditions"), errors);
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
}

/// Checks what a webhook or policy is asked about.
pub(crate) fn validate_rule(rule: &Value, path: &Path, errors: &mut Vec<Error>) {
    for field in ["apiGroups", "apiVersions", "resources", "operations"] {
        if rule.lacks(field) {
            errors.push(Error::required(&path.child(field), ""));
        } else if field != "resources" && field != "operations" {
            let values = rule.texts(field);
            if values.len() > 1 && values.contains(&"*") {
                let detail = "if '*' is present, must not specify other values";
                let detail = detail.replace("values", field_words(field));
                errors.push(Error::invalid(&path.child(field), json!(values), detail));
            }
        }
    }
    for (index, operation) in rule.texts("operations").into_iter().enumerate() {
        if !OPERATIONS.contains(&operation) {
            let place = path.child("operations").index(index);
            errors.push(Error::not_supported(&place, operation, &OPERATIONS));
        }
    }
    one_of(rule, "scope", &["*", "Cluster", "Namespaced"], path, errors);
}

fn field_words(field: &str) -> &'static str {
    if field == "apiGroups" {
        "API groups"
    } else {
        "API versions"
    }
}
