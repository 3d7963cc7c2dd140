//! Admission policies: rules in CEL, in force where a binding says so.
//!
//! Not here: the result of type checks in a policy's status, audit annotations (there is no audit
//! log), and policies that change writes ([`super::mutating`]).

use std::sync::Arc;

use serde_json::Value;
use simcluster_machinery::{
    cel::{Expression, Gives},
    selector::LabelSelector,
    status::{Cause, Details},
};

use super::{
    forbidden,
    matching::{self, Seen},
    values,
    webhooks::Write,
};
use crate::{
    server::{Failure, call::Call, convert, registry::Resource},
    store::Object,
};

pub(super) const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";

/// A refusal: why, and with which reason.
struct Denial {
    message: String,
    reason: String,
}

/// Asks all policies that are in force.
pub(super) async fn validate(
    call: &mut Call,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<(), Failure> {
    let none = call.server.store.read().is_empty(POLICIES);
    if none || matching::is_exempt(call) {
        return Ok(());
    }
    let bindings = values(call, BINDINGS, "");
    let mut denied: Option<Denial> = None;
    for policy in values(call, POLICIES, "") {
        let own = bindings
            .iter()
            .filter(|binding| binding.value()["spec"]["policyName"] == policy.name());
        for binding in own {
            let denial = in_force(call, write, object, &policy, binding).await?;
            denied = denied.or(denial);
        }
    }
    denied.map_or(Ok(()), |denial| {
        let named = object.or(write.old).unwrap_or(&Value::Null);
        let mut status = forbidden(call, named, &denial.message);
        status.code = match denial.reason.as_str() {
            "Forbidden" => 403,
            "Unauthorized" => 401,
            "RequestEntityTooLarge" => 413,
            _ => 422,
        };
        status.reason = denial.reason;
        let details = status.details.get_or_insert_with(Details::default);
        details.causes.push(Cause {
            message: denial.message,
            ..Cause::default()
        });
        Err(status)
    })
}

/// What one binding of one policy makes of a write.
async fn in_force(
    call: &mut Call,
    write: Write<'_>,
    object: Option<&Value>,
    policy: &Object,
    binding: &Object,
) -> Result<Option<Denial>, Failure> {
    let (spec, bound) = (&policy.value()["spec"], &binding.value()["spec"]);
    let Some(resource) = concerns(call, &spec["matchConstraints"], write, object) else {
        return Ok(None);
    };
    let narrowed = &bound["matchResources"];
    if narrowed.is_object() && concerns(call, narrowed, write, object).is_none() {
        return Ok(None);
    }
    let fails = spec["failurePolicy"] != "Ignore";
    let denied = |why: &str| {
        format!(
            "ValidatingAdmissionPolicy '{}' with binding '{}' denied request: {why}",
            policy.name(),
            binding.name()
        )
    };
    let all_params = match params(call, spec, bound) {
        Ok(params) => params,
        Err(why) => {
            let why = format!("failed to configure binding: {why}");
            return Ok(fails.then(|| Denial {
                message: denied(&why),
                reason: "Invalid".to_owned(),
            }));
        }
    };
    let seen = matching::seen_as(call, &resource, write, object).await?;
    let mut denial = None;
    for params in &all_params {
        for (message, reason) in judge(call, &seen, write, spec, params.as_ref())? {
            for action in bound["validationActions"].as_array().into_iter().flatten() {
                if action == "Deny" && denial.is_none() {
                    denial = Some(Denial {
                        message: denied(&message),
                        reason: reason.clone(),
                    });
                }
                if action == "Warn" {
                    call.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': \
                         {message}",
                        policy.name(),
                        binding.name()
                    ));
                }
            }
        }
    }
    Ok(denial)
}

/// The resource in the version that the rules name, if they and the selectors fit.
pub(super) fn concerns(
    call: &Call,
    resources: &Value,
    write: Write<'_>,
    object: Option<&Value>,
) -> Option<Arc<Resource>> {
    if !matching::selected(call, resources, write, object) {
        return None;
    }
    let policy = &resources["matchPolicy"];
    let names = |rules: &Value| {
        let own = matching::name(write, object);
        let fitting: Vec<Value> = (rules.as_array().into_iter().flatten())
            .filter(|rule| {
                let names = rule["resourceNames"].as_array();
                names.is_none_or(|names| names.is_empty() || names.iter().any(|name| name == own))
            })
            .cloned()
            .collect();
        Value::Array(fitting)
    };
    let excluded = names(&resources["excludeResourceRules"]);
    if matching::by_rules(call, &excluded, policy, write.operation).is_some() {
        return None;
    }
    let rules = &resources["resourceRules"];
    if rules.as_array().is_none_or(Vec::is_empty) {
        return Some(Arc::clone(&call.resource));
    }
    matching::by_rules(call, &names(rules), policy, write.operation)
}

