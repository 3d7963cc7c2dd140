//! Paths to fields as rules and selectable fields write them: `.spec.x`, `.spec['a-b'].c`.

use crate::field::Path;
use crate::schema::{AdditionalProperties, SchemaRef};

/// The field that a path leads to, and its schema; or why it leads nowhere.
pub fn field_path(
    text: &str,
    schema: &SchemaRef,
    brackets: bool,
) -> Result<(Path, SchemaRef), String> {
    let mut path = Path::root();
    let mut schema = schema.clone();
    let mut rest = text;
    while !rest.is_empty() {
        let name;
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[', ']']).unwrap_or(tail.len());
            let (found, tail) = tail.split_at(end);
            if found.is_empty() {
                return Err("unexpected end of JSON path".to_owned());
            }
            name = found.to_owned();
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".to_owned());
            }
            (name, rest) = quoted(tail)?;
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            return Err(format!("expected [ or . but got: {}", &rest[..end]));
        }
        if !schema.properties.is_empty() {
            let property = schema.properties.get(&name).cloned();
            schema = property.ok_or_else(|| "does not refer to a valid field".to_owned())?;
            path = path.child(&name);
        } else if let AdditionalProperties::Schema(values) = &schema.additional_properties {
            path = path.key(&name);
            schema = values.clone();
        } else {
            return Err("does not refer to a valid field".to_owned());
        }
    }
    Ok((path, schema))
}

/// A name in single quotes, up to and with the closing bracket.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inner) = text.strip_prefix('\'') else {
        let end = text.find(']').unwrap_or(text.len());
        return Err(format!(
            "expected single quoted string but got {}",
            &text[..end]
        ));
    };
    let mut name = String::new();
    let mut chars = inner.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '\'' => {
                let rest = &inner[index + 1..];
                let rest = rest.strip_prefix(']');
                let rest = rest.ok_or_else(|| "unexpected end of JSON path".to_owned())?;
                return Ok((name, rest));
            }
            '\\' => match chars.next() {
                Some((_, escaped @ ('\'' | '\\'))) => name.push(escaped),
                Some((_, other)) => {
                    return Err(format!(
                        "invalid string literal: invalid escape char \\{other}"
                    ));
                }
                None => break,
            },
            other => name.push(other),
        }
    }
    Err("unexpected end of JSON path".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Schema;

    #[test]
    fn a_path_leads_through_properties_and_maps() {
        let schema = Schema::from_openapi(&json!({"type": "object", "properties": {
            "a-b": {"type": "object", "additionalProperties": {"type": "string"}},
            "c": {"type": "integer"}
        }}));
        let found = |path: &str| field_path(path, &schema, true).map(|(path, _)| path.to_string());
        assert_eq!(found(".c").unwrap(), "c");
        assert_eq!(found("['a-b']['x.y']").unwrap(), "a-b[x.y]");
        assert_eq!(found(".d").unwrap_err(), "does not refer to a valid field");
        assert_eq!(found("c").unwrap_err(), "expected [ or . but got: c");
        assert!(field_path("['c']", &schema, false).is_err());
    }
}
