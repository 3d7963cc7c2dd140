//! Admission webhooks: which of them a write concerns, what they are asked, and what becomes of
//! their answers.
//!
//! [`crate::server::webhook_call`] carries question and answer. Not here: `matchConditions`, which are
//! refused with 501, and `matchPolicy: Equivalent` across versions, which asks nobody.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use simcluster_machinery::{
    patch,
    selector::LabelSelector,
    status::{Details, Status},
};

use super::{
    super::{verbs::new_uid, webhook_call},
    values,
};
use crate::server::{Failure, call::Call};

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";
/// How long a webhook may take when its configuration does not say.
const TIMEOUT_SECONDS: u64 = 10;

/// A write that webhooks may have an opinion of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'w> {
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub(crate) operation: &'static str,
    /// What there was.
    pub(crate) old: Option<&'w Value>,
    /// Nothing is kept.
    pub(crate) dry_run: bool,
}

/// Lets the mutating webhooks change an object; tells whether one did.
pub(crate) async fn mutate(
    call: &mut Call,
    write: Write<'_>,
    object: &mut Value,
) -> Result<bool, Failure> {
    let before = object.clone();
    let hooks = concerned(call, MUTATING, write, Some(object))?;
    let mut changed_after: Vec<bool> = Vec::new();
    for hook in &hooks {
        let was = object.clone();
        ask_to_mutate(call, hook, write, object).await?;
        let changed = *object != was;
        for one in &mut changed_after {
            *one |= changed;
        }
        changed_after.push(false);
    }
    // Who asked for it is asked once more when others changed the object afterwards.
    for (hook, changed) in hooks.iter().zip(changed_after) {
        if changed && hook["reinvocationPolicy"] == "IfNeeded" {
            ask_to_mutate(call, hook, write, object).await?;
        }
    }
    Ok(*object != before)
}

async fn ask_to_mutate(
    call: &mut Call,
    hook: &Value,
    write: Write<'_>,
    object: &mut Value,
) -> Result<(), Failure> {
    let Some(response) = ask(call, hook, write, Some(object)).await? else {
        return Ok(());
    };
    let Some(encoded) = response["patch"].as_str().filter(|patch| !patch.is_empty()) else {
        return Ok(());
    };
    let applied = (|| {
        if response["patchType"] != "JSONPatch" {
            return Err("webhook returned response.patch but not response.patchType".to_owned());
        }
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|error| error.to_string())?;
        let (patch, _) = patch::json::parse(&bytes).map_err(|error| error.to_string())?;
        let mut patched = object.clone();
        patch
            .apply(&mut patched)
            .map_err(|error| error.to_string())?;
        Ok(patched)
    })();
    match applied {
        Ok(patched) => *object = patched,
        Err(why) if fails(hook) => return Err(failed(hook, &why)),
        Err(_) => {}
    }
    call.resource.rules().default(object);
    Ok(())
}

