//! Admission: what the cluster as a whole has to say about a write.
//!
//! The rules are in `simcluster_kinds::admission`; here the objects that they need are found.

mod certificates;
mod escalation;
mod matching;
mod mutating;
mod pods;
mod policies;
mod quota;
pub(crate) mod webhooks;

use serde_json::Value;
use simcluster_kinds::admission;
use simcluster_machinery::{
    kind::{GroupResource, GroupVersionKind},
    status::{Cause, Details, Status},
};

pub(crate) use self::pods::service_account_settles;
use super::{Failure, call::Call, verbs::Part};
use crate::store::Object;

/// Namespaces that every cluster needs.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Before a new object is prepared; may change it.
pub(crate) fn create(call: &mut Call, object: &mut Value) -> Result<(), Failure> {
    namespace_accepts(call, object)?;
    match call.resource.collection.as_ref() {
        "/pods" => pods::create(call, object)?,
        "/persistentvolumeclaims" => {
            let classes = values(call, "storage.k8s.io/storageclasses", "");
            admission::default_storage_class(object, classes.iter().map(|class| class.value()));
            admission::protect_claim(object);
        }
        "/persistentvolumes" => admission::protect_volume(object),
        "certificates.k8s.io/certificatesigningrequests" => {
            let user = call.identity.user_info();
            simcluster_kinds::certificate_signing_request::fill_requestor(object, &user);
        }
        _ => {}
    }
    Ok(())
}

/// After a new object was validated.
pub(crate) fn validate_create(call: &Call, object: &Value) -> Result<(), Failure> {
    match call.resource.collection.as_ref() {
        "/pods" => check_limit_ranges(call, "Pod", object)?,
        "/persistentvolumeclaims" => check_limit_ranges(call, "PersistentVolumeClaim", object)?,
        _ => {}
    }
    one_default_priority(call, object)?;
    certificates::create(call, object)?;
    escalation::check(call, object, None)?;
    quota::check(call, object, None)
}

/// Before an update is prepared; may change it.
pub(crate) fn update(call: &Call, part: Part, new: &mut Value) {
    if part == Part::Whole && call.resource.is("", "pods") {
        admission::default_tolerations(new);
    }
}

/// After an update was validated.
pub(crate) fn validate_update(
    call: &Call,
    part: Part,
    new: &Value,
    old: &Value,
) -> Result<(), Failure> {
    certificates::update(call, part, new, old)?;
    if part == Part::Whole {
        one_default_priority(call, new)?;
        escalation::check(call, new, Some(old))?;
        may_grow(call, new, old)?;
        if old["metadata"]["deletionTimestamp"].is_null()
            && call.resource.is("", "persistentvolumeclaims")
        {
            check_limit_ranges(call, "PersistentVolumeClaim", new)?;
        }
        if call.resource.is("", "persistentvolumeclaims") || call.resource.is("", "services") {
            quota::check(call, new, Some(old))?;
        }
    }
    Ok(())
}

/// Whether a claim that wants a larger volume may have it.
fn may_grow(call: &Call, new: &Value, old: &Value) -> Result<(), Failure> {
    if !call.resource.is("", "persistentvolumeclaims") {
        return Ok(());
    }
    let expands = |class: &str| {
        let store = call.server.store.read();
        let class = store.get("storage.k8s.io/storageclasses", class);
        class.is_some_and(|class| class.value()["allowVolumeExpansion"] == true)
    };
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    admission::refused_growth(new, old, expands).map_or(Ok(()), |why| {
        Err(Box::new(Status::forbidden(call.resource_name(), name, why)))
    })
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

/// Lets policies and then webhooks change what is written.
pub(crate) async fn mutate(
    call: &mut Call,
    write: webhooks::Write<'_>,
    object: &mut Value,
) -> Result<(), Failure> {
    let curious = mutating::mutate(call, write, object).await?;
    webhooks::mutate(call, write, object).await?;
    mutating::again(call, write, curious, object).await
}

/// Lets policies and webhooks change and then judge what is sent to a part of an object: a binding, an
/// eviction, the options of a stream.
pub(crate) async fn through(
    call: &mut Call,
    kind: &GroupVersionKind,
    object: &mut Value,
    write: webhooks::Write<'_>,
) -> Result<(), Failure> {
    let name = call.route.name.clone();
    let write = webhooks::Write {
        kind: Some(kind),
        name: &name,
        ..write
    };
    mutate(call, write, object).await?;
    if is_judged(call) {
        judge(call, write, Some(object)).await?;
    }
    Ok(())
}

/// Whether anybody outside has a say in deletions, before they happen.
pub(crate) fn deletions_are_judged(call: &Call) -> bool {
    webhooks::are_there(call).0 || is_judged(call)
}

/// Whether policies or webhooks validate writes.
pub(crate) fn is_judged(call: &Call) -> bool {
    webhooks::are_there(call).1 || !call.server.store.read().is_empty(policies::POLICIES)
}

/// Lets policies and webhooks validate a write; all must agree.
pub(crate) async fn judge(
    call: &mut Call,
    write: webhooks::Write<'_>,
    object: Option<&Value>,
) -> Result<(), Failure> {
    policies::validate(call, write, object).await?;
    webhooks::validate(call, write, object).await
}

/// The objects of a collection, in a namespace unless that is empty.
fn values(call: &Call, collection: &str, namespace: &str) -> Vec<std::sync::Arc<Object>> {
    let snapshot = call.server.store.read().snapshot(collection);
    let prefix = if namespace.is_empty() {
        String::new()
    } else {
        format!("{namespace}/")
    };
    snapshot
        .objects
        .range::<_, str>((
            std::ops::Bound::Included(prefix.as_str()),
            std::ops::Bound::Unbounded,
        ))
        .take_while(|(key, _)| key.starts_with(&prefix))
        .map(|(_, object)| object.clone())
        .collect()
}

/// A refusal in the words of a plug-in.
fn forbidden(call: &Call, object: &Value, why: &str) -> Failure {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Box::new(Status::forbidden(call.resource_name(), name, why))
}

/// Only one priority may be that of all who name none.
fn one_default_priority(call: &Call, object: &Value) -> Result<(), Failure> {
    let collection = "scheduling.k8s.io/priorityclasses";
    if &*call.resource.collection != collection || object["globalDefault"] != true {
        return Ok(());
    }
    let own = &object["metadata"]["name"];
    let all = values(call, collection, "");
    let mut others = all
        .iter()
        .filter(|one| one.value()["metadata"]["name"] != *own);
    match others.find(|one| one.value()["globalDefault"] == true) {
        None => Ok(()),
        Some(other) => {
            let why = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                other.name()
            );
            Err(forbidden(call, object, &why))
        }
    }
}

fn check_limit_ranges(call: &Call, kind: &str, object: &Value) -> Result<(), Failure> {
    let ranges = values(call, "/limitranges", &call.route.namespace);
    let ranges = ranges.iter().map(|range| range.value());
    let complaints = admission::check_limit_ranges(kind, object, ranges);
    if complaints.is_empty() {
        return Ok(());
    }
    let why = simcluster_machinery::status::aggregate(complaints.into_iter());
    Err(forbidden(call, object, &why))
}

/// New objects need a namespace that is there and is not about to go.
fn namespace_accepts(call: &Call, object: &Value) -> Result<(), Failure> {
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
    let object = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut status = Status::forbidden(call.resource_name(), object, &why);
    let details = status.details.get_or_insert_with(Details::default);
    details.causes.push(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    Err(Box::new(status))
}
