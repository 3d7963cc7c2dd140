//! Deletion: at once, after finalizers, or after a grace period.

use std::sync::Arc;

use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};
use simcluster_machinery::{
    field::{Error, Path},
    kind::GroupResource,
    status::{Details, Status},
};

use super::{list, list_options::ListOptions, object_reply, write_options::dry_run_errors};
use crate::{
    server::{
        Failure,
        admit::{
            self,
            webhooks::{self, Write},
        },
        authorize,
        call::Call,
        clock, convert, decode, effects,
        form::Former,
        negotiate::{self, Offer},
        registry::Resource,
        reply::{self, Reply},
        select::Selection,
    },
    store::{Object, StoreError},
};

/// Holds an object until its dependents no longer name it as an owner.
const ORPHAN: &str = "orphan";
/// Holds an object until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";

/// What shall happen to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// `DeleteOptions`, from the body or the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    grace_period: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    revision: Option<String>,
    dry_run: bool,
    /// `orphanDependents: false`, the old way to ask for dependents to go, too.
    cascades: bool,
    /// Policies and webhooks are not asked.
    unjudged: bool,
}

impl DeleteOptions {
    /// Delete nothing in truth.
    pub(crate) fn set_dry_run(&mut self) {
        self.dry_run = true;
    }

    /// Ask neither policies nor webhooks.
    pub(crate) fn set_unjudged(&mut self) {
        self.unjudged = true;
    }

    /// From a `DeleteOptions` object.
    pub(crate) fn of_object(body: &Value) -> Result<Self, Failure> {
        let mut errors = Vec::new();
        let path = Path::new("propagationPolicy");
        let orphan = body["orphanDependents"].as_bool();
        let asked = body["propagationPolicy"].as_str();
        if let (Some(asked), Some(_)) = (asked, orphan) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(Error::invalid(&path, asked, why));
        }
        let propagation = match asked {
            None => None,
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(Error::not_supported(&path, other, &known));
                None
            }
        };
        let dry_run: Vec<&str> = body["dryRun"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        errors.extend(dry_run_errors(&dry_run));
        if !errors.is_empty() {
            return Err(Box::new(Status::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                &errors,
            )));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            grace_period: body["gracePeriodSeconds"].as_i64(),
            propagation: propagation.or(match orphan {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            }),
            uid: text(&body["preconditions"]["uid"]),
            revision: text(&body["preconditions"]["resourceVersion"]),
            dry_run: !dry_run.is_empty(),
            cascades: orphan == Some(false),
            unjudged: false,
        })
    }

    /// From the body; from the query only when there is none.
    fn of(call: &mut Call) -> Result<Self, Failure> {
        if !call.body.is_empty() {
            return Self::of_object(&decode::delete_options(call)?);
        }
        let dry_run: Vec<&str> = call.query.all("dryRun").collect();
        let mut body = json!({ "dryRun": dry_run });
        let seconds = call.query.number("gracePeriodSeconds");
        if let Some(seconds) = seconds.map_err(|why| Box::new(Status::bad_request(why)))? {
            body["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(policy) = call.query.find("propagationPolicy") {
            body["propagationPolicy"] = policy.into();
        }
        if let Some(orphan) = call.query.optional_flag("orphanDependents") {
            body["orphanDependents"] = orphan.into();
        }
        Self::of_object(&body)
    }
}

/// What a deletion led to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The object is gone; this was its last state.
    Gone(Arc<Object>),
    /// It is marked, and goes later.
    Marked(Arc<Object>),
}

