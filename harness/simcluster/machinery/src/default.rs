//! Defaults of custom resources.

use serde_json::Value;

use crate::schema::{AdditionalProperties, Schema};

/// Puts defaults where a field is absent, or null where it may not be.
pub fn fill_in(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            for (name, property) in schema.properties.iter() {
                let Some(default) = &property.default else {
                    continue;
                };
                let absent = match fields.get(name) {
                    None => true,
                    Some(field) => field.is_null() && !property.nullable,
                };
                if absent {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in fields.iter_mut() {
                if let Some(property) = schema.properties.get(name) {
                    fill_in(field, property);
                } else if let AdditionalProperties::Schema(values) = &schema.additional_properties {
                    replace_null(field, values);
                    fill_in(field, values);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for item in items {
                    replace_null(item, schema);
                    fill_in(item, schema);
                }
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Schema) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prune;

    #[test]
    fn defaults_reach_into_what_is_there_and_nowhere_else() {
        let schema = Schema::from_openapi(&json!({"type": "object", "properties": {"spec": {
            "type": "object", "default": {}, "properties": {
                "doors": {"type": "integer", "default": 4},
                "radio": {"type": "object", "properties": {
                    "on": {"type": "boolean", "default": true}
                }},
                "wheels": {"type": "array", "items": {"type": "object", "properties": {
                    "size": {"type": "integer", "default": 16}
                }}}
            }
        }}}));
        let mut object = json!({});
        fill_in(&mut object, &schema);
        assert_eq!(object, json!({"spec": {"doors": 4}}));
        let mut object =
            json!({"spec": {"doors": null, "radio": {}, "wheels": [{}, {"size": 20}]}});
        fill_in(&mut object, &schema);
        assert_eq!(
            object,
            json!({"spec": {
                "doors": 4, "radio": {"on": true}, "wheels": [{"size": 16}, {"size": 20}]
            }})
        );
    }

    #[test]
    fn a_null_stays_only_where_it_may() {
        let schema = Schema::from_openapi(&json!({"type": "object", "properties": {
            "cargo": {"type": "string", "nullable": true, "default": "sand"},
            "driver": {"type": "string"},
            "seats": {"type": "integer", "default": 3}
        }}));
        let mut object = json!({"cargo": null, "driver": null, "seats": null});
        prune::drop_nulls(&mut object, &schema);
        fill_in(&mut object, &schema);
        assert_eq!(object, json!({"cargo": null, "seats": 3}));
    }
}
