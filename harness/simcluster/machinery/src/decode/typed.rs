//! JSON of built-in kinds, read by schema into the canonical form.

use std::cell::{Cell, RefCell};

use base64::Engine;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::time::{self, Precision};
use super::untyped::{self, Problems};
use super::{DecodeError, Decoded, Frame, Problem, Step};
use crate::quantity::Quantity;
use crate::schema::{AdditionalProperties, GoType, Schema, SchemaRef, Shape, builtin};

/// What is noted while a document is read.
#[derive(Default)]
pub(super) struct Context {
    problems: Problems,
    /// The first value of a wrong type; Go goes on reading after it too.
    wrong: RefCell<Option<String>>,
    /// Values come as they are, not as JSON: mismatches are told in the converter's words.
    converting: bool,
    /// Inside of a part whose unknown fields are dropped without a word.
    quiet: Cell<bool>,
}

impl Context {
    pub(super) fn converting() -> Self {
        Self {
            converting: true,
            ..Self::default()
        }
    }

    pub(super) fn finish(self, value: Value) -> Result<Decoded, DecodeError> {
        match self.wrong.into_inner() {
            Some(message) => Err(DecodeError::Type(message)),
            None => Ok(Decoded {
                value,
                problems: self.problems.into_inner(),
            }),
        }
    }

    fn wrong(&self, message: impl FnOnce() -> String) {
        self.wrong.borrow_mut().get_or_insert_with(message);
    }
}

/// One value: where it is, what it should be, and what Go calls it.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    schema: &'a Schema,
    go: &'a str,
    /// The name of the struct that the value is a part of.
    owner: &'a str,
    frame: Frame<'a>,
    context: &'a Context,
}

pub(super) fn root<'a>(schema: &'a SchemaRef, context: &'a Context) -> Node<'a> {
    let go = schema.type_name().unwrap_or_default();
    Node {
        schema,
        go,
        owner: "",
        frame: Frame::ROOT,
        context,
    }
}

impl Node<'_> {
    /// `json: cannot unmarshal string into Go struct field X.spec.y of type int32`
    fn mismatch(&self, found: &str) -> Value {
        let own_reader = matches!(
            self.schema.shape,
            Shape::Time | Shape::MicroTime | Shape::IntOrString
        );
        if self.context.converting && !own_reader {
            self.context.wrong(|| self.cannot_convert(found));
            return Value::Null;
        }
        let expected = match self.schema.shape {
            // These read themselves and know nothing of where they are.
            Shape::Time | Shape::MicroTime => "value of type string".to_owned(),
            Shape::IntOrString => "value of type int32".to_owned(),
            _ if self.owner.is_empty() => format!("value of type {}", self.type_name()),
            _ => {
                let (owner, path) = (self.owner, self.frame.fields());
                format!("struct field {owner}.{path} of type {}", self.type_name())
            }
        };
        self.context
            .wrong(|| format!("json: cannot unmarshal {found} into Go {expected}"));
        Value::Null
    }

    fn cannot_convert(&self, found: &str) -> String {
        let whole = found == "number" || !found.contains('.');
        let found = match found {
            "array" => "slice",
            "object" => "map",
            number if number.starts_with("number") && whole => "int64",
            number if number.starts_with("number") => "float64",
            other => other,
        };
        let kind = match self.schema.shape {
            Shape::List => return format!("cannot restore slice from {found}"),
            Shape::Map => return format!("cannot restore map from {found}"),
            Shape::Struct => return format!("cannot restore struct from: {found}"),
            Shape::Int32 => "int32",
            Shape::Int64 => "int64",
            Shape::Float => "float64",
            Shape::Bool => "bool",
            _ => "string",
        };
        // What Go could convert, JSON does not, and says so; the rest it knows nothing about.
        let convertible = match kind {
            "string" => found == "int64",
            "int32" | "int64" => found == "float64",
            _ => false,
        };
        if convertible {
            format!("cannot convert {found} to {}", self.type_name())
        } else {
            format!("unrecognized type: {kind}")
        }
    }

    fn type_name(&self) -> String {
        if !self.go.is_empty() && self.go != self.schema.type_name().unwrap_or_default() {
            return self.go.to_owned();
        }
        go_name(self.schema)
    }

    fn number(&self, number: Number) -> Value {
        let fits = match self.schema.shape {
            Shape::Raw | Shape::SchemaOr | Shape::Float => true,
            Shape::Quantity => return self.quantity(&number.to_string()),
            Shape::Int32 | Shape::IntOrString => number
                .as_i64()
                .is_some_and(|value| i32::try_from(value).is_ok()),
            Shape::Int64 => number.is_i64(),
            _ => return self.mismatch("number"),
        };
        if fits {
            Value::Number(number)
        } else {
            self.mismatch(&format!("number {number}"))
        }
    }

    fn text(&self, text: &str) -> Value {
        let read = match self.schema.shape {
            Shape::Raw | Shape::SchemaOr | Shape::String | Shape::IntOrString => {
                return Value::String(text.to_owned());
            }
            Shape::Quantity => return self.quantity(text),
            Shape::Time => time::canonical(text, Precision::Seconds),
            Shape::MicroTime => time::canonical(text, Precision::Microseconds),
            Shape::Bytes => canonical_base64(text),
            // A slice of bytes that the schema calls a list.
            Shape::List if self.go == "[]uint8" => canonical_base64(text),
            _ => return self.mismatch("string"),
        };
        read.map_or_else(
            |message| {
                self.context.wrong(|| message);
                Value::Null
            },
            Value::String,
        )
    }

    fn quantity(&self, text: &str) -> Value {
        match text.trim().parse::<Quantity>() {
            Ok(quantity) => Value::String(quantity.to_string()),
            Err(error) => {
                self.context.wrong(|| error.to_string());
                Value::Null
            }
        }
    }

    fn raw(&self) -> untyped::Node<'_> {
        untyped::Node::at(self.frame, &self.context.problems)
    }
}