/// `DELETE` of an object.
pub(super) async fn delete(call: &mut Call) -> Result<Reply, Failure> {
    super::check_acceptable(call)?;
    let options = DeleteOptions::of(call)?;
    let outcome = remove(call, &options).await?;
    let (Outcome::Gone(last) | Outcome::Marked(last)) = &outcome;
    convert::ready(&call.server, &call.resource, [last]).await?;
    match outcome {
        Outcome::Marked(object) => {
            let object = convert::served(&call.resource, &object);
            // A real server says that it has only begun to those alone who ask in the old way.
            let code = if options.cascades {
                StatusCode::ACCEPTED
            } else {
                StatusCode::OK
            };
            object_reply(call, code, &object)
        }
        Outcome::Gone(object) if call.resource.answers_deletion_with_object() => {
            let object = convert::served(&call.resource, &object);
            object_reply(call, StatusCode::OK, &object)
        }
        Outcome::Gone(object) => {
            let status = Status::success(Details {
                name: object.name().to_owned(),
                group: call.resource.name.group.clone(),
                kind: call.resource.name.resource.clone(),
                uid: object.uid().to_owned(),
                ..Details::default()
            });
            let wanted = negotiate::object(&call.headers, &call.query, Offer::Whole, false)
                .unwrap_or_default();
            let mut value = serde_json::to_value(status).unwrap_or_default();
            // A success has no code.
            if let Some(fields) = value.as_object_mut() {
                fields.remove("code");
            }
            Ok(reply::json(StatusCode::OK, &value, &wanted))
        }
    }
}

/// Deletes the object that the route names.
pub(crate) async fn remove(call: &mut Call, options: &DeleteOptions) -> Result<Outcome, Failure> {
    loop {
        let current = super::read::find(call)?;
        convert::ready(&call.server, &call.resource, [&current]).await?;
        check_preconditions(call, options, &current)?;
        admit::delete(call, &current)?;
        if !options.unjudged && admit::deletions_are_judged(call) {
            let old = convert::served(&call.resource, &current);
            let write = Write {
                operation: "DELETE",
                old: Some(old.value()),
                dry_run: options.dry_run,
                ..Write::default()
            };
            webhooks::announce_deletion(call, write).await?;
            admit::judge(call, write, None).await?;
        }
        match once(call, options, &current) {
            Ok(outcome) => return Ok(outcome),
            // Somebody else changed it meanwhile; a precondition is judged anew.
            Err(StoreError::Stale { .. }) => {}
            Err(StoreError::Missing(_)) => return Err(call.not_found()),
            Err(other) => return Err(Box::new(Status::internal(&other.to_string()))),
        }
    }
}

fn check_preconditions(
    call: &Call,
    options: &DeleteOptions,
    current: &Object,
) -> Result<(), Failure> {
    let refuse = |what: &str, how: &str, asked: &str, own: &str| {
        let why = format!(
            "the {what} in the precondition ({asked}) does not match the {what} in record ({own}). \
             The object might have been {how}"
        );
        let kind = GroupResource::new(&call.resource.kind.group, &call.resource.kind.kind);
        Err(Box::new(Status::conflict(&kind, &call.route.name, &why)))
    };
    if let Some(uid) = options.uid.as_deref().filter(|&uid| uid != current.uid()) {
        return refuse("UID", "deleted and then recreated", uid, current.uid());
    }
    let revision = current.revision().to_string();
    if let Some(asked) = options
        .revision
        .as_deref()
        .filter(|&asked| asked != revision)
    {
        return refuse("ResourceVersion", "modified", asked, &revision);
    }
    Ok(())
}

