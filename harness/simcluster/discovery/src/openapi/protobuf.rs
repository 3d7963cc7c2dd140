//! The document of OpenAPI v2 as protobuf: the message `openapi.v2.Document` of Google's gnostic.
//!
//! Field numbers are those of `openapiv2/OpenAPIv2.proto`. Written are the parts that a Kubernetes
//! server's document has and its clients read; anything else of Swagger has no place here.

use serde_json::{Map, Value};

/// How a member of a schema is written: the field's number and form.
enum Form {
    Text(u32),
    Integer(u32),
    Number(u32),
    Flag(u32),
    /// Any value, as YAML; JSON is that too.
    Any(u32),
    Texts(u32),
}

/// The plain members of a schema.
fn form(key: &str) -> Option<Form> {
    Some(match key {
        "$ref" => Form::Text(1),
        "format" => Form::Text(2),
        "title" => Form::Text(3),
        "description" => Form::Text(4),
        "default" => Form::Any(5),
        "multipleOf" => Form::Number(6),
        "maximum" => Form::Number(7),
        "exclusiveMaximum" => Form::Flag(8),
        "minimum" => Form::Number(9),
        "exclusiveMinimum" => Form::Flag(10),
        "maxLength" => Form::Integer(11),
        "minLength" => Form::Integer(12),
        "pattern" => Form::Text(13),
        "maxItems" => Form::Integer(14),
        "minItems" => Form::Integer(15),
        "uniqueItems" => Form::Flag(16),
        "maxProperties" => Form::Integer(17),
        "minProperties" => Form::Integer(18),
        "required" => Form::Texts(19),
        _ => return None,
    })
}

/// The whole document.
pub(super) fn document(swagger: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, text(&swagger["swagger"]));
    out.message(2, |info| {
        info.text(1, text(&swagger["info"]["title"]));
        info.text(2, text(&swagger["info"]["version"]));
    });
    out.message(8, |paths| {
        for (name, item) in members(&swagger["paths"]) {
            paths.named(2, name, |out| path_item(out, item));
        }
    });
    out.message(9, |definitions| {
        for (name, value) in members(&swagger["definitions"]) {
            definitions.named(1, name, |out| schema(out, value));
        }
    });
    out.bytes
}

fn path_item(out: &mut Message, item: &Value) {
    for (method, number) in [
        ("get", 2),
        ("put", 3),
        ("post", 4),
        ("delete", 5),
        ("patch", 8),
    ] {
        if let Some(value) = item.get(method) {
            out.message(number, |out| operation(out, value));
        }
    }
}

fn operation(out: &mut Message, value: &Value) {
    for parameter in value["parameters"].as_array().into_iter().flatten() {
        // ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema
        out.message(8, |item| {
            item.message(1, |out| {
                out.message(2, |out| {
                    out.message(3, |query| {
                        query.text(2, text(&parameter["in"]));
                        query.text(4, text(&parameter["name"]));
                        query.text(6, text(&parameter["type"]));
                    });
                });
            });
        });
    }
    out.message(9, |answers| {
        for (code, answer) in members(&value["responses"]) {
            // ResponseValue > Response
            answers.named(1, code, |out| {
                out.message(1, |out| {
                    out.text(1, text(&answer["description"]));
                    if let Some(value) = answer.get("schema") {
                        out.message(2, |item| item.message(1, |out| schema(out, value)));
                    }
                });
            });
        }
    });
    extensions(out, 13, value);
}

fn schema(out: &mut Message, value: &Value) {
    for (key, value) in members(value) {
        match form(key) {
            Some(Form::Text(number)) => out.text(number, text(value)),
            Some(Form::Integer(number)) => out.integer(number, value.as_i64().unwrap_or_default()),
            Some(Form::Number(number)) => out.number(number, value.as_f64().unwrap_or_default()),
            Some(Form::Flag(number)) => out.integer(number, i64::from(value == &Value::Bool(true))),
            Some(Form::Any(number)) => out.any(number, value),
            Some(Form::Texts(number)) => {
                for item in value.as_array().into_iter().flatten() {
                    out.text(number, text(item));
                }
            }
            None => composed(out, key, value),
        }
    }
    extensions(out, 31, value);
}

/// Members of a schema that hold schemas or lists.
fn composed(out: &mut Message, key: &str, value: &Value) {
    match key {
        "enum" => {
            for item in value.as_array().into_iter().flatten() {
                out.any(20, item);
            }
        }
        "additionalProperties" => out.message(21, |item| match value {
            Value::Bool(allowed) => item.integer(2, i64::from(*allowed)),
            _ => item.message(1, |out| schema(out, value)),
        }),
        "type" => out.message(22, |item| item.text(1, text(value))),
        "items" => out.message(23, |item| item.message(1, |out| schema(out, value))),
        "properties" => out.message(25, |properties| {
            for (name, value) in members(value) {
                properties.named(1, name, |out| schema(out, value));
            }
        }),
        _ => {}
    }
}

/// Members whose names begin with `x-`.
fn extensions(out: &mut Message, number: u32, value: &Value) {
    for (key, value) in members(value) {
        if key.starts_with("x-") {
            out.message(number, |pair| {
                pair.text(1, key);
                pair.any(2, value);
            });
        }
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flat_map(Map::iter)
        .map(|(key, value)| (key.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A message that is being written.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn tag(&mut self, number: u32, wire_type: u8) {
        self.varint(u64::from(number) << 3 | u64::from(wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    fn chunk(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn text(&mut self, number: u32, text: &str) {
        self.chunk(number, text.as_bytes());
    }

    fn integer(&mut self, number: u32, value: i64) {
        self.tag(number, 0);
        self.varint(value.cast_unsigned());
    }

    fn number(&mut self, number: u32, value: f64) {
        self.tag(number, 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn message(&mut self, number: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.chunk(number, &inner.bytes);
    }

    /// A pair of a name and a message.
    fn named(&mut self, number: u32, name: &str, write: impl FnOnce(&mut Self)) {
        self.message(number, |pair| {
            pair.text(1, name);
            pair.message(2, write);
        });
    }

    fn any(&mut self, number: u32, value: &Value) {
        self.message(number, |any| any.text(2, &value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_written_field_by_field() {
        let mut out = Message::default();
        schema(
            &mut out,
            &json!({"type": "string", "maxLength": 300, "x-a": [1]}),
        );
        // maxLength = 300; type { "string" }; extension { name "x-a", value { yaml "[1]" } }
        let expected = [
            &[0x58, 0xac, 0x02][..],
            &[0xb2, 0x01, 0x08, 0x0a, 0x06],
            b"string",
            &[0xfa, 0x01, 0x0c, 0x0a, 0x03],
            b"x-a",
            &[0x12, 0x05, 0x12, 0x03],
            b"[1]",
        ]
        .concat();
        assert_eq!(out.bytes, expected);
    }
}
