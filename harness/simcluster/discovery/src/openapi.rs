//! OpenAPI v3: the index, and a document for each group and version. What v2 makes of them: [`swagger`].
//!
//! Enough for what clients do with it: kubectl's validation, explain and apply look for an operation by
//! its kind, for the query parameter `fieldValidation`, and for the schema of the kind.

mod descriptions;
mod protobuf;
mod swagger;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use simcluster_machinery::schema::builtin::{self, ResourceInfo};

pub use self::swagger::{v2, v2_protobuf};

/// The schema of a custom kind, for the documents of its group and version.
#[derive(Clone, Debug)]
pub struct KindSchema {
    /// Its name among the document's components: `homework.otus.v1.MySQL`.
    pub name: String,
    /// The OpenAPI schema of the whole object, references by bare name.
    pub schema: Value,
}

/// The paths of an API group's resources below the server's root: `api/v1`, `apis/apps/v1`.
fn base(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// `/openapi/v3`: where each group and version has its document; `version` changes when they do.
pub fn v3_index(resources: &[ResourceInfo], version: u64) -> Value {
    let mut paths = Map::new();
    let mut put = |path: String| {
        let url = format!("/openapi/v3/{path}?hash={version:016X}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    };
    for path in ["api", "apis", "version"] {
        put(path.to_owned());
    }
    for resource in resources {
        put(base(&resource.group, &resource.version));
        if !resource.group.is_empty() {
            put(format!("apis/{}", resource.group));
        }
    }
    json!({ "paths": paths })
}

/// The document of one group and version; `None` when nothing of it is served.
pub fn v3(
    resources: &[ResourceInfo],
    group: &str,
    version: &str,
    custom: &[KindSchema],
) -> Option<Value> {
    let served: Vec<&ResourceInfo> = resources
        .iter()
        .filter(|resource| resource.group == group && resource.version == version)
        .collect();
    if served.is_empty() {
        return None;
    }
    let mut paths = Map::new();
    let mut schemas = Map::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for resource in served {
        let component = component(resource, custom);
        wanted.extend(component.clone());
        let prefix = "#/components/schemas/";
        let schema = component.map(|name| json!({"$ref": format!("{prefix}{name}")}));
        insert_paths(&mut paths, resource, schema.as_ref());
    }
    collect(&mut schemas, wanted, custom, "#/components/schemas/");
    schemas.values_mut().for_each(wrap_references);
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36"},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

/// The name of a resource's schema.
fn component(resource: &ResourceInfo, custom: &[KindSchema]) -> Option<String> {
    let kind = resource.gvk();
    builtin::definition_of(&kind)
        .map(|definition| definition.name.to_owned())
        .or_else(|| {
            custom
                .iter()
                .find(|schema| {
                    schema.schema["x-kubernetes-group-version-kind"][0]
                        == json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
                })
                .map(|schema| schema.name.clone())
        })
}

fn insert_paths(paths: &mut Map<String, Value>, resource: &ResourceInfo, schema: Option<&Value>) {
    let base = base(&resource.group, &resource.version);
    let within = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("/{base}{within}/{}", resource.resource);
    let kind = resource.gvk();
    let operations = |pairs: &[(&str, &str, &str)]| {
        let mut operations = Map::new();
        for (method, verb, action) in pairs {
            if !resource.verbs.iter().any(|served| served == verb) {
                continue;
            }
            let mut operation = json!({
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind":
                    {"group": kind.group, "version": kind.version, "kind": kind.kind},
                "responses": {"200": {"description": "OK"}},
            });
            if let Some(schema) = schema {
                operation["responses"]["200"]["content"] =
                    json!({"application/json": {"schema": schema}});
            }
            if matches!(*action, "post" | "put" | "patch") {
                operation["parameters"] = ["dryRun", "fieldManager", "fieldValidation"]
                    .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
                    .to_vec()
                    .into();
            }
            operations.insert((*method).to_owned(), operation);
        }
        operations
    };
    let on_collection = operations(&[
        ("get", "list", "list"),
        ("post", "create", "post"),
        ("delete", "deletecollection", "deletecollection"),
    ]);
    let on_object = operations(&[
        ("get", "get", "get"),
        ("put", "update", "put"),
        ("patch", "patch", "patch"),
        ("delete", "delete", "delete"),
    ]);
    paths.insert(format!("{collection}/{{name}}"), on_object.into());
    paths.insert(collection, on_collection.into());
}

/// Puts the wanted schemas and all that they refer to.
fn collect(
    into: &mut Map<String, Value>,
    mut wanted: BTreeSet<String>,
    custom: &[KindSchema],
    prefix: &str,
) {
    while let Some(name) = wanted.pop_first() {
        if into.contains_key(&name) {
            continue;
        }
        let schema = custom
            .iter()
            .find(|schema| schema.name == name)
            .map(|schema| schema.schema.clone())
            .or_else(|| {
                let mut schema = builtin::definition(&name)?.json();
                descriptions::describe(&name, &mut schema);
                Some(schema)
            });
        let Some(mut schema) = schema else { continue };
        rewrite(&mut schema, prefix, &mut wanted);
        into.insert(name, schema);
    }
}

/// Turns bare references into references of the document, and notes what they refer to.
fn rewrite(schema: &mut Value, prefix: &str, wanted: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            map.remove("x-go");
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && !reference.starts_with('#')
            {
                wanted.insert(reference.clone());
                *reference = format!("{prefix}{reference}");
            }
            map.values_mut()
                .for_each(|value| rewrite(value, prefix, wanted));
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rewrite(item, prefix, wanted)),
        _ => {}
    }
}

/// In v3 nothing may stand beside a reference: one that is described becomes part of a schema.
fn wrap_references(schema: &mut Value) {
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for field in fields.into_iter().flat_map(Map::values_mut) {
        if let Some(map) = field.as_object_mut()
            && map.contains_key("description")
            && let Some(reference) = map.remove("$ref")
        {
            map.insert("allOf".to_owned(), json!([{"$ref": reference}]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_holds_all_that_it_refers_to() {
        let document = v3(builtin::resources(), "apps", "v1", &[]).expect("apps/v1");
        let text = document.to_string();
        let schemas = document["components"]["schemas"]
            .as_object()
            .expect("schemas");
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().expect("a name");
            assert!(schemas.contains_key(name), "{name} is missing");
        }
        assert!(schemas.contains_key("io.k8s.api.core.v1.PodSpec"));
    }

    #[test]
    fn a_described_reference_stands_within_all_of() {
        let document = v3(builtin::resources(), "", "v1", &[]).expect("v1");
        let spec =
            &document["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
        let reference = "#/components/schemas/io.k8s.api.core.v1.PodSpec";
        assert_eq!(spec["allOf"], json!([{"$ref": reference}]));
        assert_eq!(spec.get("$ref"), None);
        let text = spec["description"].as_str().unwrap_or_default();
        assert!(
            text.starts_with("Specification of the desired behavior"),
            "{text}"
        );
    }

    #[test]
    fn patch_operations_tell_of_field_validation() {
        let document = v3(builtin::resources(), "", "v1", &[]).expect("v1");
        let path = "/api/v1/namespaces/{namespace}/configmaps/{name}";
        let parameters = &document["paths"][path]["patch"]["parameters"];
        assert!(
            parameters.to_string().contains("fieldValidation"),
            "{parameters}"
        );
    }

    #[test]
    fn the_index_names_each_group_and_version() {
        let index = v3_index(builtin::resources(), 1);
        let url = &index["paths"]["apis/apps/v1"]["serverRelativeURL"];
        assert_eq!(url, "/openapi/v3/apis/apps/v1?hash=0000000000000001");
    }
}
