//! Changes of an object that is there: the way that updates and patches share.

use std::sync::{Arc, PoisonError};

use http::StatusCode;
use serde_json::Value;
use simcluster_machinery::{
    apply,
    field::{Error, Path},
    status::Status,
};

use super::{
    Admitted, Part, admit_and_create, create, delete, object_reply,
    write_options::{OptionsKind, WriteOptions},
};
use crate::{
    server::{
        Failure,
        admit::{self, webhooks::Write},
        call::Call,
        convert, decode, effects, managed,
        reply::Reply,
    },
    store::{Object, StoreError},
};

/// `PUT` of an object or of its status.
pub(super) async fn update(call: &mut Call, part: Part) -> Result<Reply, Failure> {
    super::check_acceptable(call)?;
    let options = WriteOptions::of(call, OptionsKind::Update)?;
    let mut object = decode::object(call)?;
    match_name(call, &object)?;
    create::match_namespace(call, &mut object)?;
    call.resource.rules().default(&mut object);
    call.dedup_owner_references(&mut object, false);
    if part == Part::Whole && call.resource.creates_on_update() && super::read::find(call).is_err()
    {
        if object["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|own| !own.is_empty())
        {
            return Err(Box::new(Status::not_found(
                call.resource_name(),
                &call.route.name,
            )));
        }
        delete::may(call, "create")?;
        let created = admit_and_create(call, &object, options, Admitted::Update).await?;
        return object_reply(call, StatusCode::CREATED, &created);
    }
    let changed = modify(call, part, options, |_, _| Ok(Change::to(object.clone()))).await?;
    object_reply(call, StatusCode::OK, &changed)
}

/// What becomes of an object.
pub(super) struct Change {
    /// The new object, decoded and with defaults.
    pub(super) object: Value,
    /// Ownership of fields was recorded already, by server-side apply.
    pub(super) recorded: bool,
}

impl Change {
    pub(super) fn to(object: Value) -> Self {
        Self {
            object,
            recorded: false,
        }
    }
}

/// Changes an object: reads it, lets `change` make the new one, checks and stores that; again if
/// somebody else was faster and the client did not insist on a revision.
pub(super) async fn modify(
    call: &mut Call,
    part: Part,
    options: WriteOptions,
    mut change: impl FnMut(&mut Call, &Value) -> Result<Change, Failure> + Send,
) -> Result<Arc<Object>, Failure> {
    let warned = call.warnings.len();
    loop {
        call.warnings.truncate(warned);
        let current = super::read::find(call)?;
        match once(call, part, options, &current, &mut change).await {
            // Somebody else was faster, and got on; so may we. A revision that the client named is compared anew.
            Err(Refusal::Overtaken) => {}
            Err(Refusal::Failure(failure)) => return Err(failure),
            Ok(object) => return Ok(object),
        }
    }
}

fn keep_managers(object: &mut Value, managers: Option<Value>) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        match managers {
            Some(managers) => metadata.insert("managedFields".to_owned(), managers),
            None => metadata.remove("managedFields"),
        };
    }
}

