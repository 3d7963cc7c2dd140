//! Admission: what the cluster as a whole has to say about a write.

use serde_json::Value;
use simcluster_machinery::{
    kind::GroupResource,
    status::{Cause, Details, Status},
};

use super::{Failure, call::Call, verbs::Part};
use crate::store::Object;

/// Namespaces that every cluster needs.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Before a new object is prepared; may change it.
pub(crate) fn create(call: &mut Call, _object: &mut Value) -> Result<(), Failure> {
    namespace_accepts(call)
}

/// After a new object was validated.
pub(crate) fn validate_create(_call: &Call, _object: &Value) -> Result<(), Failure> {
    Ok(())
}

/// Before an update is prepared; may change it.
pub(crate) fn update(
    _call: &mut Call,
    _part: Part,
    _new: &mut Value,
    _old: &Value,
) -> Result<(), Failure> {
    Ok(())
}

/// After an update was validated.
pub(crate) fn validate_update(
    _call: &Call,
    _part: Part,
    _new: &Value,
    _old: &Value,
) -> Result<(), Failure> {
    Ok(())
}

/// Before a deletion.
pub(crate) fn delete(call: &Call, object: &Object) -> Result<(), Failure> {
    if call.resource.is("", "namespaces") && PROTECTED.contains(&object.name()) {
        return Err(Box::new(Status::forbidden(
            call.resource_name(),
            object.name(),
            "this namespace may not be deleted",
        )));
    }
    Ok(())
}

/// New objects need a namespace that is there and is not about to go.
fn namespace_accepts(call: &Call) -> Result<(), Failure> {
    if !call.resource.namespaced || call.resource.name.group == "authorization.k8s.io" {
        return Ok(());
    }
    let name = &call.route.namespace;
    let namespaces = GroupResource::new("", "namespaces");
    let Some(namespace) = call.server.store.read().get("/namespaces", name) else {
        return Err(Box::new(Status::not_found(&namespaces, name)));
    };
    if namespace.value()["status"]["phase"] != "Terminating" {
        return Ok(());
    }
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    let mut status = Status::forbidden(call.resource_name(), &call.route.name, &why);
    let details = status.details.get_or_insert_with(Details::default);
    details.causes.push(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    Err(Box::new(status))
}
