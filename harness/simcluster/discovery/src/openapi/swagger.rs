//! OpenAPI v2, once called Swagger: the one document of everything served.
//!
//! What v3 says and v2 has no words for is left out, as a real server leaves it out; so older clients
//! validate less, and never refuse what the server takes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use simcluster_machinery::schema::builtin::ResourceInfo;

use super::{KindSchema, collect, component, insert_paths, protobuf};

/// `/openapi/v2`.
pub fn v2(resources: &[ResourceInfo], custom: &[KindSchema]) -> Value {
    let mut paths = Map::new();
    let mut definitions = Map::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for resource in resources {
        let component = component(resource, custom);
        wanted.extend(component.clone());
        let schema = component.map(|name| json!({"$ref": format!("#/definitions/{name}")}));
        insert_paths(&mut paths, resource, schema.as_ref());
    }
    collect(&mut definitions, wanted, custom, "#/definitions/");
    for operations in paths.values_mut().filter_map(Value::as_object_mut) {
        operations.values_mut().for_each(simplify_operation);
    }
    definitions.values_mut().for_each(simplify_schema);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36"},
        "paths": paths,
        "definitions": definitions,
    })
}

/// `/openapi/v2` in the protobuf form that clients before 1.29 insist on.
pub fn v2_protobuf(resources: &[ResourceInfo], custom: &[KindSchema]) -> Vec<u8> {
    protobuf::document(&v2(resources, custom))
}

/// Parameters name their type themselves, and answers have one schema for all media types.
fn simplify_operation(operation: &mut Value) {
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in parameters
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if let Some(Value::Object(schema)) = parameter.remove("schema") {
            parameter.extend(schema);
        }
    }
    let answers = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut);
    for answer in answers
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
    {
        if let Some(mut content) = answer.remove("content") {
            let schema = content["application/json"]["schema"].take();
            answer.insert("schema".to_owned(), schema);
        }
    }
}

fn simplify_schema(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    for combination in ["allOf", "anyOf", "oneOf", "not"] {
        map.remove(combination);
    }
    let is = |map: &Map<String, Value>, key: &str| map.get(key) == Some(&Value::Bool(true));
    let nullable = is(map, "nullable");
    let open = nullable || is(map, "x-kubernetes-preserve-unknown-fields");
    if open || is(map, "x-kubernetes-int-or-string") {
        map.remove("type");
    }
    if open {
        map.remove("items");
        map.remove("properties");
    }
    map.remove("nullable");
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            simplify_schema(inner);
        }
    }
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(simplify_schema);
    }
}

#[cfg(test)]
mod tests {
    use simcluster_machinery::schema::builtin;

    use super::*;

    #[test]
    fn what_v2_has_no_words_for_is_left_out() {
        let custom = KindSchema {
            name: "test.v1.T".to_owned(),
            schema: json!({
                "type": "object",
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
                "properties": {
                    "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "maybe": {"type": "string", "nullable": true},
                },
            }),
        };
        let mut schema = custom.schema.clone();
        simplify_schema(&mut schema);
        assert_eq!(
            schema["properties"],
            json!({"port": {"x-kubernetes-int-or-string": true}, "maybe": {}})
        );
    }

    #[test]
    fn a_query_parameter_names_its_type_itself() {
        let document = v2(builtin::resources(), &[]);
        let path = "/api/v1/namespaces/{namespace}/configmaps/{name}";
        assert_eq!(
            document["paths"][path]["patch"]["parameters"][2],
            json!({"name": "fieldValidation", "in": "query", "type": "string"})
        );
    }
}
