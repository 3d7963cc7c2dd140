//! ResourceQuota.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::{IMMUTABLE, NEGATIVE};
use crate::read::{Fill, Read};
use crate::resources;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

/// Resources that are counted and not measured.
const WHOLE: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const MEASURED: [&str; 10] = [
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
];
const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

pub(crate) struct ResourceQuota;

/// Whether a quota can limit it.
fn is_counted(name: &str) -> bool {
    WHOLE.contains(&name)
        || MEASURED.contains(&name)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
}

/// Whether objects that a scope picks out use the resource.
fn scope_has(scope: &str, name: &str) -> bool {
    const OF_PODS: [&str; 6] = [
        "cpu",
        "limits.cpu",
        "limits.memory",
        "memory",
        "requests.cpu",
        "requests.memory",
    ];
    match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ if SCOPES.contains(&scope) => name == "pods" || OF_PODS.contains(&name),
        _ => true,
    }
}

fn limited(quota: &Value) -> impl Iterator<Item = String> {
    let names = resources::quantities(quota, "spec.hard").into_keys();
    names.filter(|name| is_counted(name))
}

fn validate_scopes(quota: &Value, errors: &mut Vec<Error>) {
    let scopes = quota.texts("spec.scopes");
    let path = Path::new("spec").child("scopes");
    let mut refuse = |detail: &str| {
        errors.push(Error::invalid(
            &path,
            quota["spec"]["scopes"].clone(),
            detail,
        ));
    };
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            refuse("unsupported scope");
        }
        for _ in limited(quota).filter(|name| !scope_has(scope, name)) {
            refuse("unsupported scope applied to resource");
        }
    }
    for pair in [
        ["BestEffort", "NotBestEffort"],
        ["Terminating", "NotTerminating"],
    ] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            refuse("conflicting scopes");
        }
    }
}

fn validate_selector(quota: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec")
        .child("scopeSelector")
        .child("matchExpressions");
    for expression in quota.list("spec.scopeSelector.matchExpressions") {
        let (scope, operator) = (expression.text("scopeName"), expression.text("operator"));
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(
                &path.child("scopeName"),
                scope,
                "unsupported scope",
            ));
        }
        for _ in limited(quota).filter(|name| !scope_has(scope, name)) {
            let given = quota["spec"]["scopeSelector"].clone();
            let detail = "unsupported scope applied to resource";
            errors.push(Error::invalid(&path, given, detail));
        }
        let has_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if SCOPES.contains(&scope) && !has_values && operator != "Exists" {
            errors.push(Error::invalid(
                &path.child("operator"),
                operator,
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                 ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                 ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            ));
        }
        let values = expression.list("values");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.push(Error::required(
                &path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(Error::invalid(
                &path.child("values"),
                values.to_vec(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(Error::invalid(
                &path.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
    }
}

impl KindRules for ResourceQuota {
    fn default(&self, quota: &mut Value) {
        if quota.inner("spec.hard").is_some() {
            resources::round_list(quota, "spec.hard");
        }
    }

    fn validate_create(&self, quota: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("hard");
        for (name, amount) in resources::quantities(quota, "spec.hard") {
            let path = path.key(&name);
            resources::validate_any_name(&name, &path, &mut errors);
            if !name.contains('/') && !is_counted(&name) {
                let detail = "must be a standard resource for quota";
                errors.push(Error::invalid(&path, name.as_str(), detail));
            }
            if amount.is_negative() {
                errors.push(Error::invalid(&path, amount.to_string(), NEGATIVE));
            }
            if (WHOLE.contains(&name.as_str()) || resources::is_integer_resource(&name))
                && !amount.is_integer()
            {
                let detail = "must be an integer";
                errors.push(Error::invalid(&path, amount.to_string(), detail));
            }
        }
        validate_scopes(quota, &mut errors);
        validate_selector(quota, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        if new.at("spec.scopes") != old.at("spec.scopes") {
            let given = new.at("spec.scopes").cloned().unwrap_or(Value::Null);
            errors.push(Error::invalid(
                &Path::new("spec").child("scopes"),
                given,
                IMMUTABLE,
            ));
        }
        errors
    }

    fn has_status(&self) -> bool {
        true
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Request"), Column::text("Limit"), AGE] }
    }

    fn row(&self, quota: &Value, now: Timestamp) -> Row {
        let used = resources::quantities(quota, "status.used");
        let hard = resources::quantities(quota, "status.hard");
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in &hard {
            let used = used
                .get(name)
                .map_or_else(|| "0".to_owned(), ToString::to_string);
            let text = format!("{name}: {used}/{hard}");
            if name.starts_with("limits.") {
                limits.push(text);
            } else {
                requests.push(text);
            }
        }
        Row::new(vec![
            table::name(quota),
            json!(requests.join(", ")),
            json!(limits.join(", ")),
            table::age(quota, now),
        ])
    }
}
