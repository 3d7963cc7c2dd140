//! Custom resources in versions that only a webhook knows how to make.
//!
//! What it made of a stored object is kept with that object, which never changes, so that a list or
//! a watch asks once. Not here: which client wants which version, [`super::served`] knows.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use simcluster_machinery::{
    apply::packed,
    field::{self, Path},
    name,
    status::{self, Status},
};

use crate::{
    server::{Failure, Inner, registry::Resource, verbs::new_uid, webhook_call},
    store::Object,
};

/// How long a conversion may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The webhook of a definition.
#[derive(Clone, Debug)]
pub(crate) struct Conversion {
    client_config: Value,
    /// The review version that both sides know.
    review_version: Option<&'static str>,
}

impl Conversion {
    /// Reads `spec.conversion`; nothing unless its strategy is `Webhook`.
    pub(crate) fn read(definition: &Value) -> Option<Self> {
        let conversion = &definition["spec"]["conversion"];
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let versions = conversion["webhook"]["conversionReviewVersions"].as_array();
        let review_version = versions.into_iter().flatten().find_map(|version| {
            let known = ["v1", "v1beta1"];
            known.into_iter().find(|known| version == *known)
        });
        Some(Self {
            client_config: conversion["webhook"]["clientConfig"].clone(),
            review_version,
        })
    }
}

/// Whether a value has to be sent to a webhook to become one of `to`.
pub(crate) fn is_needed(resource: &Resource, value: &Value, to: &str) -> bool {
    of(resource).is_some() && value["apiVersion"] != to
}

fn of(resource: &Resource) -> Option<&Conversion> {
    resource.custom.as_ref()?.conversion.as_ref()
}

/// Has the stored objects converted that are not yet, so that [`super::served`] finds them.
pub(crate) async fn ready(
    server: &Arc<Inner>,
    resource: &Resource,
    objects: impl IntoIterator<Item = &Arc<Object>> + Send,
) -> Result<(), Failure> {
    let (Some(conversion), Some(version)) = (of(resource), &resource.custom) else {
        return Ok(());
    };
    let to = resource.api_version();
    let mut objects: Vec<Arc<Object>> = objects
        .into_iter()
        .filter(|one| one.value()["apiVersion"] != to.as_str())
        .filter(|one| one.converted(&to, &version.source).is_none())
        .cloned()
        .collect();
    objects.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let values = objects.iter().map(|one| one.value().clone()).collect();
    let converted = convert(server, conversion, values, &to).await?;
    for (object, mut value) in objects.iter().zip(converted) {
        version.refresh(&mut value);
        object.keep_converted(&to, &version.source, value);
    }
    Ok(())
}

/// An object of one version in another one.
pub(crate) async fn to_version(
    server: &Arc<Inner>,
    resource: &Resource,
    value: Value,
) -> Result<Value, Failure> {
    let to = resource.api_version();
    let (Some(conversion), true) = (of(resource), value["apiVersion"] != to.as_str()) else {
        return Ok(super::served_value(resource, &value));
    };
    let converted = convert(server, conversion, vec![value], &to).await?;
    let mut value = first(converted)?;
    if let Some(version) = &resource.custom {
        version.refresh(&mut value);
    }
    Ok(value)
}

/// An object as it is kept, before the rules of that version have seen it.
pub(crate) async fn to_stored(
    server: &Arc<Inner>,
    resource: &Resource,
    value: Value,
) -> Result<Value, Failure> {
    let Some(conversion) = of(resource) else {
        return Ok(value);
    };
    let converted = convert(server, conversion, vec![value], &resource.stored_as).await?;
    first(converted)
}

fn first(converted: Vec<Value>) -> Result<Value, Failure> {
    let mut converted = converted.into_iter();
    converted
        .next()
        .ok_or_else(|| failure("conversion webhook failed, no objects returned".to_owned()))
}

/// What a real server says: an error without a reason.
fn failure(why: String) -> Failure {
    Box::new(Status::failure(500, "", why))
}

