//! Objects in other versions than the one they are kept in.
//!
//! Where only a webhook can convert, [`ready`] has to be awaited before [`served`] is called.

mod autoscaler;
mod webhook;

use std::{borrow::Cow, sync::Arc};

use serde_json::{Value, json};

use super::registry::Resource;
use crate::store::Object;
pub(crate) use webhook::{Conversion, is_needed, ready, to_stored, to_version};

/// A stored object in the version of `resource`.
pub(crate) fn served(resource: &Resource, object: &Arc<Object>) -> Arc<Object> {
    let api_version = object.value()["apiVersion"].as_str().unwrap_or_default();
    if api_version == resource.api_version() && !needs_defaults(resource) {
        return Arc::clone(object);
    }
    let source = resource
        .custom
        .as_ref()
        .map_or("", |version| &version.source);
    let api_version = resource.api_version();
    object.converted(&api_version, source).unwrap_or_else(|| {
        let shown = served_value(resource, object.value());
        object.keep_converted(&api_version, source, shown)
    })
}

fn needs_defaults(resource: &Resource) -> bool {
    resource
        .custom
        .as_ref()
        .is_some_and(|version| version.has_defaults())
}

/// The same for a value.
pub(crate) fn served_value(resource: &Resource, stored: &Value) -> Value {
    let mut value = convert(stored, &resource.api_version()).into_owned();
    if let Some(version) = &resource.custom {
        version.refresh(&mut value);
    }
    value
}

/// An object as it is kept.
pub(crate) fn stored(resource: &Resource, value: Value) -> Value {
    let mut value = match convert(&value, &resource.stored_as) {
        Cow::Borrowed(_) => value,
        Cow::Owned(converted) => converted,
    };
    if let Some(version) = &resource.custom {
        version.settle(&mut value);
    }
    value
}

fn convert<'v>(value: &'v Value, to: &str) -> Cow<'v, Value> {
    let from = value["apiVersion"].as_str().unwrap_or_default();
    if from == to {
        return Cow::Borrowed(value);
    }
    let mut value = value.clone();
    match (from, to) {
        ("events.k8s.io/v1", "v1") => event_to_core(&mut value),
        ("v1", "events.k8s.io/v1") => event_from_core(&mut value),
        ("autoscaling/v1", "autoscaling/v2") => autoscaler::to_v2(&mut value),
        ("autoscaling/v2", "autoscaling/v1") => autoscaler::to_v1(&mut value),
        _ => {}
    }
    value["apiVersion"] = to.into();
    Cow::Owned(value)
}

/// Fields that both event APIs have, in the core group and in `events.k8s.io`.
const EVENT_FIELDS: [(&str, &str); 6] = [
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename(value: &mut Value, from: &str, to: &str) {
    if let Some(fields) = value.as_object_mut()
        && let Some(field) = fields.remove(from)
    {
        fields.insert(to.to_owned(), field);
    }
}

fn event_to_core(value: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        rename(value, new, core);
    }
    rename(value, "reportingController", "reportingComponent");
    let fill = [
        ("source", json!({})),
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
    ];
    for (name, empty) in fill {
        if value.get(name).is_none() {
            value[name] = empty;
        }
    }
    for name in ["reportingComponent", "reportingInstance"] {
        if value.get(name).is_none() {
            value[name] = "".into();
        }
    }
    if value.get("involvedObject").is_none() {
        value["involvedObject"] = json!({});
    }
}

fn event_from_core(value: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        rename(value, core, new);
    }
    rename(value, "reportingComponent", "reportingController");
    if let Some(fields) = value.as_object_mut() {
        for name in ["reportingController", "reportingInstance"] {
            if fields.get(name).and_then(Value::as_str) == Some("") {
                fields.remove(name);
            }
        }
        fields.entry("eventTime").or_insert(Value::Null);
    }
}
