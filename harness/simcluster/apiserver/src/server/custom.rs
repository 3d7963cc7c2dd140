//! A version of a custom resource, as its definition describes it: what a built-in kind has in its
//! own rules, this one has in data.
//!
//! The lifecycle of definitions is in [`super::definitions`].

mod columns;

use jiff::Timestamp;
use serde_json::{Map, Value};
use simcluster_discovery::KindSchema;
use simcluster_kinds::KindRules;
use simcluster_machinery::{
    apply::ObjectType,
    cel::Rules,
    custom,
    decode::{DecodeError, Problem},
    field::{Error, Path},
    jsonpath::{self, JsonPath},
    kind::GroupVersionKind,
    schema::{Schema, SchemaRef, custom_object},
    status::Status,
    validate,
};

use self::columns::Column;
use super::{Failure, convert::Conversion, registry::version_priority};

/// Where objects have their replicas: `.spec.replicas`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: Option<String>,
}

/// What a definition says about one version.
#[derive(Debug)]
pub(crate) struct CustomVersion {
    /// For OpenAPI documents.
    pub(crate) kind_schema: KindSchema,
    /// `uid/generation` of the definition that it was read from.
    pub(crate) source: String,
    /// The definition is about to go: no new objects.
    pub(crate) terminating: bool,
    /// The webhook that converts between versions; without one they differ in name only.
    pub(crate) conversion: Option<Conversion>,
    /// What clients that use a deprecated version are told.
    pub(crate) deprecation: Option<String>,
    kind: GroupVersionKind,
    schema: SchemaRef,
    /// The same with `apiVersion`, `kind` and `metadata`.
    object_schema: SchemaRef,
    rules: Option<Rules>,
    /// The schema of the version that objects are kept in, when it is another one.
    storage_schema: Option<SchemaRef>,
    has_status: bool,
    has_defaults: bool,
    scale: Option<ScalePaths>,
    columns: Vec<Column>,
    selectable: Vec<(String, JsonPath)>,
}

impl CustomVersion {
    /// Reads one entry of `spec.versions`.
    pub(crate) fn read(kind: GroupVersionKind, definition: &Value, version: &Value) -> Self {
        let openapi = &version["schema"]["openAPIV3Schema"];
        let mut schema = Schema::from_openapi(openapi);
        if definition["spec"]["preserveUnknownFields"] == true {
            let mut open = Schema::clone(&schema);
            open.preserve_unknown_fields = true;
            schema = SchemaRef::new(open);
        }
        let subresources = &version["subresources"];
        let path = |field: &str| subresources["scale"][field].as_str().map(str::to_owned);
        let selectable = version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|field| {
                let text = field["jsonPath"].as_str()?;
                let path = JsonPath::parse(text).ok()?;
                Some((text.trim_start_matches('.').to_owned(), path))
            })
            .collect();
        Self {
            kind_schema: KindSchema {
                name: schema_name(&kind),
                schema: documented(openapi, &kind),
            },
            source: source(definition),
            terminating: !definition["metadata"]["deletionTimestamp"].is_null(),
            conversion: Conversion::read(definition),
            deprecation: deprecation(&kind, definition, version),
            object_schema: custom_object(&schema),
            rules: Rules::compile(&schema, true),
            storage_schema: storage_schema(definition, version),
            has_status: subresources["status"].is_object(),
            has_defaults: mentions_default(openapi),
            scale: subresources["scale"].is_object().then(|| ScalePaths {
                spec_replicas: path("specReplicasPath").unwrap_or_default(),
                status_replicas: path("statusReplicasPath").unwrap_or_default(),
                selector: path("labelSelectorPath"),
            }),
            columns: columns::read(version),
            selectable,
            schema,
            kind,
        }
    }

    /// Whether only the status subresource writes the status.
    pub(crate) fn has_status_subresource(&self) -> bool {
        self.has_status
    }

    /// Where objects have their replicas, if they have a scale.
    pub(crate) fn scale(&self) -> Option<&ScalePaths> {
        self.scale.as_ref()
    }

    /// Reads the metadata, removes what the schema does not know, and names it.
    pub(crate) fn coerce(&self, object: &mut Value) -> Result<Vec<Problem>, DecodeError> {
        custom::coerce(object, &self.schema)
    }

    /// Custom resources must say what they are.
    pub(crate) fn check_type(&self, object: &Value) -> Result<(), Failure> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, version) = (text(&object["kind"]), text(&object["apiVersion"]));
        let mut errors = Vec::new();
        for (field, given, own) in [
            ("kind", &kind, self.kind.kind.clone()),
            ("apiVersion", &version, self.kind.api_version()),
        ] {
            if *given != own {
                let why = format!("must be {own}");
                errors.push(Error::invalid(&Path::new(field), given.as_str(), why));
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        let claimed = GroupVersionKind::from_api_version(&version, &kind);
        let name = text(&object["metadata"]["name"]);
        Err(Box::new(Status::invalid(
            &claimed.group,
            &kind,
            &name,
            &errors,
        )))
    }

    /// How objects are merged by server-side apply.
    pub(crate) fn object_type(&self) -> ObjectType {
        ObjectType::Custom(self.object_schema.clone())
    }

    /// Whether reading an object may add defaults.
    pub(crate) fn has_defaults(&self) -> bool {
        self.has_defaults
    }

    /// What is done to an object that was kept, before anybody sees it: its schema may have grown
    /// defaults, or lost fields, since then.
    pub(crate) fn refresh(&self, object: &mut Value) {
        simcluster_machinery::prune::prune(object, &self.schema);
        custom::fill_in_defaults(object, &self.schema);
    }

    /// What is done to an object before it is kept: the version that it is kept in may know less.
    pub(crate) fn settle(&self, object: &mut Value) {
        if let Some(schema) = &self.storage_schema {
            simcluster_machinery::prune::prune(object, schema);
            custom::fill_in_defaults(object, schema);
        }
    }

    /// Whether field selectors may name this field.
    pub(crate) fn selects_by(&self, field: &str) -> bool {
        self.selectable.iter().any(|(own, _)| own == field)
    }

    /// The value of a selectable field.
    pub(crate) fn field(&self, object: &Value, field: &str) -> Option<String> {
        let (_, path) = self.selectable.iter().find(|(own, _)| own == field)?;
        path.first(object).map(jsonpath::print)
    }

    /// What the schema and its rules say against an object.
    fn check(&self, object: &Value, old: Option<&Value>) -> Vec<Error> {
        let mut errors = custom::validate(object, old, &self.schema);
        if let Some(rules) = &self.rules {
            if validate::blocks_rules(&errors) {
                errors.push(validate::rules_not_checked());
            } else {
                errors.extend(rules.validate(object, old));
            }
        }
        errors
    }

    /// Column definitions and rows.
    pub(crate) fn table<'v>(
        &self,
        objects: impl Iterator<Item = &'v Value>,
        now: Timestamp,
    ) -> (Value, Vec<Value>) {
        let definitions = self.columns.iter().map(Column::definition).collect();
        let rows = objects
            .map(|object| {
                let cells: Vec<Value> = (self.columns.iter())
                    .map(|column| column.cell(object, now))
                    .collect();
                serde_json::json!({ "cells": cells })
            })
            .collect();
        (definitions, rows)
    }
}

