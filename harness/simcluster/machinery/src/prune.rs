//! Pruning: fields of custom resources that the schema does not name are dropped.
//!
//! What was dropped is told, because `fieldValidation` reports it. Metadata of the object itself is
//! read by [`crate::custom`]; here it is left alone.

use serde_json::Value;

use crate::schema::{AdditionalProperties, Schema};

/// Prunes an object and answers with the paths of what was dropped, in their order.
pub fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut walk = Walk {
        dropped: Vec::new(),
    };
    walk.value(object, Some(schema), "", true);
    walk.dropped.sort_unstable();
    walk.dropped
}

/// The same for a value that is no object of its own.
pub fn prune_value(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut walk = Walk {
        dropped: Vec::new(),
    };
    walk.value(value, Some(schema), "", false);
    walk.dropped.sort_unstable();
    walk.dropped
}

/// Drops nulls where the schema neither allows them nor has a default to put in their place.
pub fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| {
                let property = schema.properties.get(name);
                !(field.is_null()
                    && property.is_some_and(|one| !one.nullable && one.default.is_none()))
            });
            for (name, field) in fields.iter_mut() {
                if let Some(schema) = schema.field(name) {
                    drop_nulls(field, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for item in items {
                    drop_nulls(item, schema);
                }
            }
        }
        _ => {}
    }
}

struct Walk {
    dropped: Vec<String>,
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl Walk {
    fn value(&mut self, value: &mut Value, schema: Option<&Schema>, path: &str, embedded: bool) {
        let embedded = embedded || schema.is_some_and(|schema| schema.embedded_resource);
        let keep = schema.is_some_and(|schema| schema.preserve_unknown_fields);
        match value {
            Value::Object(fields) => {
                fields.retain(|name, field| {
                    if embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                        return true;
                    }
                    let path = below(path, name);
                    let Some(schema) = schema else {
                        self.dropped.push(path);
                        return false;
                    };
                    if let Some(property) = schema.properties.get(name) {
                        self.value(field, Some(property), &path, false);
                        return true;
                    }
                    match &schema.additional_properties {
                        AdditionalProperties::Schema(schema) => {
                            self.value(field, Some(schema), &path, false);
                            true
                        }
                        AdditionalProperties::Allowed(true) if !keep => {
                            self.value(field, None, &path, false);
                            true
                        }
                        _ if keep => true,
                        _ => {
                            self.dropped.push(path);
                            false
                        }
                    }
                });
            }
            Value::Array(items) => {
                let schema = match schema {
                    Some(schema) => match &schema.items {
                        Some(items) => Some(&**items),
                        None if keep => return,
                        None => None,
                    },
                    None => None,
                };
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, schema, &format!("{path}[{index}]"), false);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_go_except_where_they_are_preserved() {
        let schema = Schema::from_openapi(&json!({"type": "object", "properties": {"spec": {
            "type": "object", "properties": {
                "known": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "open": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"inner": {"type": "object", "properties": {
                        "a": {"type": "string"}
                    }}}
                },
                "template": {"type": "object", "x-kubernetes-embedded-resource": true}
            }
        }}}));
        let mut object = json!({
            "apiVersion": "x/v1", "kind": "Box", "metadata": {"name": "b"}, "top": "level",
            "spec": {
                "known": "k", "unknown": "u", "list": [{"a": 1, "b": 2}], "map": {"x": "y"},
                "open": {"x": 1, "inner": {"a": "b", "c": "d"}},
                "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}
            }
        });
        let dropped = prune(&mut object, &schema);
        assert_eq!(
            dropped,
            [
                "spec.list[0].b",
                "spec.open.inner.c",
                "spec.template.spec",
                "spec.unknown",
                "top"
            ]
        );
        assert_eq!(
            object["spec"],
            json!({
                "known": "k", "list": [{"a": 1}], "map": {"x": "y"},
                "open": {"x": 1, "inner": {"a": "b"}},
                "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {}}
            })
        );
    }
}