/// The parameters that a binding names; one evaluation for each.
pub(super) fn params(
    call: &Call,
    spec: &Value,
    bound: &Value,
) -> Result<Vec<Option<Value>>, String> {
    let (kind, reference) = (&spec["paramKind"], &bound["paramRef"]);
    if !kind.is_object() {
        return Ok(vec![None]);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, name) = (text(&kind["apiVersion"]), text(&kind["kind"]));
    let registry = call.server.registry();
    let mut all = registry
        .groups()
        .flat_map(|group| &group.versions)
        .flat_map(|version| &version.resources);
    let resource = all.find(|one| one.kind.kind == name && one.api_version() == version);
    let resource = resource.ok_or_else(|| {
        format!("failed to find resource referenced by paramKind: '{version}, Kind={name}'")
    })?;
    if !reference.is_object() {
        return Ok(vec![Some(Value::Null)]);
    }
    let named = text(&reference["namespace"]);
    let namespace = match (resource.namespaced, named.is_empty()) {
        (false, true) => String::new(),
        (false, false) => {
            let why = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
            return Err(why.to_owned());
        }
        (true, false) => named,
        (true, true) if call.resource.namespaced => call.route.namespace.clone(),
        (true, true) => {
            let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped \
                       resources";
            return Err(why.to_owned());
        }
    };
    let objects = values(call, &resource.collection, &namespace);
    let objects = objects.iter().map(|one| convert::served(resource, one));
    let found: Vec<Option<Value>> = match reference["name"].as_str() {
        Some(name) if !name.is_empty() => objects
            .filter(|one| one.name() == name)
            .map(|one| Some(one.value().clone()))
            .collect(),
        _ => {
            let selector = LabelSelector::from_object(Some(&reference["selector"]))
                .map_err(|error| error.to_string())?;
            objects
                .filter(|one| selector.matches_object(one.value()))
                .map(|one| Some(one.value().clone()))
                .collect()
        }
    };
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
        return Err(why.to_owned());
    }
    Ok(found)
}

/// The messages and reasons of the validations that do not hold.
fn judge(
    call: &Call,
    seen: &Seen,
    write: Write<'_>,
    spec: &Value,
    params: Option<&Value>,
) -> Result<Vec<(String, String)>, Failure> {
    let fails = spec["failurePolicy"] != "Ignore";
    let failure = |why: String| fails.then(|| (why, "Invalid".to_owned()));
    let mut scope = matching::variables(call, seen, write, params);
    match matching::conditions_hold(&spec["matchConditions"], &scope, params.is_some())? {
        Ok(true) => {}
        Ok(false) => return Ok(Vec::new()),
        Err(why) => return Ok(failure(why).into_iter().collect()),
    }
    let known = matching::define(spec, params.is_some(), &mut scope)?;
    let items = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let mut denials = Vec::new();
    for validation in items("validations") {
        let text = |field: &str| validation[field].as_str().unwrap_or_default();
        let compile = |text: &str, gives| -> Result<Expression, Failure> {
            matching::compile(text, &known, gives)
        };
        match compile(text("expression"), Gives::Condition)?.holds(&scope) {
            Ok(true) => {}
            Err(why) => denials.extend(failure(why)),
            Ok(false) => {
                let made = match text("messageExpression") {
                    "" => None,
                    expression => compile(expression, Gives::Text)?.message(&scope),
                };
                let message = match text("message").trim() {
                    "" => format!("failed expression: {}", text("expression").trim()),
                    message => message.to_owned(),
                };
                let reason = match text("reason") {
                    "" => "Invalid",
                    reason => reason,
                };
                denials.push((made.unwrap_or(message), reason.to_owned()));
            }
        }
    }
    for annotation in items("auditAnnotations") {
        let text = annotation["valueExpression"].as_str().unwrap_or_default();
        // There is no audit log; one that fails denies all the same.
        if let Err(why) = matching::compile(text, &known, Gives::TextOrNull)?.text(&scope) {
            denials.extend(failure(why));
        }
    }
    Ok(denials)
}