/// Tells states of a definition apart.
pub(crate) fn source(definition: &Value) -> String {
    let metadata = &definition["metadata"];
    format!(
        "{}/{}/{}",
        metadata["uid"].as_str().unwrap_or_default(),
        metadata["generation"],
        metadata["deletionTimestamp"].is_null()
    )
}

/// `homework.otus.v1.MySQL`: the group backwards, the version and the kind.
fn schema_name(kind: &GroupVersionKind) -> String {
    let mut parts: Vec<&str> = kind.group.split('.').rev().collect();
    parts.extend([kind.version.as_str(), kind.kind.as_str()]);
    parts.join(".")
}

/// The schema as documents show it: with the fields that every object has.
fn documented(openapi: &Value, kind: &GroupVersionKind) -> Value {
    let mut schema = openapi.clone();
    if !schema.is_object() {
        schema = serde_json::json!({"type": "object"});
    }
    let properties = &mut schema["properties"];
    if !properties.is_object() {
        *properties = Value::Object(Map::new());
    }
    for name in ["apiVersion", "kind"] {
        properties[name] = serde_json::json!({"type": "string"});
    }
    properties["metadata"] =
        serde_json::json!({"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"});
    schema["x-kubernetes-group-version-kind"] = serde_json::json!([
        {"group": kind.group, "version": kind.version, "kind": kind.kind}
    ]);
    schema
}

fn deprecation(kind: &GroupVersionKind, definition: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(warning) = version["deprecationWarning"].as_str() {
        return Some(warning.to_owned());
    }
    let mut warning = format!("{} {} is deprecated", kind.api_version(), kind.kind);
    let better = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .filter_map(|other| other["name"].as_str())
        .max_by_key(|name| version_priority(name))
        .filter(|name| version_priority(name) > version_priority(&kind.version));
    if let Some(name) = better {
        warning = format!("{warning}; use {}/{name} {}", kind.group, kind.kind);
    }
    Some(warning)
}

fn storage_schema(definition: &Value, version: &Value) -> Option<SchemaRef> {
    let storage = definition["spec"]["versions"]
        .as_array()?
        .iter()
        .find(|other| other["storage"] == true)?;
    (storage["name"] != version["name"])
        .then(|| Schema::from_openapi(&storage["schema"]["openAPIV3Schema"]))
}

fn mentions_default(openapi: &Value) -> bool {
    match openapi {
        Value::Object(fields) => {
            fields.contains_key("default") || fields.values().any(mentions_default)
        }
        Value::Array(items) => items.iter().any(mentions_default),
        _ => false,
    }
}

fn without(object: &Value, fields: &[&str]) -> Value {
    let mut object = object.clone();
    if let Some(own) = object.as_object_mut() {
        for field in fields {
            own.remove(*field);
        }
    }
    object
}

impl KindRules for CustomVersion {
    fn default(&self, object: &mut Value) {
        custom::fill_in_defaults(object, &self.schema);
    }

    fn prepare_create(&self, object: &mut Value) {
        if self.has_status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        object["metadata"]["generation"] = 1.into();
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status
            && let Some(fields) = new.as_object_mut()
        {
            match old.get("status") {
                Some(status) => fields.insert("status".to_owned(), status.clone()),
                None => fields.remove("status"),
            };
        }
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        let bump = i64::from(self.bumps_generation(new, old));
        new["metadata"]["generation"] = (generation + bump).into();
    }

    /// Everything but metadata counts, and but the status where that is written apart.
    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        let ignored: &[&str] = if self.has_status {
            &["metadata", "status", "apiVersion", "kind"]
        } else {
            &["metadata", "apiVersion", "kind"]
        };
        without(new, ignored) != without(old, ignored)
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        let status = new.get("status").cloned();
        let managers = new["metadata"].get("managedFields").cloned();
        *new = without(old, &["status"]);
        if let Some(status) = status {
            new["status"] = status;
        }
        if let Some(managers) = managers {
            new["metadata"]["managedFields"] = managers;
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<Error> {
        self.check(object, None)
    }

    /// They are warned of instead.
    fn finalizers_are_qualified(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        simcluster_kinds::finalizer_warnings(new, old)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        self.check(new, Some(old))
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        self.check(new, Some(old))
    }
}