/// Asks the validating webhooks, all of whom must agree.
pub(crate) async fn validate(
    call: &mut Call,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<(), Failure> {
    for hook in concerned(call, VALIDATING, write, object)? {
        ask(call, &hook, write, object).await?;
    }
    Ok(())
}

/// Whether there are any webhooks that validate.
pub(crate) fn validate_any(call: &Call) -> bool {
    !call.server.store.read().is_empty(VALIDATING)
}

/// The webhooks that a write concerns, in the order of their configurations' names.
fn concerned(
    call: &Call,
    collection: &str,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<Vec<Value>, Failure> {
    // Nobody locks themselves out: what admits is not admitted itself.
    if call.server.store.read().is_empty(collection)
        || call.resource.name.group == "admissionregistration.k8s.io"
        || call.resource.name.group.starts_with("auth")
    {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for configuration in values(call, collection, "") {
        let hooks = configuration.value()["webhooks"].as_array();
        for hook in hooks.into_iter().flatten() {
            if !is_concerned(call, hook, write, object) {
                continue;
            }
            if hook["matchConditions"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
            {
                let what = format!("matchConditions of webhook {}", hook["name"]);
                return Err(Box::new(Status::not_implemented(&what)));
            }
            found.push(hook.clone());
        }
    }
    Ok(found)
}

fn is_concerned(call: &Call, hook: &Value, write: Write<'_>, object: Option<&Value>) -> bool {
    let rules = hook["rules"].as_array();
    if !rules
        .into_iter()
        .flatten()
        .any(|rule| rule_matches(call, rule, write.operation))
    {
        return false;
    }
    let selects = |field: &str, object: &Value| {
        LabelSelector::from_object(Some(&hook[field]).filter(|selector| selector.is_object()))
            .map_or(true, |selector| {
                hook[field].is_null() || selector.matches_object(object)
            })
    };
    let namespace_fits = if call.resource.is("", "namespaces") {
        object
            .or(write.old)
            .is_none_or(|own| selects("namespaceSelector", own))
    } else if call.resource.namespaced {
        let namespace = call
            .server
            .store
            .read()
            .get("/namespaces", &call.route.namespace);
        namespace.is_none_or(|namespace| selects("namespaceSelector", namespace.value()))
    } else {
        true
    };
    let mut objects = object.into_iter().chain(write.old);
    namespace_fits && objects.any(|one| selects("objectSelector", one))
}

fn rule_matches(call: &Call, rule: &Value, operation: &str) -> bool {
    let has = |field: &str, wanted: &str| {
        let list = rule[field].as_array();
        list.into_iter()
            .flatten()
            .any(|one| one == wanted || one == "*")
    };
    let (resource, sub) = (
        call.resource.name.resource.as_str(),
        call.route.subresource.as_str(),
    );
    let resources = rule["resources"].as_array();
    let resource_fits = resources.into_iter().flatten().any(|one| {
        let (name, part) = one
            .as_str()
            .unwrap_or_default()
            .split_once('/')
            .unwrap_or((one.as_str().unwrap_or_default(), ""));
        (name == "*" || name == resource) && (part == "*" || part == sub)
    });
    let scope_fits = match rule["scope"].as_str() {
        Some("Namespaced") => call.resource.namespaced,
        Some("Cluster") => !call.resource.namespaced,
        _ => true,
    };
    has("operations", operation)
        && has("apiGroups", &call.resource.kind.group)
        && has("apiVersions", &call.resource.kind.version)
        && resource_fits
        && scope_fits
}

/// A webhook's answer; `None` when it has none and may go without.
async fn ask(
    call: &mut Call,
    hook: &Value,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<Option<Value>, Failure> {
    let uid = new_uid();
    let review = review(call, hook, write, object, &uid);
    let timeout = hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS);
    let timeout = Duration::from_secs(timeout);
    let answer = webhook_call::post(&call.server, &hook["clientConfig"], timeout, &review).await;
    let answer = answer.map_err(|why| format!("failed to call webhook: {why}"));
    let response = answer.and_then(|mut answer| {
        let response = answer["response"].take();
        if !response.is_object() {
            return Err("webhook response was absent".to_owned());
        }
        if response["uid"] != uid.as_str() {
            let given = response["uid"].as_str().unwrap_or_default();
            return Err(format!("expected response.uid={uid:?}, got {given:?}"));
        }
        Ok(response)
    });
    let response = match response {
        Ok(response) => response,
        Err(why) if fails(hook) => return Err(failed(hook, &why)),
        Err(_) => return Ok(None),
    };
    for warning in response["warnings"].as_array().into_iter().flatten() {
        call.warnings.extend(warning.as_str().map(str::to_owned));
    }
    if response["allowed"] == true {
        return Ok(Some(response));
    }
    Err(denied(hook, &response["status"]))
}

fn review(call: &Call, hook: &Value, write: Write<'_>, object: Option<&Value>, uid: &str) -> Value {
    let versions = hook["admissionReviewVersions"].as_array();
    let version = versions
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|version| matches!(*version, "v1" | "v1beta1"))
        .unwrap_or("v1");
    let kind = &call.resource.kind;
    let kind = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let resource = json!({
        "group": call.resource.kind.group, "version": call.resource.kind.version,
        "resource": call.resource.name.resource,
    });
    let options = match write.operation {
        "CREATE" => "CreateOptions",
        "DELETE" => "DeleteOptions",
        _ if call.method == http::Method::PATCH => "PatchOptions",
        _ => "UpdateOptions",
    };
    let mut options = json!({"kind": options, "apiVersion": "meta.k8s.io/v1"});
    if write.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let named = object.or(write.old);
    let name = named.and_then(|one| one["metadata"]["name"].as_str());
    let mut request = json!({
        "uid": uid, "kind": kind, "resource": resource,
        "requestKind": kind, "requestResource": resource,
        "operation": write.operation,
        "userInfo": call.identity.user_info(),
        "object": object, "oldObject": write.old,
        "dryRun": write.dry_run, "options": options,
    });
    if !call.route.subresource.is_empty() {
        request["subResource"] = call.route.subresource.as_str().into();
        request["requestSubResource"] = call.route.subresource.as_str().into();
    }
    if let Some(name) = name {
        request["name"] = name.into();
    }
    if call.resource.namespaced {
        request["namespace"] = call.route.namespace.as_str().into();
    }
    json!({
        "kind": "AdmissionReview",
        "apiVersion": format!("admission.k8s.io/{version}"),
        "request": request,
    })
}

fn fails(hook: &Value) -> bool {
    hook["failurePolicy"] != "Ignore"
}

fn failed(hook: &Value, why: &str) -> Failure {
    let name = hook["name"].as_str().unwrap_or_default();
    Box::new(Status::internal(&format!(
        "failed calling webhook {name:?}: {why}"
    )))
}

/// A refusal in the webhook's own words.
fn denied(hook: &Value, status: &Value) -> Failure {
    let name = hook["name"].as_str().unwrap_or_default();
    let denied = format!("admission webhook {name:?} denied the request");
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", why) | (why, _) => format!("{denied}: {why}"),
    };
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let mut failure = Status::failure(code, text("reason"), message);
    if status["details"].is_object() {
        failure.details = serde_json::from_value::<Details>(status["details"].clone()).ok();
    }
    Box::new(failure)
}