async fn convert(
    server: &Arc<Inner>,
    conversion: &Conversion,
    mut objects: Vec<Value>,
    to: &str,
) -> Result<Vec<Value>, Failure> {
    objects.iter_mut().for_each(packed::unpack);
    let Some(first) = objects.first() else {
        return Ok(Vec::new());
    };
    let kind = format!(
        "{}, Kind={}",
        first["apiVersion"].as_str().unwrap_or_default(),
        first["kind"].as_str().unwrap_or_default()
    );
    let Some(version) = conversion.review_version else {
        return Err(failure(
            "no supported conversion review versions".to_owned(),
        ));
    };
    let uid = new_uid();
    let review = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": to, "objects": objects},
    });
    let answer = webhook_call::post(server, &conversion.client_config, TIMEOUT, &review).await;
    let made = answer.and_then(|answer| converted_objects(answer, version, &uid));
    let made =
        made.map_err(|why| failure(format!("conversion webhook for {kind} failed: {why}")))?;
    if made.len() != objects.len() {
        return Err(failure(format!(
            "conversion webhook for {kind} returned {} objects, expected {}",
            made.len(),
            objects.len()
        )));
    }
    let mut result = Vec::with_capacity(made.len());
    for (original, converted) in objects.iter().zip(made) {
        let converted = accepted(original, converted, to)
            .map_err(|why| failure(format!("conversion webhook for {kind} returned {why}")))?;
        result.push(converted);
    }
    Ok(result)
}

/// The objects of an answer that says that all went well.
fn converted_objects(mut answer: Value, version: &str, uid: &str) -> Result<Vec<Value>, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let response = answer["response"].take();
    if version == "v1" {
        let expected = "apiextensions.k8s.io/v1, Kind=ConversionReview";
        let got = format!(
            "{}, Kind={}",
            text(&answer["apiVersion"]),
            text(&answer["kind"])
        );
        if got != expected {
            return Err(format!(
                "expected webhook response of {expected}, got {got}"
            ));
        }
    }
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    if version == "v1" && response["uid"] != uid {
        let got = text(&response["uid"]);
        return Err(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        let message = text(&result["message"]);
        return Err(if message.is_empty() {
            let status = text(&result["status"]);
            format!("response.result.status was '{status}', not 'Success'")
        } else {
            message
        });
    }
    Ok(match response {
        Value::Object(mut response) => match response.remove("convertedObjects") {
            Some(Value::Array(objects)) => objects,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    })
}

/// A converted object with the metadata of the original, of which a webhook may change labels and
/// annotations only.
fn accepted(original: &Value, mut converted: Value, to: &str) -> Result<Value, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&converted["apiVersion"]), text(&converted["kind"]));
    let invalid = "invalid object at index 0: invalid";
    if version != to {
        return Err(format!(
            "{invalid} groupVersion (expected {to}, received {version})"
        ));
    }
    if converted["kind"] != original["kind"] {
        let expected = text(&original["kind"]);
        return Err(format!(
            "{invalid} kind (expected {expected}, received {kind})"
        ));
    }
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (own, other) = (
            text(&original["metadata"][field]),
            text(&converted["metadata"][field]),
        );
        if own != other {
            return Err(format!(
                "invalid object: must have the same {shown}: {own} != {other}"
            ));
        }
    }
    let metadata = restored(&original["metadata"], &converted["metadata"])
        .map_err(|why| format!("invalid metadata: {why}"))?;
    converted["metadata"] = metadata;
    Ok(converted)
}

fn restored(original: &Value, converted: &Value) -> Result<Value, String> {
    let Some(converted) = converted.as_object() else {
        return Err("missing metadata in converted object".to_owned());
    };
    let mut metadata: Map<String, Value> = original.as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let Some(values) = converted.get(field).filter(|values| !values.is_null()) else {
            metadata.remove(field);
            continue;
        };
        let Some(values) = values.as_object() else {
            return Err(format!(
                "invalid metadata.{field} of type {} in converted object",
                go_type(values)
            ));
        };
        if let Some((key, value)) = values.iter().find(|(_, value)| !value.is_string()) {
            return Err(format!(
                "metadata.{field}[{key}] must be a string, but is {} in converted object",
                go_type(value)
            ));
        }
        if metadata.get(field).and_then(Value::as_object) != Some(values) {
            let complaints = complaints(field, values);
            if !complaints.is_empty() {
                return Err(status::aggregate(complaints.into_iter()));
            }
        }
        metadata.insert(field.to_owned(), values.clone().into());
    }
    Ok(metadata.into())
}

fn complaints(field: &str, values: &Map<String, Value>) -> Vec<String> {
    let path = Path::new("metadata").child(field);
    let mut errors = Vec::new();
    for (key, value) in values {
        for why in name::qualified_name(key) {
            errors.push(field::Error::invalid(&path, key.as_str(), why).to_string());
        }
        let value = value.as_str().unwrap_or_default();
        if field == "labels" {
            for why in name::label_value(value) {
                errors.push(field::Error::invalid(&path, value, why).to_string());
            }
        }
    }
    errors
}

/// What Go calls the type of a JSON value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
