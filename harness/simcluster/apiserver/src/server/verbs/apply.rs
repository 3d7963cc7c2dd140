//! Server-side apply: the client says what it wants, not what has changed.

use http::StatusCode;
use serde_json::Value;
use simcluster_machinery::status::Status;

use super::{
    Admitted, Part, admit_and_create, create,
    modify::{self, Change, modify},
    object_reply,
    write_options::WriteOptions,
};
use crate::server::{Failure, call::Call, decode, managed, reply::Reply};

/// `PATCH` with a configuration.
pub(super) async fn apply(
    call: &mut Call,
    part: Part,
    options: WriteOptions,
) -> Result<Reply, Failure> {
    let configuration = decode::configuration(call)?;
    if super::read::find(call).is_err() {
        if part == Part::Status {
            return Err(call.not_found());
        }
        return create_applied(call, &configuration, options).await;
    }
    let changed = modify(call, part, options, |call, old| {
        check_preconditions(call, &configuration, old)?;
        let merged = managed::merge(call, Some(old), &configuration, part)?;
        let mut object = decode::merged(call, merged)?;
        call.resource.rules().default(&mut object);
        modify::match_name(call, &object)?;
        create::match_namespace(call, &mut object)?;
        Ok(Change {
            object,
            recorded: true,
        })
    })
    .await?;
    object_reply(call, StatusCode::OK, &changed)
}

async fn create_applied(
    call: &mut Call,
    configuration: &Value,
    options: WriteOptions,
) -> Result<Reply, Failure> {
    let metadata = &configuration["metadata"];
    if metadata["uid"].as_str().is_some_and(|uid| !uid.is_empty()) {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            metadata["uid"].as_str().unwrap_or_default()
        );
        return Err(Box::new(Status::conflict(
            call.resource_name(),
            &call.route.name,
            &why,
        )));
    }
    super::delete::may(call, "create")?;
    let merged = managed::merge(call, None, configuration, Part::Whole)?;
    let mut object = decode::merged(call, merged)?;
    modify::match_name(call, &object)?;
    create::match_namespace(call, &mut object)?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // There is nothing whose revision it could be.
        metadata.remove("resourceVersion");
    }
    let created = admit_and_create(call, &object, options, Admitted::Apply).await?;
    object_reply(call, StatusCode::CREATED, &created)
}

/// A configuration may name the revision that it was made for.
fn check_preconditions(call: &Call, configuration: &Value, old: &Value) -> Result<(), Failure> {
    let asked = configuration["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if asked.is_empty() || old["metadata"]["resourceVersion"] == asked {
        return Ok(());
    }
    Err(Box::new(Status::modified(
        call.resource_name(),
        &call.route.name,
    )))
}
