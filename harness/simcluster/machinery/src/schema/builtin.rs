//! The built-in kinds of Kubernetes 1.36: their schemas and resources, read from data.
//!
//! Nothing is parsed before it is asked for: the index of names is made at the first look-up, a
//! definition when it is first used. What a kind does beyond its schema is not known here.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde::Deserialize;
use serde_json::Value;

use super::{Inner, Schema, SchemaRef, Shape, parse};
use crate::kind::GroupVersionKind;

static SCHEMAS: &str = include_str!("../../data/kubernetes-1.36-schemas.ndjson");
static RESOURCES: &str = include_str!("../../data/kubernetes-1.36-resources.ndjson");

/// The definition of quantities.
pub const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
/// The definition of integers that may be strings.
pub const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
/// The definition of times to the second.
pub const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
/// The definition of times to the microsecond.
pub const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
/// The definition of objects' metadata.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// One definition, parsed when it is first used.
pub struct Definition {
    /// Its name: `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    source: &'static str,
    parsed: OnceLock<Schema>,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Definition").field(&self.name).finish()
    }
}

impl Definition {
    /// The schema.
    pub fn schema(&self) -> &Schema {
        self.parsed.get_or_init(|| {
            let mut schema = match self.json() {
                Value::Object(map) => parse::plain(&map),
                _ => Schema::default(),
            };
            schema.definition = Some(self.name);
            schema.shape = match self.name.rsplit('.').next().unwrap_or_default() {
                "Quantity" => Shape::Quantity,
                "IntOrString" => Shape::IntOrString,
                "Time" => Shape::Time,
                "MicroTime" => Shape::MicroTime,
                "RawExtension" | "FieldsV1" | "JSON" | "Patch" => Shape::Raw,
                name if name.starts_with("JSONSchemaPropsOr") => Shape::SchemaOr,
                _ => schema.shape,
            };
            if self.name == INT_OR_STRING {
                schema.int_or_string = true;
                // Said once, by the flag; a union would be checked a second time.
                schema.one_of.clear();
            }
            schema
        })
    }

    /// The schema as JSON, for OpenAPI documents: `$ref` holds bare names, `x-go` is ours.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.source).expect("the embedded schemas are valid JSON")
    }
}

struct Index {
    definitions: Vec<Definition>,
    by_name: HashMap<&'static str, usize>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let definitions: Vec<Definition> = SCHEMAS
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, source)| Definition {
            name,
            source,
            parsed: OnceLock::new(),
        })
        .collect();
    let by_name = definitions
        .iter()
        .enumerate()
        .map(|(i, d)| (d.name, i))
        .collect();
    Index {
        definitions,
        by_name,
    }
});

/// The definition with this name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    let index = &*INDEX;
    index.by_name.get(name).map(|&i| &index.definitions[i])
}

/// All definitions, in the order of their names.
pub fn definitions() -> &'static [Definition] {
    &INDEX.definitions
}

/// The definition of a kind.
pub fn definition_of(kind: &GroupVersionKind) -> Option<&'static Definition> {
    definition(&definition_name(kind)?)
}

fn definition_name(kind: &GroupVersionKind) -> Option<String> {
    let GroupVersionKind {
        group,
        version,
        kind,
    } = kind;
    let package = match group.as_str() {
        "" => "io.k8s.api.core".to_owned(),
        "apiextensions.k8s.io" => {
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".to_owned()
        }
        "apiregistration.k8s.io" => "io.k8s.kube-aggregator.pkg.apis.apiregistration".to_owned(),
        "internal.apiserver.k8s.io" => return None,
        // The first label names the package: `rbac.authorization.k8s.io` is `rbac`,
        // `flowcontrol.apiserver.k8s.io` is `flowcontrol`.
        other => format!("io.k8s.api.{}", other.split('.').next()?),
    };
    Some(format!("{package}.{version}.{kind}"))
}

/// The schema of a built-in kind.
pub fn schema(kind: &GroupVersionKind) -> Option<SchemaRef> {
    definition_of(kind).map(|definition| SchemaRef(Inner::Definition(definition)))
}

/// The schema of a schema, as custom resource definitions hold it.
pub fn json_schema_props() -> SchemaRef {
    let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let definition = definition(name).expect("the embedded schemas hold JSONSchemaProps");
    SchemaRef(Inner::Definition(definition))
}

/// The schema of objects' metadata, for custom resources too.
pub fn object_meta() -> SchemaRef {
    let definition = definition(OBJECT_META).expect("the embedded schemas hold ObjectMeta");
    SchemaRef(Inner::Definition(definition))
}

/// The schema of the options of a deletion.
pub fn delete_options() -> SchemaRef {
    let name = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
    let definition = definition(name).expect("the embedded schemas hold DeleteOptions");
    SchemaRef(Inner::Definition(definition))
}

/// A built-in resource, as discovery tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceInfo {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// The plural name, as in paths.
    pub resource: String,
    /// The singular name.
    pub singular: String,
    /// The kind.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Short names for the command line.
    #[serde(default)]
    pub short_names: Vec<String>,
    /// Categories such as `all`.
    #[serde(default)]
    pub categories: Vec<String>,
    /// What can be done: `get`, `list`, `watch`, …
    pub verbs: Vec<String>,
    /// What lies below an object.
    #[serde(default)]
    pub subresources: Vec<SubresourceInfo>,
}

/// A subresource of a built-in resource.
#[derive(Clone, Debug, Deserialize)]
pub struct SubresourceInfo {
    /// The last part of the path: `status`.
    pub name: String,
    /// Group of the kind it speaks.
    pub group: String,
    /// Version of the kind it speaks.
    pub version: String,
    /// The kind it speaks: `Scale`.
    pub kind: String,
    /// What can be done.
    pub verbs: Vec<String>,
}

impl ResourceInfo {
    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&self.group, &self.version, &self.kind)
    }

    /// The subresource with this name.
    pub fn subresource(&self, name: &str) -> Option<&SubresourceInfo> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }
}

/// All built-in resources, in the order of discovery.
pub fn resources() -> &'static [ResourceInfo] {
    static PARSED: LazyLock<Vec<ResourceInfo>> = LazyLock::new(|| {
        RESOURCES
            .lines()
            .map(|line| serde_json::from_str(line).expect("the embedded resources are valid JSON"))
            .collect()
    });
    &PARSED
}
