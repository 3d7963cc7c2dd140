//! Values of objects as CEL sees them: by schema, with names that are no identifiers escaped.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveTime, TimeZone};
use kube_cel::cel;
use kube_cel::cel::objects::{Key, Map, OptionalValue};
use serde_json::Value;

use crate::go;
use crate::schema::{AdditionalProperties, ListType, Schema, Type};

/// A JSON value as CEL sees it.
pub(super) fn convert(value: &Value, schema: &Schema, is_object: bool) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => {
            let float = number.as_f64().unwrap_or(f64::NAN);
            match (schema.kind, number.as_i64()) {
                (Some(Type::Number), _) => cel::Value::Float(float),
                (_, Some(integer)) => cel::Value::Int(integer),
                #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
                (Some(Type::Integer), None) if float.fract() == 0.0 => {
                    cel::Value::Int(float as i64)
                }
                _ => cel::Value::Float(float),
            }
        }
        Value::String(text) => of_text(text, schema),
        Value::Array(items) => {
            let any = Schema::default();
            let each = schema.items.as_ref().map_or(&any, |each| each);
            let items = items
                .iter()
                .map(|item| convert(item, each, each.embedded_resource));
            cel::Value::List(Arc::new(items.collect()))
        }
        Value::Object(fields) => {
            let mut entries = HashMap::with_capacity(fields.len());
            for (name, field) in fields {
                if let Some((name, field)) = entry(name, field, schema, is_object) {
                    entries.insert(Key::String(Arc::new(name)), field);
                }
            }
            cel::Value::Map(Map {
                map: Arc::new(entries),
            })
        }
    }
}

/// A value of an expression as JSON.
pub(super) fn to_json(value: &cel::Value) -> Result<Value, String> {
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(flag) => (*flag).into(),
        cel::Value::Int(number) => (*number).into(),
        cel::Value::UInt(number) => (*number).into(),
        cel::Value::Float(number) => (*number).into(),
        cel::Value::String(text) => text.as_str().into(),
        cel::Value::Bytes(bytes) => base64::engine::general_purpose::STANDARD
            .encode(&**bytes)
            .into(),
        cel::Value::Timestamp(time) => time
            .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
            .into(),
        cel::Value::List(items) => {
            let items = items.iter().map(to_json);
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        cel::Value::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| match key {
                Key::String(name) => Ok(((**name).clone(), to_json(value)?)),
                other => Err(format!("unsupported type of key: {other:?}")),
            });
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
        cel::Value::Opaque(opaque) => {
            let optional = opaque.downcast_ref::<OptionalValue>();
            match optional.map(OptionalValue::value) {
                Some(inner) => inner.map_or(Ok(Value::Null), to_json)?,
                None => return Err(format!("unsupported type {}", opaque.runtime_type_name())),
            }
        }
        other => return Err(format!("unsupported type of value: {other:?}")),
    })
}

/// The old value with entries of sets and keyed lists in the order of the new one: their order
/// says nothing, and lists are compared entry by entry.
pub(super) fn aligned(old: &Value, new: &Value, schema: &Schema) -> Value {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let field = |(name, old): (&String, &Value)| {
                let aligned = match (new.get(name), schema.field(name)) {
                    (Some(new), Some(schema)) => aligned(old, new, schema),
                    _ => old.clone(),
                };
                (name.clone(), aligned)
            };
            Value::Object(old.iter().map(field).collect())
        }
        (Value::Array(old), Value::Array(new)) => {
            let same = |left: &Value, right: &Value| match schema.list_type {
                Some(ListType::Set) => left == right,
                Some(ListType::Map) => schema
                    .list_map_keys
                    .iter()
                    .all(|key| left.get(key) == right.get(key)),
                _ => false,
            };
            let place = |old: &Value| new.iter().position(|new| same(old, new));
            let mut items: Vec<(usize, Value)> = Vec::with_capacity(old.len());
            for (index, item) in old.iter().enumerate() {
                let keyed = matches!(schema.list_type, Some(ListType::Set | ListType::Map));
                let found = if keyed { place(item) } else { Some(index) };
                let counterpart = found
                    .and_then(|found| new.get(found))
                    .zip(schema.items.as_ref());
                let item = match counterpart {
                    Some((new, each)) if keyed => aligned(item, new, each),
                    _ => item.clone(),
                };
                items.push((found.unwrap_or(usize::MAX), item));
            }
            items.sort_by_key(|(place, _)| *place);
            Value::Array(items.into_iter().map(|(_, item)| item).collect())
        }
        _ => old.clone(),
    }
}

fn entry(
    name: &str,
    field: &Value,
    schema: &Schema,
    is_object: bool,
) -> Option<(String, cel::Value)> {
    let any = Schema::default();
    if is_object && super::is_of_object(name) {
        // Of metadata, rules may look at the name only.
        let field = match field {
            Value::Object(metadata) if name == "metadata" => {
                let names = metadata.iter();
                let names = names.filter(|(name, _)| matches!(&***name, "name" | "generateName"));
                Value::Object(
                    names
                        .map(|(name, value)| (name.clone(), value.clone()))
                        .collect(),
                )
            }
            other => other.clone(),
        };
        return Some((name.to_owned(), convert(&field, &any, false)));
    }
    if let Some(property) = schema.properties.get(name) {
        let field = convert(field, property, property.embedded_resource);
        return Some((escape(name)?, field));
    }
    match &schema.additional_properties {
        AdditionalProperties::Schema(values) => Some((
            name.to_owned(),
            convert(field, values, values.embedded_resource),
        )),
        // What the schema does not name, rules do not see, unless it names nothing at all.
        _ if schema.properties.is_empty() => Some((name.to_owned(), convert(field, &any, false))),
        _ => None,
    }
}

fn of_text(text: &str, schema: &Schema) -> cel::Value {
    let plain = || cel::Value::String(Arc::new(text.to_owned()));
    match schema.format.as_deref() {
        Some("date-time") => time(text).map_or_else(plain, cel::Value::Timestamp),
        Some("date") => date(text).map_or_else(plain, cel::Value::Timestamp),
        Some("duration") => go::duration(text)
            .map(Duration::nanoseconds)
            .map_or_else(plain, cel::Value::Duration),
        Some("byte") => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_or_else(|_| plain(), |bytes| cel::Value::Bytes(Arc::new(bytes))),
        _ => plain(),
    }
}

fn time(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

fn date(text: &str) -> Option<DateTime<FixedOffset>> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()?
        .and_time(NaiveTime::MIN);
    FixedOffset::east_opt(0)?
        .from_local_datetime(&date)
        .single()
}

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The identifier by which a rule reaches a field; none where the name cannot be one.
pub(super) fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let allowed = |char: char| char.is_ascii_alphanumeric() || "_.-/".contains(char);
    if name.is_empty()
        || name.starts_with(|char: char| char.is_ascii_digit())
        || !name.chars().all(allowed)
    {
        return None;
    }
    let escaped = name.replace("__", "__underscores__");
    Some(
        escaped
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_identifiers_are_escaped() {
        for (name, expected) in [
            ("plain", Some("plain")),
            ("my_field", Some("my_field")),
            ("a__b", Some("a__underscores__b")),
            ("foo-bar", Some("foo__dash__bar")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("namespace", Some("__namespace__")),
            ("1st", None),
            ("with space", None),
        ] {
            assert_eq!(escape(name).as_deref(), expected, "{name}");
        }
    }
}
