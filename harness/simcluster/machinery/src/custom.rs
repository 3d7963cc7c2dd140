//! Custom resources on their way in: read, pruned, defaulted and checked, in the real order.
//!
//! What the API server does with every object (names, metadata rules, storage) is not done here.

use serde_json::Value;

use crate::decode::{self, DecodeError, Decoded, Problem};
use crate::field::{Error, Path};
use crate::schema::{Schema, SchemaRef, builtin};
use crate::{default, prune, validate};

/// Reads a body: duplicate fields and fields that were pruned are its problems.
pub fn decode(body: &[u8], schema: &Schema) -> Result<Decoded, DecodeError> {
    let Decoded {
        mut value,
        mut problems,
    } = decode::untyped(body)?;
    problems.extend(coerce(&mut value, schema)?);
    Ok(Decoded { value, problems })
}

/// Brings an object that is there already, such as the result of a patch, into the form of its
/// schema: metadata as every object has it, unknown fields dropped, nulls dropped where they may not
/// be. The problems are the fields that were dropped.
pub fn coerce(object: &mut Value, schema: &Schema) -> Result<Vec<Problem>, DecodeError> {
    let mut problems = Vec::new();
    if let Some(metadata) = object.get_mut("metadata") {
        problems.extend(coerce_metadata(metadata, "metadata")?);
    }
    let dropped = prune::prune(object, schema);
    problems.extend(dropped.into_iter().map(Problem::Unknown));
    prune::drop_nulls(object, schema);
    coerce_embedded(object, schema)?;
    Ok(problems)
}

fn coerce_metadata(metadata: &mut Value, place: &str) -> Result<Vec<Problem>, DecodeError> {
    if metadata.is_null() {
        *metadata = Value::Object(serde_json::Map::new());
        return Ok(Vec::new());
    }
    match decode::typed_value(metadata.clone(), &builtin::object_meta()) {
        Ok(decoded) => {
            *metadata = decoded.value;
            let below = |path: &str| format!("{place}.{path}");
            let problems = decoded.problems.iter().map(|problem| match problem {
                Problem::Unknown(path) => Problem::Unknown(below(path)),
                Problem::Duplicate(path) => Problem::Duplicate(below(path)),
                problem @ Problem::JsonPatch(_) => problem.clone(),
            });
            Ok(problems.collect())
        }
        Err(error) => {
            let error = Error::invalid(&Path::new(place), metadata.clone(), error.to_string());
            Err(DecodeError::Type(error.to_string()))
        }
    }
}

/// The same for resources inside of the resource.
fn coerce_embedded(value: &mut Value, schema: &Schema) -> Result<(), DecodeError> {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let Some(property) = schema.field(name) else {
                    continue;
                };
                if property.embedded_resource
                    && let Some(metadata) = field.get_mut("metadata")
                {
                    coerce_metadata(metadata, "metadata")?;
                }
                coerce_embedded(field, property)?;
            }
        }
        Value::Array(items) => {
            if let Some(each) = &schema.items {
                items
                    .iter_mut()
                    .try_for_each(|item| coerce_embedded(item, each))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Fills in defaults.
pub fn fill_in_defaults(object: &mut Value, schema: &Schema) {
    // The schema of a definition says nothing of metadata that matters here.
    default::fill_in(object, schema);
}

/// What the schema says against an object, before any rule in CEL: `old` is the object before an
/// update.
pub fn validate(object: &Value, old: Option<&Value>, schema: &SchemaRef) -> Vec<Error> {
    let mut errors = validate::validate(object, old, schema, &Path::root());
    let repeated = |object| validate::validate_list_types(object, schema, &Path::root());
    // Entries that stand twice are forgiven all together, when some did before.
    if old.is_none_or(|old| repeated(old).is_empty()) {
        errors.extend(repeated(object));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_update_is_forgiven_what_was_wrong_before() {
        let schema = Schema::from_openapi(&json!({"type": "object", "properties": {
            "size": {"type": "integer", "minimum": 1},
            "colour": {"type": "string"},
            "parts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        }}));
        let wrong = json!({"size": 0, "colour": "red", "parts": ["a", "a"]});
        assert_eq!(validate(&wrong, None, &schema).len(), 2);
        let mut painted = wrong.clone();
        painted["colour"] = json!("blue");
        assert_eq!(validate(&painted, Some(&wrong), &schema), []);
        let mut smaller = wrong.clone();
        smaller["size"] = json!(-1);
        assert_eq!(validate(&smaller, Some(&wrong), &schema).len(), 1);
        let sound = json!({"size": 1});
        assert_eq!(validate(&wrong, Some(&sound), &schema).len(), 2);
    }

    #[test]
    fn metadata_is_read_as_for_every_object() {
        let schema = Schema::from_openapi(&json!({"type": "object"}));
        let body = json!({"metadata": {"name": "x", "colour": "red", "labels": {}}, "extra": 1});
        let decoded = decode(body.to_string().as_bytes(), &schema).unwrap();
        assert_eq!(
            decode::strict_error(&decoded.problems),
            "strict decoding error: unknown field \"metadata.colour\", unknown field \"extra\""
        );
        assert_eq!(decoded.value, json!({"metadata": {"name": "x"}}));
        let error = decode(br#"{"metadata":{"labels":5}}"#, &schema).unwrap_err();
        assert_eq!(
            error.to_string(),
            "metadata: Invalid value: {\"labels\":5}: json: cannot unmarshal number into Go struct \
             field ObjectMeta.labels of type map[string]string"
        );
    }
}
