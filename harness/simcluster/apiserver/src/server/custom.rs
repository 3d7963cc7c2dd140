//! A version of a custom resource, as its definition describes it.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_discovery::KindSchema;
use simcluster_kinds::KindRules;
use simcluster_machinery::{apply::ObjectType, decode::Problem};

use super::Failure;

/// What a definition says about one version.
#[derive(Debug)]
pub struct CustomVersion {
    /// For OpenAPI documents.
    pub kind_schema: KindSchema,
}

/// Where objects have their replicas: `.spec.replicas`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: Option<String>,
}

impl CustomVersion {
    /// Where objects have their replicas, if they have a scale.
    pub(crate) fn scale(&self) -> Option<&ScalePaths> {
        None
    }

    /// Removes what the schema does not know, and names it.
    pub(crate) fn prune(&self, _object: &mut Value) -> Vec<Problem> {
        Vec::new()
    }

    /// Custom resources must say what they are.
    pub(crate) fn check_type(&self, _object: &Value) -> Result<(), Failure> {
        Ok(())
    }

    /// How objects are merged by server-side apply.
    pub(crate) fn object_type(&self) -> ObjectType {
        ObjectType::Untyped
    }

    /// Whether reading an object may add defaults.
    pub(crate) fn has_defaults(&self) -> bool {
        false
    }

    /// What is done to an object that was kept, before anybody sees it.
    pub(crate) fn read(&self, _object: &mut Value) {}

    /// Whether field selectors may name this field.
    pub(crate) fn selects_by(&self, _field: &str) -> bool {
        false
    }

    /// The refusal of a field selector.
    pub(crate) fn unknown_field(&self, field: &str) -> String {
        format!("field label not supported: {field}")
    }

    /// The value of a selectable field.
    pub(crate) fn field(&self, _object: &Value, _field: &str) -> Option<String> {
        None
    }

    /// Column definitions and rows.
    pub(crate) fn table<'v>(
        &self,
        objects: impl Iterator<Item = &'v Value>,
        _now: Timestamp,
    ) -> (Value, Vec<Value>) {
        let rows = objects
            .map(|object| json!({"cells": [object["metadata"]["name"]]}))
            .collect();
        (json!([]), rows)
    }
}

impl KindRules for CustomVersion {}
