//! ResourceQuota.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::checks::IMMUTABLE;
use crate::read::Read;
use crate::resources::{self, WHOLE};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

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
    for _ in conflicts(&scopes) {
        refuse("conflicting scopes");
    }
}

/// The pairs of scopes that no object is in at once.
fn conflicts<'a>(scopes: &'a [&str]) -> impl Iterator<Item = [&'static str; 2]> + 'a {
    let pairs = [
        ["BestEffort", "NotBestEffort"],
        ["Terminating", "NotTerminating"],
    ];
    let both = |pair: &[&'static str; 2]| pair.iter().all(|scope| scopes.contains(scope));
    pairs.into_iter().filter(both)
}

/// The selector as JSON of the type that the server has inside.
fn selector_json(quota: &Value) -> String {
    let expressions = quota.list("spec.scopeSelector.matchExpressions").iter();
    let expressions = expressions.map(|one| {
        format!(
            "{{\"ScopeName\":{},\"Operator\":{},\"Values\":{}}}",
            one["scopeName"],
            one["operator"],
            one.at("values").unwrap_or(&Value::Null),
        )
    });
    let expressions: Vec<String> = expressions.collect();
    format!("{{\"MatchExpressions\":[{}]}}", expressions.join(","))
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
            let detail = "unsupported scope applied to resource";
            errors.push(Error::invalid_shown(&path, selector_json(quota), detail));
        }
        let has_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if SCOPES.contains(&scope) && !has_values && operator != "Exists" {
            errors.push(Error::invalid(
                &path.child("operator"),
                operator,
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
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
    let expressions = quota.list("spec.scopeSelector.matchExpressions").iter();
    let scopes: Vec<&str> = expressions.map(|one| one.text("scopeName")).collect();
    for _ in conflicts(&scopes) {
        // It shows the other list of scopes, which may be absent.
        let shown = quota.at("spec.scopes").cloned().unwrap_or(Value::Null);
        errors.push(Error::invalid(&path, shown, "conflicting scopes"));
    }
}

/// Names and amounts of a list of what a quota counts.
fn validate_amounts(quota: &Value, list: &str, errors: &mut Vec<Error>) {
    let (parent, field) = list.split_once('.').unwrap_or((list, ""));
    for (name, amount) in resources::quantities(quota, list) {
        let path = Path::new(parent).child(field).key(&name);
        resources::validate_any_name(&name, &path, errors);
        if !name.contains('/') && !is_counted(&name) {
            let detail = "must be a standard resource for quota";
            errors.push(Error::invalid(&path, name.as_str(), detail));
        }
        resources::validate_quantity(&name, amount, &path, errors);
    }
}

impl KindRules for ResourceQuota {
    fn default(&self, quota: &mut Value) {
        for list in ["spec.hard", "status.hard", "status.used"] {
            resources::round_list(quota, list);
        }
    }

    fn validate_create(&self, quota: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_amounts(quota, "spec.hard", &mut errors);
        validate_scopes(quota, &mut errors);
        validate_selector(quota, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let scopes = |quota: &Value| -> BTreeSet<String> {
            let scopes = quota.texts("spec.scopes").into_iter();
            scopes.map(str::to_owned).collect()
        };
        if scopes(new) != scopes(old) {
            let given = new.at("spec.scopes").cloned().unwrap_or(Value::Null);
            errors.push(Error::invalid(
                &Path::new("spec").child("scopes"),
                given,
                IMMUTABLE,
            ));
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        for list in ["status.hard", "status.used"] {
            validate_amounts(new, list, &mut errors);
        }
        errors
    }

    /// Requests above limits, of new quotas only.
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let hard = resources::quantities(new, "spec.hard");
        let mut warnings = Vec::new();
        for name in ["cpu", "memory", "storage", "ephemeral-storage"] {
            let bare = matches!(name, "cpu" | "memory").then(|| hard.get_key_value(name));
            let request = hard
                .get_key_value(&format!("requests.{name}"))
                .or(bare.flatten());
            let limit = hard.get_key_value(&format!("limits.{name}"));
            if let (Some((request_name, request)), Some((limit_name, limit))) = (request, limit)
                && request > limit
            {
                warnings.push(format!(
                    "ResourceQuota {request_name} ({request}) should be less than \
                     {limit_name} ({limit})"
                ));
            }
        }
        warnings
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