enum Refusal {
    Overtaken,
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

async fn once(
    call: &mut Call,
    part: Part,
    options: WriteOptions,
    current: &Arc<Object>,
    change: &mut (impl FnMut(&mut Call, &Value) -> Result<Change, Failure> + Send),
) -> Result<Arc<Object>, Refusal> {
    let resource = Arc::clone(&call.resource);
    convert::ready(&call.server, &resource, [current]).await?;
    let old = convert::served(&resource, current);
    let old = old.value();
    let Change {
        object: mut new,
        recorded,
    } = change(call, old)?;
    if let Some(version) = &resource.custom {
        version.check_type(&new)?;
    }
    check_identity(call, &new, old, current.revision())?;
    simcluster_kinds::carry_server_fields(&mut new, old);
    if !recorded && part != Part::Direct {
        managed::record(call, Some(old), &mut new, part);
    }
    admit::update(call, part, &mut new);
    let write = Write {
        operation: "UPDATE",
        old: Some(old),
        dry_run: options.dry_run,
        ..Write::default()
    };
    if call.route.subresource == "scale" {
        super::scale::admit(call, old, &mut new, options.dry_run).await?;
    }
    let hooked = part != Part::Direct && call.route.subresource != "scale";
    if hooked {
        admit::mutate(call, write, &mut new).await?;
    }
    if part != Part::Direct {
        call.dedup_owner_references(&mut new, true);
    }
    if hooked && admit::is_judged(call) {
        let mut seen = new.clone();
        prepare(call, part, &mut seen, old);
        call.refuse_invalid(&seen, &check(call, part, &seen, old))?;
        admit::judge(call, write, Some(&seen)).await?;
    }
    let converted = if convert::is_needed(&resource, &new, &resource.stored_as) {
        let mut seen = new.clone();
        prepare(call, part, &mut seen, old);
        call.refuse_invalid(&seen, &check(call, part, &seen, old))?;
        apply::keep_times_if_same(old, &mut seen);
        Some(convert::to_stored(&call.server, &resource, seen).await?)
    } else {
        None
    };
    let written = store(call, part, options, current, old, new, converted)?;
    convert::ready(&call.server, &resource, [&written]).await?;
    Ok(convert::served(&resource, &written))
}

/// The last steps of a change, of which those of others may not come between.
fn store(
    call: &mut Call,
    part: Part,
    options: WriteOptions,
    current: &Arc<Object>,
    old: &Value,
    mut new: Value,
    converted: Option<Value>,
) -> Result<Arc<Object>, Refusal> {
    let resource = Arc::clone(&call.resource);
    let server = Arc::clone(&call.server);
    let _ordered = resource.is("", "services").then(|| {
        server
            .countable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    });
    if part == Part::Whole {
        effects::before_update(call, &mut new, old)?;
    }
    prepare(call, part, &mut new, old);
    call.refuse_invalid(&new, &check(call, part, &new, old))?;
    if part == Part::Whole {
        let warnings = resource.rules().warnings(&new, Some(old));
        call.warnings.extend(warnings);
    }
    admit::validate_update(call, part, &new, old)?;
    apply::keep_times_if_same(old, &mut new);

    let finished = delete::is_finished(&resource, &new);
    if !finished && new == *old {
        return Ok(Arc::clone(current));
    }
    let stored = convert::stored(&resource, converted.unwrap_or(new));
    let key = resource.key(&call.route.namespace, &call.route.name);
    let collection = &resource.collection;
    let written = if options.dry_run {
        Ok(Arc::new(Object::new(stored, current.revision())))
    } else if finished {
        call.server
            .store
            .delete(collection, &key, current.revision(), stored)
    } else {
        call.server
            .store
            .update(collection, &key, current.revision(), stored)
    };
    let written = written.map_err(|error| match error {
        StoreError::Stale { .. } => Refusal::Overtaken,
        StoreError::Missing(_) => Refusal::Failure(call.not_found()),
        other => Refusal::Failure(Box::new(Status::internal(&other.to_string()))),
    })?;
    if !options.dry_run {
        let after = if finished { None } else { Some(&written) };
        effects::after_write(&call.server, &resource, Some(current), after);
    }
    Ok(written)
}

/// What the part's own rules make of an update.
fn prepare(call: &Call, part: Part, new: &mut Value, old: &Value) {
    let managers = new["metadata"].get("managedFields").cloned();
    match part {
        Part::Whole => call.resource.rules().prepare_update(new, old),
        Part::Status => {
            call.resource.rules().prepare_status_update(new, old);
            let now = call.server.config.clock.now();
            call.resource.rules().stamp_status(new, old, now);
        }
        Part::Finalize => simcluster_kinds::namespace::prepare_finalize(new, old),
        Part::Approval => {
            let now = call.server.config.clock.now();
            simcluster_kinds::certificate_signing_request::prepare_approval(new, old, now);
        }
        Part::EphemeralContainers => {
            simcluster_kinds::pod::prepare_ephemeral_containers_update(new, old);
        }
        Part::Resize => simcluster_kinds::pod::prepare_resize(new, old),
        Part::Direct => {}
    }
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    if matches!(
        part,
        Part::Status | Part::Finalize | Part::EphemeralContainers | Part::Resize | Part::Approval
    ) {
        // The rules bring back all but the status; who owns it has changed, though.
        keep_managers(new, managers);
    }
}

/// What is wrong with an update.
fn check(call: &Call, part: Part, new: &Value, old: &Value) -> Vec<Error> {
    match part {
        Part::Whole => call
            .resource
            .rules()
            .check_update(new, old, call.resource.scope()),
        Part::Status => call.resource.rules().check_status_update(new, old),
        Part::Finalize => simcluster_kinds::namespace::validate_finalize(new),
        Part::Approval => {
            simcluster_kinds::certificate_signing_request::validate_approval(new, old)
        }
        Part::EphemeralContainers => {
            simcluster_kinds::pod::validate_ephemeral_containers_update(new, old)
        }
        Part::Resize => simcluster_kinds::pod::validate_resize(new, old),
        Part::Direct => Vec::new(),
    }
}

/// The object must be the one that the client means, in the revision that it names, if it does.
fn check_identity(call: &Call, new: &Value, old: &Value, revision: u64) -> Result<(), Failure> {
    let text = |object: &Value, field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (name, uid) = (call.route.name.as_str(), text(new, "uid"));
    let (own_uid, version) = (text(old, "uid"), text(new, "resourceVersion"));
    // A patch that names another uid is refused as a change of what is immutable.
    if !uid.is_empty() && uid != own_uid && call.method == http::Method::PUT {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, \
             UID in object meta: {own_uid}",
            call.resource.registry_key(&call.route.namespace, name)
        );
        return Err(Box::new(Status::conflict(call.resource_name(), name, &why)));
    }
    if version.is_empty() || version == "0" {
        if !call.resource.updates_unconditionally() && call.method == http::Method::PUT {
            let path = Path::new("metadata").child("resourceVersion");
            let shown: Value = if call.resource.custom.is_some() {
                0.into()
            } else {
                "".into()
            };
            let error = Error::invalid(&path, shown, "must be specified for an update");
            call.refuse_invalid(new, &[error])?;
        }
        return Ok(());
    }
    match version.parse::<u64>() {
        Ok(wanted) if wanted == revision => Ok(()),
        Ok(_) => Err(Box::new(Status::modified(
            call.resource_name(),
            &call.route.name,
        ))),
        Err(_) => Err(Box::new(Status::invalid(
            "",
            "",
            "",
            &[Error::invalid(
                &Path::new("metadata.resourceVersion"),
                version.as_str(),
                format!("strconv.ParseUint: parsing {version:?}: invalid syntax"),
            )],
        ))),
    }
}

/// The name in the object must be the one in the path; it may be absent.
pub(super) fn match_name(call: &Call, object: &Value) -> Result<(), Failure> {
    let own = object["metadata"]["name"].as_str().unwrap_or_default();
    let path = call.route.name.as_str();
    if own == path {
        return Ok(());
    }
    Err(Box::new(Status::bad_request(if own.is_empty() {
        "name must be provided".to_owned()
    } else {
        format!("the name of the object ({own}) does not match the name on the URL ({path})")
    })))
}
