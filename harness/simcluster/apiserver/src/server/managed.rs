//! Who owns which fields, as writes make it: the engine is the machinery's, here it is told who
//! writes and what.

use std::sync::LazyLock;

use serde_json::Value;
use simcluster_machinery::apply::{self, FieldSet, ObjectType, Writer};

use super::{Failure, call::Call, registry::Resource, verbs::Part};

static NOTHING: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of(&[&["status"]]));
static ALL_BUT_STATUS: LazyLock<FieldSet> =
    LazyLock::new(|| FieldSet::of(&[&["spec"], &["metadata"]]));

/// How objects of the resource are merged.
pub(crate) fn object_type(resource: &Resource) -> ObjectType {
    match &resource.custom {
        Some(version) => version.object_type(),
        None => ObjectType::Builtin(resource.schema.clone()),
    }
}

/// Fields that a write to this part does not let through.
fn reset(resource: &Resource, part: Part) -> &'static FieldSet {
    match part {
        Part::Status => &ALL_BUT_STATUS,
        Part::Whole if resource.subresource("status").is_some() => &STATUS,
        Part::Whole
        | Part::Finalize
        | Part::EphemeralContainers
        | Part::Resize
        | Part::Approval
        | Part::Direct => &NOTHING,
    }
}

fn with_writer<T>(call: &Call, part: Part, act: impl FnOnce(&Writer<'_>) -> T) -> T {
    let manager = call.field_manager();
    let time = call.server.config.clock.rfc3339();
    let api_version = call.resource.api_version();
    act(&Writer {
        manager: &manager,
        subresource: match part {
            Part::Whole | Part::Direct => "",
            Part::Status => "status",
            Part::Finalize => "finalize",
            Part::Approval => "approval",
            Part::EphemeralContainers => "ephemeralcontainers",
            Part::Resize => "resize",
        },
        api_version: &api_version,
        time: &time,
        reset: reset(&call.resource, part),
    })
}

/// Records the writer of a create, an update or a patch.
pub(crate) fn record(call: &Call, live: Option<&Value>, new: &mut Value, part: Part) {
    with_writer(call, part, |writer| {
        apply::update(live, new, &object_type(&call.resource), writer);
    });
}

/// Records the writer of replicas, which stand at `path`, through `scale`.
pub(crate) fn record_scale(call: &Call, live: &Value, new: &mut Value, path: &[&str]) {
    with_writer(call, Part::Whole, |writer| {
        let writer = Writer {
            subresource: "scale",
            ..*writer
        };
        apply::scale(live, new, path, &writer);
    });
}

/// Merges an applied configuration into the scale of an object whose replicas stand at `path`; writes
/// who owns them into `new`, and gives the merged scale.
pub(crate) fn merge_scale(
    call: &Call,
    live: &Value,
    scale: &Value,
    configuration: &Value,
    new: &mut Value,
    path: &[&str],
) -> Result<Value, Failure> {
    let force = call.query.flag("force");
    let (merged, managed) = with_writer(call, Part::Whole, |writer| {
        let writer = Writer {
            subresource: "scale",
            ..*writer
        };
        apply::apply_scale(live, scale, configuration, path, &writer, force)
    })
    .map_err(|error| Box::new(error.status()))?;
    apply::put_managers(new, &managed);
    Ok(merged)
}

/// Merges an applied configuration into an object, which may be absent.
pub(crate) fn merge(
    call: &Call,
    live: Option<&Value>,
    configuration: &Value,
    part: Part,
) -> Result<Value, Failure> {
    let force = call.query.flag("force");
    with_writer(call, part, |writer| {
        apply::apply(
            live,
            configuration,
            &object_type(&call.resource),
            writer,
            force,
        )
    })
    .map_err(|error| Box::new(error.status()))
}
