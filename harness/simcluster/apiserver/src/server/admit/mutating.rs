//! Admission policies that change what is written: configurations that are laid over an object, and
//! JSON patches, both made by expressions in CEL.
//!
//! They come before webhooks. Which writes they concern is decided as for policies that only validate.

use std::sync::Arc;

use serde_json::Value;
use simcluster_machinery::{
    apply::{self, ObjectType, packed},
    cel::Gives,
    decode,
    patch::{self, PatchError},
    schema::builtin,
    status::{Cause, Details},
};

use super::{
    forbidden,
    matching::{self, Seen},
    policies, values,
    webhooks::Write,
};
use crate::{
    server::{Failure, call::Call, convert, managed, registry::Resource},
    store::Object,
};

pub(super) const POLICIES: &str = "admissionregistration.k8s.io/mutatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/mutatingadmissionpolicybindings";

/// A policy in force with one of its parameters.
pub(super) struct Invocation {
    policy: Arc<Object>,
    binding: Arc<Object>,
    resource: Arc<Resource>,
    params: Option<Value>,
    /// The object after it, if it wants to see what others made of that.
    left: Option<Value>,
}

/// Lets all policies in force change the object; those to ask again if others change it further.
pub(super) async fn mutate(
    call: &mut Call,
    write: Write<'_>,
    object: &mut Value,
) -> Result<Vec<Invocation>, Failure> {
    if call.server.store.read().is_empty(POLICIES) || matching::is_exempt(call) {
        return Ok(Vec::new());
    }
    let mut refusals = Vec::new();
    let mut invocations = invocations(call, write, object, &mut refusals);
    for invocation in &mut invocations {
        invoke(call, write, invocation, object, &mut refusals).await?;
    }
    answer(call, object, refusals)?;
    invocations.retain(|one| one.left.is_some());
    Ok(invocations)
}

/// Asks those policies once more that want it, because the object is not as they left it.
pub(super) async fn again(
    call: &mut Call,
    write: Write<'_>,
    invocations: Vec<Invocation>,
    object: &mut Value,
) -> Result<(), Failure> {
    let mut refusals = Vec::new();
    for mut invocation in invocations {
        if invocation.left.as_ref() != Some(object) {
            invoke(call, write, &mut invocation, object, &mut refusals).await?;
        }
    }
    answer(call, object, refusals)
}

fn invocations(
    call: &Call,
    write: Write<'_>,
    object: &Value,
    refusals: &mut Vec<String>,
) -> Vec<Invocation> {
    let bindings = values(call, BINDINGS, "");
    let mut all = Vec::new();
    for policy in values(call, POLICIES, "") {
        let spec = &policy.value()["spec"];
        let constraints = &spec["matchConstraints"];
        let Some(resource) = policies::concerns(call, constraints, write, Some(object)) else {
            continue;
        };
        for binding in &bindings {
            let bound = &binding.value()["spec"];
            let narrowed = &bound["matchResources"];
            let here = bound["policyName"] == policy.name()
                && (!narrowed.is_object()
                    || policies::concerns(call, narrowed, write, Some(object)).is_some());
            if !here {
                continue;
            }
            match policies::params(call, spec, bound) {
                Ok(found) => all.extend(found.into_iter().map(|params| Invocation {
                    policy: Arc::clone(&policy),
                    binding: Arc::clone(binding),
                    resource: Arc::clone(&resource),
                    params,
                    left: None,
                })),
                Err(why) if fails(spec) => {
                    let why = format!("failed to configure binding: {why}");
                    refusals.push(refusal(&policy, binding, &why));
                }
                Err(_) => {}
            }
        }
    }
    all
}

fn fails(spec: &Value) -> bool {
    spec["failurePolicy"] != "Ignore"
}

fn refusal(policy: &Object, binding: &Object, why: &str) -> String {
    format!(
        "policy '{}' with binding '{}' denied request: {why}",
        policy.name(),
        binding.name()
    )
}

/// The refusal of the whole write, in the words of the first policy that failed.
fn answer(call: &Call, object: &Value, refusals: Vec<String>) -> Result<(), Failure> {
    let Some(first) = refusals.first() else {
        return Ok(());
    };
    let mut status = forbidden(call, object, "");
    status.message.clone_from(first);
    "Invalid".clone_into(&mut status.reason);
    let details = status.details.get_or_insert_with(Details::default);
    details.causes = (refusals.into_iter())
        .map(|message| Cause {
            message,
            ..Cause::default()
        })
        .collect();
    Err(status)
}

