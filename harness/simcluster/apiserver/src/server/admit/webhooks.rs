//! Admission webhooks: which of them a write concerns, what they are asked, and what becomes of
//! their answers.
//!
//! [`super::matching`] decides whom a write concerns, [`crate::server::webhook_call`] carries
//! question and answer.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use simcluster_machinery::{
    apply::packed,
    kind::GroupVersionKind,
    patch,
    status::{Details, Status},
};

use super::{
    matching::{self, Seen},
    values,
};
use crate::server::{Failure, call::Call, convert, verbs::new_uid, webhook_call};

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";
/// How long a webhook may take when its configuration does not say.
const TIMEOUT_SECONDS: u64 = 10;

/// A write that webhooks may have an opinion of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Write<'w> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub(crate) operation: &'static str,
    /// The kind of what is written, when it is not an object of the resource itself.
    pub(crate) kind: Option<&'w GroupVersionKind>,
    /// The name in the path, when what is written need not have one.
    pub(crate) name: &'w str,
    /// What there was.
    pub(crate) old: Option<&'w Value>,
    /// Nothing is kept.
    pub(crate) dry_run: bool,
}

/// Lets the mutating webhooks change an object.
pub(super) async fn mutate(
    call: &mut Call,
    write: Write<'_>,
    object: &mut Value,
) -> Result<(), Failure> {
    let hooks = configured(call, MUTATING);
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
    Ok(())
}

async fn ask_to_mutate(
    call: &mut Call,
    hook: &Value,
    write: Write<'_>,
    object: &mut Value,
) -> Result<(), Failure> {
    let Some((seen, response)) = ask(call, hook, write, Some(object)).await? else {
        return Ok(());
    };
    let Some(encoded) = response["patch"].as_str().filter(|patch| !patch.is_empty()) else {
        return Ok(());
    };
    let shown = seen.object.unwrap_or_default();
    let applied = (|| {
        if response["patchType"] != "JSONPatch" {
            return Err("webhook returned response.patch but not response.patchType".to_owned());
        }
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|error| error.to_string())?;
        let (patch, _) = patch::json::parse(&bytes).map_err(|error| error.to_string())?;
        let mut patched = shown;
        patch
            .apply(&mut patched)
            .map_err(|error| error.to_string())?;
        Ok(patched)
    })();
    match applied {
        Ok(patched) if Arc::ptr_eq(&seen.resource, &call.resource) => *object = patched,
        Ok(patched) => {
            *object = convert::to_version(&call.server, &call.resource, patched).await?;
        }
        Err(why) if fails(hook) => return Err(failed(hook, &why)),
        Err(_) => {}
    }
    packed::pack(object);
    matching::set_defaults(call, write, object);
    Ok(())
}

/// Asks the mutating webhooks about a deletion, of which there is nothing to change.
pub(crate) async fn announce_deletion(call: &mut Call, write: Write<'_>) -> Result<(), Failure> {
    for hook in configured(call, MUTATING) {
        let Some((_, response)) = ask(call, &hook, write, None).await? else {
            continue;
        };
        if response["patch"]
            .as_str()
            .is_some_and(|patch| !patch.is_empty())
        {
            let why = format!(
                "admission webhook {} attempted to modify the object, which is not supported for \
                 this operation",
                hook["name"]
            );
            return Err(Box::new(Status::internal(&why)));
        }
    }
    Ok(())
}

/// Asks the validating webhooks, all of whom must agree.
pub(super) async fn validate(
    call: &mut Call,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<(), Failure> {
    for hook in configured(call, VALIDATING) {
        ask(call, &hook, write, object).await?;
    }
    Ok(())
}

/// Whether there are any webhooks of either kind.
pub(super) fn are_there(call: &Call) -> (bool, bool) {
    let store = call.server.store.read();
    (!store.is_empty(MUTATING), !store.is_empty(VALIDATING))
}

/// All webhooks, in the order of their configurations' names.
fn configured(call: &Call, collection: &str) -> Vec<Value> {
    if call.server.store.read().is_empty(collection) || matching::is_exempt(call) {
        return Vec::new();
    }
    let configurations = values(call, collection, "");
    let hooks = configurations
        .iter()
        .filter_map(|configuration| configuration.value()["webhooks"].as_array());
    hooks.flatten().cloned().collect()
}

/// The write as this webhook sees it, if it concerns it.
async fn concerned(
    call: &Call,
    hook: &Value,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<Option<Seen>, Failure> {
    if !matching::selected(call, hook, write, object) {
        return Ok(None);
    }
    let (rules, policy) = (&hook["rules"], &hook["matchPolicy"]);
    let Some(resource) = matching::by_rules(call, rules, policy, write.operation) else {
        return Ok(None);
    };
    let seen = matching::seen_as(call, &resource, write, object).await?;
    let conditions = &hook["matchConditions"];
    if conditions.as_array().is_none_or(Vec::is_empty) {
        return Ok(Some(seen));
    }
    let scope = matching::variables(call, &seen, write, None);
    match matching::conditions_hold(conditions, &scope, false)? {
        Ok(true) => Ok(Some(seen)),
        Err(why) if fails(hook) => {
            let name = matching::name(write, object);
            let status = Status::forbidden(call.resource_name(), name, &why);
            Err(Box::new(status))
        }
        Ok(false) | Err(_) => Ok(None),
    }
}

/// A webhook's answer, and what it was shown; `None` when it is not asked, or has no answer and
/// may go without.
async fn ask(
    call: &mut Call,
    hook: &Value,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<Option<(Seen, Value)>, Failure> {
    let Some(seen) = concerned(call, hook, write, object).await? else {
        return Ok(None);
    };
    let uid = new_uid();
    let review = review(call, hook, write, &seen, &uid);
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
        return Ok(Some((seen, response)));
    }
    Err(denied(hook, &response["status"]))
}

fn review(call: &Call, hook: &Value, write: Write<'_>, seen: &Seen, uid: &str) -> Value {
    let versions = hook["admissionReviewVersions"].as_array();
    let version = versions
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|version| matches!(*version, "v1" | "v1beta1"))
        .unwrap_or("v1");
    let name = matching::name(write, seen.object.as_ref());
    let mut request = matching::request(call, &seen.resource, write, name);
    request["uid"] = uid.into();
    request["object"] = seen.object.clone().unwrap_or_default();
    request["oldObject"] = seen.old.clone().unwrap_or_default();
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
