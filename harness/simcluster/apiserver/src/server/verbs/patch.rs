//! Patches: four ways to say a change.

use std::sync::Arc;

use http::{StatusCode, header};
use serde_json::Value;
use simcluster_machinery::{
    apply::packed,
    decode::Problem,
    go,
    patch::{self, PatchError},
    schema::SchemaRef,
    status::{Details, Status},
};

use super::{
    Part,
    modify::{self, Change, modify},
    object_reply,
    write_options::{OptionsKind, WriteOptions},
};
use crate::{
    server::{Failure, call::Call, decode, registry::Resource, reply::Reply},
    store::Object,
};

/// The kinds of patch, by their media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    pub(super) fn of(call: &Call) -> Result<Self, Failure> {
        let content_type = call.header(header::CONTENT_TYPE);
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if call.resource.custom.is_none() => {
                Ok(Self::Strategic)
            }
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ if call.resource.custom.is_some() => {
                Err(Box::new(Status::unsupported_media_type(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                ])))
            }
            _ => Err(Box::new(
                Status::failure(415, "UnsupportedMediaType", "415: Unsupported Media Type")
                    .with_details(Details::default()),
            )),
        }
    }
}

/// `PATCH` of an object or of its status.
pub(super) async fn patch(call: &mut Call, part: Part) -> Result<Reply, Failure> {
    super::check_acceptable(call)?;
    let kind = PatchKind::of(call)?;
    let apply = kind == PatchKind::Apply;
    let options = WriteOptions::of(call, OptionsKind::Patch { apply })?;
    if apply {
        return super::apply::apply(call, part, options).await;
    }
    let patch = Patch::read(call, kind)?;
    let changed = patched(call, part, options, &patch).await?;
    object_reply(call, StatusCode::OK, &changed)
}

async fn patched(
    call: &mut Call,
    part: Part,
    options: WriteOptions,
    patch: &Patch,
) -> Result<Arc<Object>, Failure> {
    modify(call, part, options, |call, old| {
        let resource = Arc::clone(&call.resource);
        let mut value = old.clone();
        if patch.touches_managers() {
            packed::unpack(&mut value);
        } else {
            // Without them in the result, who manages the object stays as it is.
            packed::take(&mut value);
        }
        let value = patch.apply(&call.resource, value)?;
        let strategic = patch.strategic().is_some();
        let mut object = decode::patched(call, value, patch.problems(), strategic, || {
            patch.shown(&resource, old)
        })?;
        call.resource.rules().default(&mut object);
        let own = object["metadata"]["name"].as_str().unwrap_or_default();
        if own != call.route.name {
            modify::match_name(call, &object)?;
        }
        super::create::match_namespace(call, &mut object)?;
        Ok(Change::to(object))
    })
    .await
}

/// A patch that was read.
pub(super) enum Patch {
    Json(patch::json::JsonPatch, Vec<Problem>),
    Merge(Value, Vec<Problem>),
    Strategic(Value, Vec<Problem>),
}

impl Patch {
    /// Reads the body.
    pub(super) fn read(call: &Call, kind: PatchKind) -> Result<Self, Failure> {
        let refuse = |error: PatchError| Box::new(error.status());
        match kind {
            PatchKind::Json => patch::json::parse(&call.body)
                .map(|(patch, problems)| Self::Json(patch, problems))
                .map_err(refuse),
            PatchKind::Merge => patch::merge::parse(&call.body)
                .map(|(patch, problems)| Self::Merge(patch, problems))
                .map_err(refuse),
            PatchKind::Strategic | PatchKind::Apply => patch::strategic::parse(&call.body)
                .map(|(patch, problems)| Self::Strategic(patch, problems))
                .map_err(refuse),
        }
    }

    /// What strict decoding complains about in the patch itself.
    pub(super) fn problems(&self) -> &[Problem] {
        match self {
            Self::Json(_, problems) | Self::Merge(_, problems) | Self::Strategic(_, problems) => {
                problems
            }
        }
    }

    /// Whether it reads or writes who manages the object.
    fn touches_managers(&self) -> bool {
        match self {
            Self::Json(patch, _) => patch.touches("/metadata/managedFields"),
            Self::Merge(patch, _) | Self::Strategic(patch, _) => {
                let metadata = patch.get("metadata").and_then(Value::as_object);
                metadata.is_some_and(|metadata| {
                    metadata.keys().any(|name| {
                        // `$patch` and its like speak of all that there is.
                        name.starts_with('$') || name == "managedFields"
                    })
                })
            }
        }
    }

    /// The patch, if it is a strategic one.
    fn strategic(&self) -> Option<&Value> {
        match self {
            Self::Strategic(patch, _) => Some(patch),
            Self::Json(..) | Self::Merge(..) => None,
        }
    }

    /// The changed object.
    pub(super) fn apply(&self, resource: &Resource, value: Value) -> Result<Value, Failure> {
        self.apply_to(value, Some(&resource.schema))
    }

    /// What refusals show: the object that it makes of `old`, or a strategic patch itself.
    fn shown(&self, resource: &Resource, old: &Value) -> String {
        if let Some(patch) = self.strategic() {
            return go::verb_v(patch);
        }
        let patched = self.apply(resource, packed::unpacked(old).into_owned());
        patched.map_or_else(|_| String::new(), |patched| patched.to_string())
    }

    /// A changed value of another kind.
    pub(super) fn apply_to(
        &self,
        mut value: Value,
        schema: Option<&SchemaRef>,
    ) -> Result<Value, Failure> {
        match (self, schema) {
            (Self::Json(patch, _), _) => patch.apply(&mut value).map(|()| value),
            (Self::Strategic(patch, _), Some(schema)) => {
                patch::strategic::apply(value, patch, schema)
            }
            (Self::Merge(patch, _) | Self::Strategic(patch, _), _) => {
                patch::merge::apply(&mut value, patch);
                Ok(value)
            }
        }
        .map_err(|error| Box::new(error.status()))
    }
}