async fn invoke(
    call: &mut Call,
    write: Write<'_>,
    invocation: &mut Invocation,
    object: &mut Value,
    refusals: &mut Vec<String>,
) -> Result<(), Failure> {
    let policy = Arc::clone(&invocation.policy);
    let spec = &policy.value()["spec"];
    let params = invocation.params.as_ref();
    let seen = matching::seen_as(call, &invocation.resource, write, Some(object)).await?;
    let scope = matching::variables(call, &seen, write, params);
    let mut refuse = |why: &str| {
        if fails(spec) {
            refusals.push(refusal(&policy, &invocation.binding, why));
        }
    };
    match matching::conditions_hold(&spec["matchConditions"], &scope, params.is_some())? {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(why) => {
            refuse(&why);
            return Ok(());
        }
    }
    let mut seen = seen;
    for mutation in spec["mutations"].as_array().into_iter().flatten() {
        match mutated(call, &seen, write, spec, mutation, params)? {
            Ok(changed) => seen.object = Some(changed),
            Err(why) => refuse(&why),
        }
    }
    let changed = seen.object.unwrap_or_default();
    let as_written = Arc::ptr_eq(&invocation.resource, &call.resource) || write.kind.is_some();
    *object = if as_written {
        changed
    } else {
        convert::to_version(&call.server, &call.resource, changed).await?
    };
    packed::pack(object);
    matching::set_defaults(call, write, object);
    if spec["reinvocationPolicy"] == "IfNeeded" {
        invocation.left = Some(object.clone());
    }
    Ok(())
}

/// What one mutation makes of the object.
fn mutated(
    call: &Call,
    seen: &Seen,
    write: Write<'_>,
    spec: &Value,
    mutation: &Value,
    params: Option<&Value>,
) -> Result<Result<Value, String>, Failure> {
    let mut scope = matching::variables(call, seen, write, params);
    let known = matching::define(spec, params.is_some(), &mut scope)?;
    let applies = mutation["patchType"] == "ApplyConfiguration";
    let (field, gives) = if applies {
        ("applyConfiguration", Gives::Configuration)
    } else {
        ("jsonPatch", Gives::JsonPatch)
    };
    let text = mutation[field]["expression"].as_str().unwrap_or_default();
    let made = matching::compile(text, &known, gives)?.value(&scope);
    let object = seen.object.clone().unwrap_or_default();
    let shape = match write.kind.and_then(builtin::schema) {
        Some(schema) => ObjectType::Builtin(schema),
        None => managed::object_type(&seen.resource),
    };
    let changed = made.and_then(|made| {
        if applies {
            lay_over(&shape, &object, made)
        } else {
            patch(object, &made)
        }
    });
    Ok(changed.and_then(|changed| typed(&shape, changed)))
}

fn lay_over(shape: &ObjectType, object: &Value, mut made: Value) -> Result<Value, String> {
    for field in ["apiVersion", "kind"] {
        made[field] = object[field].clone();
    }
    apply::lay_over(object, &made, shape).map_err(|why| format!("error applying patch: {why}"))
}

/// A patch whose test fails is not applied, and that is all.
fn patch(object: Value, operations: &Value) -> Result<Value, String> {
    let failed = |error: PatchError| format!("JSON Patch: {error}");
    let (patch, _) = patch::json::parse(operations.to_string().as_bytes()).map_err(failed)?;
    let mut patched = object.clone();
    match patch.apply(&mut patched) {
        Ok(()) => Ok(patched),
        Err(error) if error.is_failed_test() => Ok(object),
        Err(error) => Err(failed(error)),
    }
}

/// Built-in kinds are read anew, so that numbers and quantities are as the kind has them.
fn typed(shape: &ObjectType, changed: Value) -> Result<Value, String> {
    let ObjectType::Builtin(schema) = shape else {
        return Ok(changed);
    };
    let (version, kind) = (changed["apiVersion"].clone(), changed["kind"].clone());
    let decoded = decode::typed_value(changed, schema);
    let mut value = decoded.map_err(|error| error.to_string())?.value;
    value["apiVersion"] = version;
    value["kind"] = kind;
    Ok(value)
}