fn once(
    call: &Call,
    options: &DeleteOptions,
    current: &Arc<Object>,
) -> Result<Outcome, StoreError> {
    let resource = &call.resource;
    let key = resource.key(&call.route.namespace, &call.route.name);
    let old = current.value();
    let mut new = old.clone();
    let grace = grace_period(resource, old, options);
    let marked = !old["metadata"]["deletionTimestamp"].is_null();

    effects::before_delete(resource, &mut new);
    set_propagation_finalizers(resource, &mut new, options.propagation);
    let held = has_finalizers(resource, &new);
    let waits = grace.is_some_and(|grace| grace > 0);

    if held || waits {
        let now = call.server.config.clock.now();
        let own = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
        let grace = grace.unwrap_or(0);
        // A second deletion can only shorten what is left.
        if !marked || own.is_some_and(|own| grace < own) {
            let end = now
                .checked_add(SignedDuration::from_secs(grace))
                .unwrap_or(now);
            new["metadata"]["deletionTimestamp"] = clock::rfc3339(end).into();
            new["metadata"]["deletionGracePeriodSeconds"] = grace.into();
            if !marked {
                count_generation(&mut new);
            }
        }
        effects::mark_deleted(&call.server, resource, &mut new);
        if new == *old {
            return Ok(Outcome::Marked(Arc::clone(current)));
        }
        if options.dry_run {
            return Ok(Outcome::Marked(Arc::new(Object::new(
                new,
                current.revision(),
            ))));
        }
        let store = &call.server.store;
        let stored = store.update(&resource.collection, &key, current.revision(), new)?;
        effects::after_write(&call.server, resource, Some(current), Some(&stored));
        return Ok(Outcome::Marked(stored));
    }
    if options.dry_run {
        return Ok(Outcome::Gone(Arc::clone(current)));
    }
    if grace.is_some() {
        if !marked {
            new["metadata"]["deletionTimestamp"] = call.server.config.clock.rfc3339().into();
        }
        new["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    }
    let store = &call.server.store;
    let gone = store.delete(&resource.collection, &key, current.revision(), new)?;
    effects::after_write(&call.server, resource, Some(current), None);
    Ok(Outcome::Gone(gone))
}

/// Kinds that count generations count their deletion.
fn count_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64() {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// How long a pod has to end; `None` for kinds that end at once.
fn grace_period(resource: &Resource, old: &Value, options: &DeleteOptions) -> Option<i64> {
    if !resource.is("", "pods") {
        return None;
    }
    // A deletion that has begun goes on as it was, unless it is said otherwise.
    let begun = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let requested = options.grace_period.or(begun);
    Some(simcluster_kinds::pod::deletion_grace_seconds(
        old, requested,
    ))
}

fn set_propagation_finalizers(
    resource: &Resource,
    object: &mut Value,
    propagation: Option<Propagation>,
) {
    let mut finalizers: Vec<Value> = object["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let before = finalizers.clone();
    let wanted = match propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None => {
            // What was asked for before stays.
            let asked = |name: &str| before.iter().any(|own| own == name);
            if asked(ORPHAN) {
                Some(ORPHAN)
            } else if asked(FOREGROUND) {
                Some(FOREGROUND)
            } else {
                None
            }
        }
    };
    // Events are never collected, because nothing is owned by them.
    let wanted = wanted.filter(|_| !resource.is("", "events"));
    finalizers.retain(|own| own != ORPHAN && own != FOREGROUND);
    finalizers.extend(wanted.map(Value::from));
    if finalizers == before {
        return;
    }
    if finalizers.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("finalizers");
        }
    } else {
        object["metadata"]["finalizers"] = finalizers.into();
    }
}

fn has_finalizers(resource: &Resource, object: &Value) -> bool {
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    some(&object["metadata"]["finalizers"])
        || (resource.is("", "namespaces") && some(&object["spec"]["finalizers"]))
}

/// Whether a write leaves nothing to wait for of an object that is being deleted.
pub(super) fn is_finished(resource: &Resource, object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
        && !has_finalizers(resource, object)
        && object["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0)
            == 0
}

/// `DELETE` of a collection.
pub(super) async fn delete_collection(call: &mut Call) -> Result<Reply, Failure> {
    let wanted = super::wanted(call, true)?;
    let former = Former::new(call, wanted)?;
    let listed = ListOptions::of(call, false)?;
    let selection = Selection::of(call)?;
    let options = DeleteOptions::of(call)?;
    let page = list::page(call, &listed, &selection).await?;
    let namespace = call.route.namespace.clone();
    for object in &page.objects {
        object.name().clone_into(&mut call.route.name);
        if call.resource.namespaced {
            object.namespace().clone_into(&mut call.route.namespace);
        }
        let outcome = remove(call, &options).await;
        call.route.namespace.clone_from(&namespace);
        match outcome {
            Err(failure) if failure.code != 404 => return Err(failure),
            _ => {}
        }
    }
    call.route.name.clear();
    // The objects are shown as they were before.
    Ok(reply::json_text(
        StatusCode::OK,
        former.list(&page.objects, &page.meta),
        &former.wanted,
    ))
}

/// Whether somebody may do this too, asked by verbs that do two things.
pub(crate) fn may(call: &Call, verb: &str) -> Result<(), Failure> {
    let asked = authorize::attributes(&call.identity, &call.route, verb);
    if call
        .server
        .policy
        .current(&call.server.store)
        .allows(&asked)
    {
        call.server.usage.note(&asked);
        Ok(())
    } else {
        Err(authorize::forbidden(&asked))
    }
}
