//! New objects.

use std::sync::{Arc, PoisonError};

use http::StatusCode;
use rand::Rng as _;
use serde_json::{Map, Value};
use simcluster_machinery::status::{Details, Status};

use super::{
    Part, object_reply,
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

/// How often another name is tried when a generated one is taken.
const NAME_ATTEMPTS: usize = 8;
/// A generated name's beginning is cut so that the whole fits into a label.
const GENERATED_PREFIX: usize = 58;
/// Letters of generated endings: no vowels, so that they make no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `POST` to a collection.
pub(super) async fn create(call: &mut Call) -> Result<Reply, Failure> {
    super::check_acceptable(call)?;
    let options = WriteOptions::of(call, OptionsKind::Create)?;
    let mut object = decode::object(call)?;
    match_namespace(call, &mut object)?;
    let created = admit_and_create(call, &object, options, Admitted::Create).await?;
    object_reply(call, StatusCode::CREATED, &created)
}

/// How an object came to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// By a create: the manager owns what it sent.
    Create,
    /// By server-side apply, which has recorded its fields.
    Apply,
    /// By an update of something that was not there.
    Update,
}

/// Takes a new object from decoding to the store.
pub(crate) async fn admit_and_create(
    call: &mut Call,
    object: &Value,
    options: WriteOptions,
    how: Admitted,
) -> Result<Arc<Object>, Failure> {
    let generated = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
        && !object["metadata"]["generateName"]
            .as_str()
            .unwrap_or_default()
            .is_empty();
    let mut attempt = 1;
    loop {
        match once(call, object.clone(), options, how).await {
            Err(failure)
                if generated && failure.reason == "AlreadyExists" && attempt < NAME_ATTEMPTS =>
            {
                attempt += 1;
            }
            other => return other,
        }
    }
}

async fn once(
    call: &mut Call,
    mut object: Value,
    options: WriteOptions,
    how: Admitted,
) -> Result<Arc<Object>, Failure> {
    let resource = Arc::clone(&call.resource);
    if object["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|version| !version.is_empty())
    {
        return Err(Box::new(Status::unexpected(
            "resourceVersion should not be set on objects to be created",
        )));
    }
    if let Some(version) = &resource.custom {
        version.check_type(&object)?;
        if version.terminating {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Box::new(
                Status::failure(405, "MethodNotAllowed", why).with_details(Details {
                    group: resource.name.group.clone(),
                    kind: resource.name.resource.clone(),
                    ..Details::default()
                }),
            ));
        }
    }
    resource.rules().default(&mut object);
    if how == Admitted::Create {
        wipe_metadata(&mut object);
    }
    // Who writes owns what it sent, and not what the cluster adds.
    if matches!(how, Admitted::Create | Admitted::Update) {
        call.dedup_owner_references(&mut object, false);
        managed::record(call, None, &mut object, Part::Whole);
    }
    admit::create(call, &mut object)?;
    let write = Write {
        operation: "CREATE",
        old: None,
        dry_run: options.dry_run,
        ..Write::default()
    };
    admit::mutate(call, write, &mut object).await?;
    call.dedup_owner_references(&mut object, true);
    fill_metadata(call, &mut object);
    resource.rules().prepare_create(&mut object);
    if admit::is_judged(call) {
        // They see the object as it would be; what is counted and handed out is so below, when nobody
        // waits for somebody else.
        let mut seen = object.clone();
        effects::before_create(call, &mut seen)?;
        let errors = resource.rules().check_create(&seen, resource.scope());
        call.refuse_invalid(&seen, &errors)?;
        admit::judge(call, write, Some(&seen)).await?;
    }
    let converted = if convert::is_needed(&resource, &object, &resource.stored_as) {
        let errors = resource.rules().check_create(&object, resource.scope());
        call.refuse_invalid(&object, &errors)?;
        Some(convert::to_stored(&call.server, &resource, object.clone()).await?)
    } else {
        None
    };
    let stored = store(call, object, converted, options)?;
    convert::ready(&call.server, &resource, [&stored]).await?;
    Ok(convert::served(&resource, &stored))
}

/// The last steps of a create, of which those of others may not come between.
fn store(
    call: &mut Call,
    mut object: Value,
    converted: Option<Value>,
    options: WriteOptions,
) -> Result<Arc<Object>, Failure> {
    let resource = Arc::clone(&call.resource);
    let server = Arc::clone(&call.server);
    let _ordered = is_countable(call).then(|| {
        server
            .countable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    });
    effects::before_create(call, &mut object)?;
    let errors = resource.rules().check_create(&object, resource.scope());
    call.refuse_invalid(&object, &errors)?;
    call.warnings
        .extend(resource.rules().warnings(&object, None));
    admit::validate_create(call, &object)?;

    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let key = resource.key(&call.route.namespace, &name);
    let object = convert::stored(&resource, converted.unwrap_or(object));
    let stored = if options.dry_run {
        if call
            .server
            .store
            .read()
            .get(&resource.collection, &key)
            .is_some()
        {
            return Err(Box::new(Status::already_exists(&resource.name, &name)));
        }
        Arc::new(Object::without_revision(object))
    } else {
        match call.server.store.create(&resource.collection, &key, object) {
            Ok(stored) => stored,
            Err(StoreError::Exists(_)) => {
                return Err(Box::new(Status::already_exists(&resource.name, &name)));
            }
            Err(other) => return Err(Box::new(Status::internal(&other.to_string()))),
        }
    };
    if !options.dry_run {
        effects::after_write(&call.server, &resource, None, Some(&stored));
    }
    Ok(stored)
}

/// Whether what the object takes is taken from others.
fn is_countable(call: &Call) -> bool {
    call.resource.is("", "services") || {
        let store = call.server.store.read();
        call.resource.namespaced && !store.is_empty("/resourcequotas")
    }
}

/// The namespace in the object must be the one in the path; it may be absent.
pub(super) fn match_namespace(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let path = if call.resource.namespaced {
        call.route.namespace.as_str()
    } else {
        ""
    };
    let own = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if own == path {
        return Ok(());
    }
    if own.is_empty() {
        object["metadata"]["namespace"] = path.into();
        return Ok(());
    }
    Err(Box::new(Status::bad_request(if call.resource.namespaced {
        "the namespace of the provided object does not match the namespace sent on the request"
    } else {
        "namespace must not be set on cluster-scoped resources"
    })))
}

/// What a client may not say about a new object.
fn wipe_metadata(object: &mut Value) {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    for field in [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "uid",
    ] {
        metadata.remove(field);
    }
}

/// What the server alone decides about a new object.
fn fill_metadata(call: &Call, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let metadata = fields
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), new_uid().into());
    metadata.insert(
        "creationTimestamp".to_owned(),
        call.server.config.clock.rfc3339().into(),
    );
    if call.resource.namespaced {
        metadata.insert("namespace".to_owned(), call.route.namespace.clone().into());
    }
    let text = |field: &str| {
        metadata
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if text("name").is_empty() && !text("generateName").is_empty() {
        let name = generate_name(text("generateName"));
        metadata.insert("name".to_owned(), name.into());
    }
}

/// A random uid.
pub(crate) fn new_uid() -> String {
    uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .to_string()
}

fn generate_name(prefix: &str) -> String {
    let mut end = prefix.len().min(GENERATED_PREFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut rng = rand::rng();
    let mut name = prefix[..end].to_owned();
    name.extend((0..5).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])));
    name
}
