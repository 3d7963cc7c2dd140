//! What a write brings about besides itself, inside the server: addresses are allocated, a
//! definition begins or ends to serve its resources.
//!
//! Not what controllers do: that happens outside, through the API.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Failure, Inner, addresses, call::Call, clock, definitions, registry::Resource};
use crate::store::Object;

fn is_definition(resource: &Resource) -> bool {
    resource.is("apiextensions.k8s.io", "customresourcedefinitions")
}

/// When a new object was prepared, before it is validated.
pub(crate) fn before_create(call: &Call, object: &mut Value) -> Result<(), Failure> {
    if call.resource.is("", "services") {
        addresses::allocate(call, object, None)?;
    }
    Ok(())
}

/// When an update was prepared, before it is validated.
pub(crate) fn before_update(call: &Call, new: &mut Value, old: &Value) -> Result<(), Failure> {
    if call.resource.is("", "services") {
        addresses::allocate(call, new, Some(old))?;
    }
    Ok(())
}

/// What a deletion adds to an object before it is judged whether anything holds it.
pub(crate) fn before_delete(resource: &Resource, object: &mut Value) {
    if is_definition(resource) && object["metadata"]["deletionTimestamp"].is_null() {
        let finalizers = &mut object["metadata"]["finalizers"];
        match finalizers.as_array_mut() {
            Some(finalizers) if finalizers.iter().any(|own| own == definitions::FINALIZER) => {}
            Some(finalizers) => finalizers.push(definitions::FINALIZER.into()),
            None => *finalizers = json!([definitions::FINALIZER]),
        }
    }
}

/// When an object is marked for deletion.
pub(crate) fn mark_deleted(server: &Inner, resource: &Resource, object: &mut Value) {
    if resource.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
    if is_definition(resource) {
        definitions::mark_deleted(object, &clock::rfc3339(server.config.clock.now()));
    }
}

/// After a write was stored: before it was `old`, now it is `new`.
pub(crate) fn after_write(
    server: &Arc<Inner>,
    resource: &Resource,
    old: Option<&Arc<Object>>,
    new: Option<&Arc<Object>>,
) {
    if is_definition(resource) {
        if let Some(object) = new.or(old) {
            definitions::changed(server, object.name());
        }
    } else if resource.custom.is_some() && new.is_none() {
        definitions::object_gone(server, &resource.name);
    }
}
