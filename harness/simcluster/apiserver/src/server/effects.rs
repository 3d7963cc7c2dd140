//! What a write brings about besides itself, inside the server: addresses are allocated, a
//! definition begins or ends to serve its resources.
//!
//! Not what controllers do: that happens outside, through the API.

use std::sync::Arc;

use serde_json::Value;

use super::{Failure, Inner, call::Call, registry::Resource};
use crate::store::Object;

/// Before a new object is prepared.
pub(crate) fn before_create(
    _call: &Call,
    _object: &mut Value,
    _dry_run: bool,
) -> Result<(), Failure> {
    Ok(())
}

/// Before an update is prepared.
pub(crate) fn before_update(
    _call: &Call,
    _new: &mut Value,
    _old: &Value,
    _dry_run: bool,
) -> Result<(), Failure> {
    Ok(())
}

/// When an object is marked for deletion.
pub(crate) fn mark_deleted(resource: &Resource, object: &mut Value) {
    if resource.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
}

/// After a write was stored: before it was `old`, now it is `new`.
pub(crate) fn after_write(
    _server: &Arc<Inner>,
    _resource: &Resource,
    _old: Option<&Arc<Object>>,
    _new: Option<&Arc<Object>>,
) {
}