/// What Go calls a value of this schema when its declaration does not tell.
fn go_name(schema: &Schema) -> String {
    if let Some(name) = schema.definition {
        let mut parts = name.rsplit('.');
        let (name, package) = (
            parts.next().unwrap_or(name),
            parts.next().unwrap_or_default(),
        );
        return format!("{package}.{name}");
    }
    match schema.shape {
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Float => "float64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::List => {
            let item = schema
                .items
                .as_ref()
                .map(|items| go_name(items))
                .unwrap_or_default();
            format!("[]{item}")
        }
        Shape::Map => match &schema.additional_properties {
            AdditionalProperties::Schema(value) => format!("map[string]{}", go_name(value)),
            _ => "map[string]string".to_owned(),
        },
        _ => "string".to_owned(),
    }
}

fn canonical_base64(text: &str) -> Result<String, String> {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    use base64::engine::general_purpose::STANDARD;
    // Line breaks are allowed anywhere.
    let packed: String = text
        .chars()
        .filter(|char| !matches!(char, '\r' | '\n'))
        .collect();
    match STANDARD.decode(&packed) {
        Ok(_) => Ok(packed),
        Err(error) => {
            let at = match error {
                // A padding that comes too early is blamed on its own place.
                InvalidByte(offset, _) | InvalidLastSymbol(offset, _) => offset,
                // Go blames the last group of four, or the end when it has just begun.
                InvalidLength(_) | InvalidPadding => {
                    packed.trim_end_matches('=').len().min(packed.len())
                }
            };
            Err(format!("illegal base64 data at input byte {at}"))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(match self.schema.shape {
            Shape::Raw | Shape::SchemaOr | Shape::Bool => Value::Bool(value),
            Shape::Quantity => self.quantity(if value { "true" } else { "false" }),
            _ => self.mismatch("bool"),
        })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(self.number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(self.number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, |number| self.number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(self.text(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        match self.schema.shape {
            Shape::Raw | Shape::String | Shape::IntOrString => Ok(Value::String(value)),
            _ => self.visit_str(&value),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let props;
        let schema: &Schema = match (self.schema.shape, &self.schema.items) {
            (Shape::List, Some(items)) => items,
            (Shape::SchemaOr, _) => {
                props = builtin::json_schema_props();
                &props
            }
            (Shape::Raw, _) => return self.raw().visit_seq(items),
            _ => {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(match self.schema.shape {
                    Shape::Quantity => self.quantity("[]"),
                    _ => self.mismatch("array"),
                });
            }
        };
        // A list of strings stands where a list of schemas could: dependencies.
        let plain = Schema::default();
        let go = self.go.strip_prefix("[]").unwrap_or_default();
        let mut values = Vec::new();
        loop {
            let frame = self.frame.child(Step::Index(values.len()));
            let strings = self
                .schema
                .definition
                .is_some_and(|name| name.ends_with("StringArray"));
            let schema = if strings { &plain } else { schema };
            let Some(value) = items.next_element_seed(Node {
                schema,
                go,
                frame,
                ..self
            })?
            else {
                return Ok(Value::Array(values));
            };
            values.push(if value.is_null() {
                zero(schema, None)
            } else {
                value
            });
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        match self.schema.shape {
            Shape::Raw => self.raw().visit_map(entries),
            Shape::Struct => self.visit_struct(self.schema, entries),
            Shape::Map => self.visit_entries(entries),
            // These decode themselves, and drop what they do not know without a word.
            Shape::SchemaOr => {
                let props = builtin::json_schema_props();
                let quiet = self.context.quiet.replace(true);
                let value = Node {
                    schema: &props,
                    ..self
                }
                .visit_struct(&props, entries);
                self.context.quiet.set(quiet);
                value
            }
            shape => {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(if shape == Shape::Quantity {
                    self.quantity("{}")
                } else {
                    self.mismatch("object")
                })
            }
        }
    }
}

impl Node<'_> {
    fn visit_struct<'de, A: MapAccess<'de>>(
        self,
        schema: &Schema,
        mut entries: A,
    ) -> Result<Value, A::Error> {
        let owner = schema.type_name().unwrap_or(self.owner);
        let mut fields = Map::new();
        // Fields whose value was dropped count as given, too.
        let mut dropped: Vec<String> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Some(property) = schema.properties.get(&key) else {
                entries.next_value::<IgnoredAny>()?;
                if !self.context.quiet.get() {
                    let frame = self.frame.child(Step::Field(&key));
                    self.context.problems.push(Problem::Unknown(frame.path()));
                }
                continue;
            };
            let frame = self.frame.child(Step::Field(&key));
            if fields.contains_key(&key) || dropped.contains(&key) {
                self.context.problems.push(Problem::Duplicate(frame.path()));
            }
            let go = property.go.as_ref().map_or("", |go| go.name.as_str());
            let node = Node {
                schema: property,
                go,
                owner,
                frame,
                context: self.context,
            };
            let value = entries.next_value_seed(node)?;
            if keep(property, &value) {
                fields.insert(key, value);
            } else {
                fields.remove(&key);
                dropped.push(key);
            }
        }
        complete(schema, &mut fields);
        Ok(Value::Object(fields))
    }

    fn visit_entries<'de, A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let AdditionalProperties::Schema(schema) = &self.schema.additional_properties else {
            return self.raw().visit_map(entries);
        };
        let go = self
            .go
            .split_once(']')
            .filter(|(map, _)| map.starts_with("map["));
        let go = go.map_or("", |(_, value)| value);
        let mut fields = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let frame = self.frame.child(Step::Key(&key));
            if fields.contains_key(&key) {
                self.context.problems.push(Problem::Duplicate(frame.path()));
            }
            let value = entries.next_value_seed(Node {
                schema,
                go,
                frame,
                ..self
            })?;
            let value = if value.is_null() {
                zero(schema, None)
            } else {
                value
            };
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Whether a field with this value is written at all.
fn keep(property: &Schema, value: &Value) -> bool {
    let Some(go) = &property.go else {
        return !value.is_null();
    };
    match value {
        Value::Null => false,
        _ if go.pointer => true,
        _ if go.omit_zero && *value == zero(property, Some(go)) => false,
        _ if !go.omit_empty => true,
        Value::String(text) => !text.is_empty(),
        Value::Bool(flag) => *flag,
        Value::Number(number) => {
            property.shape == Shape::IntOrString || number.as_f64() != Some(0.0)
        }
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty() || property.shape == Shape::Struct,
    }
}

/// Adds the fields that are written even when nobody gave them.
fn complete(schema: &Schema, fields: &mut Map<String, Value>) {
    for (name, property) in schema.properties.iter() {
        let Some(go) = &property.go else {
            continue;
        };
        if fields.contains_key(name) {
            continue;
        }
        // A struct is never empty to Go's encoder.
        let always = !go.omit_empty
            || (!go.pointer
                && matches!(
                    property.shape,
                    Shape::Struct
                        | Shape::Time
                        | Shape::MicroTime
                        | Shape::Quantity
                        | Shape::IntOrString
                ));
        if always && !go.omit_zero {
            fields.insert(name.clone(), zero(property, Some(go)));
        }
    }
}

/// What Go writes for a value that was never set.
fn zero(schema: &Schema, go: Option<&GoType>) -> Value {
    if go.is_some_and(|go| go.pointer) {
        return Value::Null;
    }
    match schema.shape {
        Shape::String => Value::String(String::new()),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => Value::from(0),
        Shape::Bool => Value::Bool(false),
        Shape::Struct => {
            let mut fields = Map::new();
            complete(schema, &mut fields);
            Value::Object(fields)
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_errors_name_the_byte() {
        assert_eq!(canonical_base64("YWJj\nZA==").unwrap(), "YWJjZA==");
        let error = |text| canonical_base64(text).unwrap_err();
        assert_eq!(error("***"), "illegal base64 data at input byte 0");
        assert_eq!(error("abc"), "illegal base64 data at input byte 3");
        assert_eq!(error("YWJj!"), "illegal base64 data at input byte 4");
    }

    #[test]
    fn the_words_of_go_for_a_type() {
        assert_eq!(go_name(&builtin::object_meta()), "v1.ObjectMeta");
    }
}
