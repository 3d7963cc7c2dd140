//! Objects and lists in the form that a client wants: whole, as tables, as metadata alone.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use simcluster_machinery::{apply::packed, status::Status};

use super::{
    Failure,
    call::Call,
    clock::Clock,
    metrics,
    negotiate::{Form, Wanted},
    query::Query,
    registry::Resource,
};
use crate::store::Object;

/// How much of an object goes into a table's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IncludeObject {
    None,
    Metadata,
    Object,
}

/// Makes answers about objects of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    resource: Arc<Resource>,
    pub(crate) wanted: Wanted,
    include: IncludeObject,
    clock: Clock,
}

/// The metadata of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: u64,
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    fn value(&self, custom: bool) -> Value {
        let mut meta = Map::new();
        if custom {
            // Lists of custom resources name all their fields.
            meta.insert("continue".to_owned(), "".into());
        }
        // What is not stored has no revision.
        if self.revision > 0 {
            meta.insert(
                "resourceVersion".to_owned(),
                self.revision.to_string().into(),
            );
        }
        if let Some(next) = &self.next {
            meta.insert("continue".to_owned(), next.clone().into());
        }
        if let Some(remaining) = self.remaining {
            meta.insert("remainingItemCount".to_owned(), remaining.into());
        }
        meta.into()
    }
}

impl Former {
    /// For the objects of a call.
    pub(crate) fn new(call: &Call, wanted: Wanted) -> Result<Self, Failure> {
        let include = match (wanted.form, include_object(&call.query)) {
            (Form::Table, Err(given)) => {
                return Err(Box::new(Status::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: \
                     {given:?}: must be 'Metadata', 'Object', 'None', or empty"
                ))));
            }
            (_, include) => include.unwrap_or(IncludeObject::Metadata),
        };
        Ok(Self {
            resource: Arc::clone(&call.resource),
            wanted,
            include,
            clock: call.server.config.clock.clone(),
        })
    }

    /// One object, as it is sent in an answer.
    pub(crate) fn object(&self, object: &Object) -> Bytes {
        match self.wanted.form {
            Form::Whole => object.json(),
            Form::Metadata => self.metadata(object.value()).to_string().into(),
            Form::Table => {
                let mut meta = Map::new();
                let version = &object.value()["metadata"]["resourceVersion"];
                if !version.is_null() {
                    meta.insert("resourceVersion".to_owned(), version.clone());
                }
                self.table(&[object], &meta.into(), true).to_string().into()
            }
        }
    }

    /// One object in a watch; only the first table of a stream has column definitions.
    pub(crate) fn event_object(&self, object: &Object, first: bool) -> Bytes {
        match self.wanted.form {
            Form::Table => {
                let meta = json!({"resourceVersion": object.revision().to_string()});
                self.table(&[object], &meta, first).to_string().into()
            }
            Form::Whole | Form::Metadata => self.object(object),
        }
    }

    /// A list.
    pub(crate) fn list(&self, objects: &[Arc<Object>], meta: &ListMeta) -> Bytes {
        match self.wanted.form {
            Form::Whole => self.whole_list(objects, meta),
            Form::Metadata => {
                let items: Vec<Value> = objects
                    .iter()
                    .map(|object| self.metadata(object.value()))
                    .collect();
                json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": self.meta_api_version(),
                    "metadata": meta.value(false),
                    "items": items,
                })
                .to_string()
                .into()
            }
            Form::Table => {
                let objects: Vec<&Object> = objects.iter().map(|object| &**object).collect();
                self.table(&objects, &meta.value(false), true)
                    .to_string()
                    .into()
            }
        }
    }

    /// Joins the texts of the objects, which are there already.
    fn whole_list(&self, objects: &[Arc<Object>], meta: &ListMeta) -> Bytes {
        let typed = self.resource.custom.is_none();
        let length: usize = objects.iter().map(|object| object.json().len() + 1).sum();
        let mut text = Vec::with_capacity(length + 256);
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{},\"items\":[",
            Value::from(self.resource.list_kind.as_str()),
            Value::from(self.resource.api_version()),
            meta.value(!typed)
        );
        text.extend_from_slice(head.as_bytes());
        for (n, object) in objects.iter().enumerate() {
            if n > 0 {
                text.push(b',');
            }
            if typed {
                // Items of built-in lists do not repeat their type.
                text.push(b'{');
                text.extend_from_slice(object.json_without_type());
            } else {
                text.extend_from_slice(&object.json());
            }
        }
        text.extend_from_slice(b"]}");
        text.into()
    }

    fn meta_api_version(&self) -> String {
        format!("meta.k8s.io/{}", self.wanted.form_version)
    }

    fn metadata(&self, object: &Value) -> Value {
        json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": self.meta_api_version(),
            "metadata": packed::unpacked(object)["metadata"],
        })
    }

    fn table(&self, objects: &[&Object], meta: &Value, with_columns: bool) -> Value {
        let now = self.clock.now();
        let (columns, mut rows) = match &self.resource.custom {
            Some(version) => version.table(objects.iter().map(|object| object.value()), now),
            None if self.resource.name.group == metrics::GROUP => metrics::table(objects),
            None => built_in_table(&self.resource, objects, now),
        };
        for (row, object) in rows.iter_mut().zip(objects) {
            row["object"] = match self.include {
                IncludeObject::None => Value::Null,
                IncludeObject::Metadata => self.metadata(object.value()),
                IncludeObject::Object => packed::unpacked(object.value()).into_owned(),
            };
        }
        json!({
            "kind": "Table",
            "apiVersion": self.meta_api_version(),
            "metadata": meta,
            "columnDefinitions": if with_columns { columns } else { Value::Null },
            "rows": rows,
        })
    }
}

fn built_in_table(
    resource: &Resource,
    objects: &[&Object],
    now: jiff::Timestamp,
) -> (Value, Vec<Value>) {
    let rules = resource.rules();
    let columns = rules
        .columns()
        .iter()
        .map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": "", "priority": column.priority,
            })
        })
        .collect();
    let rows = objects
        .iter()
        .map(|object| {
            let row = rules.row(object.value(), now);
            let mut value = json!({ "cells": row.cells });
            if !row.conditions.is_empty() {
                value["conditions"] = row.conditions.into();
            }
            value
        })
        .collect();
    (columns, rows)
}

fn include_object(query: &Query) -> Result<IncludeObject, &str> {
    match query.get("includeObject") {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        other => Err(other),
    }
}
