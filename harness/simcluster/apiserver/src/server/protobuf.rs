//! Bodies in Kubernetes' protobuf form, turned into JSON before anything else happens to them.
//!
//! Newer command lines send objects of built-in kinds this way. What the numbers of fields mean
//! stands in a table of facts; nothing here knows a kind. Answers are never written in protobuf.

mod messages;
mod wire;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};
use simcluster_machinery::{kind::GroupVersionKind, schema::builtin};

use self::{
    messages::{Field, Kind, Message},
    wire::{Reader, Wire, WireError},
};

/// What a body in protobuf form begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages may not be nested deeper than this.
const MAX_DEPTH: usize = 100;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    /// It does not begin as it must.
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    NotProtobuf,
    /// It is cut off or malformed.
    #[error("the protobuf message is malformed: {0}")]
    Malformed(#[from] WireError),
    /// It says that it is of a kind that has no protobuf form.
    #[error("no protobuf form is known of {0}")]
    UnknownKind(GroupVersionKind),
    /// It holds itself, as it were.
    #[error("the protobuf message is nested too deeply")]
    TooDeep,
}

/// The body as JSON.
pub(crate) fn to_json(body: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::NotProtobuf)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(body) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in Reader::new(type_meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text),
                        (2, Wire::Bytes(text)) => kind = utf8(text),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let claimed = GroupVersionKind::from_api_version(&api_version, &kind);
    let message =
        messages::of_kind(&claimed).ok_or_else(|| ProtobufError::UnknownKind(claimed.clone()))?;
    let mut fields = Map::new();
    read(message, raw, &mut fields, 0)?;
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(fields).to_string().into_bytes())
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads the fields of a message into an object.
fn read(
    message: &Message,
    bytes: &[u8],
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    let properties = builtin::definition(message.name).map(|found| &found.schema().properties);
    for field in Reader::new(bytes) {
        let (number, wire) = field?;
        let Some(field) = message.field(number) else {
            continue;
        };
        let name = json_name(message, field.name);
        let known = properties.is_none_or(|known| known.contains_key(&*name));
        if let (false, Kind::Message(inner), Wire::Bytes(bytes)) = (known, &field.kind, &wire)
            && let Some(inner) = messages::find(inner)
        {
            // What Go embeds has no name of its own in JSON.
            read(inner, bytes, into, depth + 1)?;
            continue;
        }
        put(field, name.into_owned(), wire, into, depth)?;
    }
    Ok(())
}

fn put(
    field: &Field,
    name: String,
    wire: Wire<'_>,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if field.map {
        let (key, value) = entry(&field.kind, wire, depth)?;
        let map = into.entry(name).or_insert_with(|| Map::new().into());
        if let Some(map) = map.as_object_mut() {
            map.insert(key, value);
        }
        return Ok(());
    }
    let packed = matches!(field.kind, Kind::Integer | Kind::Bool);
    if field.repeated {
        let list = into
            .entry(name)
            .or_insert_with(|| Vec::<Value>::new().into());
        let Some(list) = list.as_array_mut() else {
            return Ok(());
        };
        if let (true, Wire::Bytes(bytes)) = (packed, &wire) {
            for number in wire::packed(bytes) {
                list.push(value(&field.kind, Wire::Varint(number?), depth)?);
            }
        } else {
            list.push(value(&field.kind, wire, depth)?);
        }
        return Ok(());
    }
    let value = value(&field.kind, wire, depth)?;
    into.insert(name, value);
    Ok(())
}

fn entry(kind: &Kind, wire: Wire<'_>, depth: usize) -> Result<(String, Value), ProtobufError> {
    let Wire::Bytes(bytes) = wire else {
        return Ok((String::new(), Value::Null));
    };
    let (mut key, mut found) = (String::new(), None);
    for field in Reader::new(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => key = utf8(text),
            (2, wire) => found = Some(value(kind, wire, depth)?),
            _ => {}
        }
    }
    let value = match found {
        Some(value) => value,
        None => value(kind, Wire::Bytes(&[]), depth)?,
    };
    Ok((key, value))
}

fn value(kind: &Kind, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match (kind, wire) {
        (Kind::Bool, Wire::Varint(number)) => (number != 0).into(),
        (Kind::Integer, Wire::Varint(number)) => number.cast_signed().into(),
        (Kind::Double, Wire::Fixed64(bits)) => f64::from_bits(bits).into(),
        (Kind::String, Wire::Bytes(bytes)) => utf8(bytes).into(),
        (Kind::Bytes, Wire::Bytes(bytes)) => base64(bytes).into(),
        (Kind::Message(name), Wire::Bytes(bytes)) => message(name, bytes, depth + 1)?,
        // Of another type than it is declared; decoding tells what is missing then.
        _ => Value::Null,
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A message as JSON has it, which for some types is no object.
fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let Some(message) = messages::find(name) else {
        return Ok(Value::Null);
    };
    let mut fields = Map::new();
    read(message, bytes, &mut fields, depth)?;
    let short = name.rsplit('.').next().unwrap_or(name);
    let mut take = |field: &str| fields.remove(field).unwrap_or_default();
    Ok(match short {
        "Time" | "MicroTime" if name.starts_with("io.k8s.apimachinery") => {
            time(&take("seconds"), &take("nanos"), short == "MicroTime")
        }
        "Quantity" => match take("string") {
            Value::Null => "0".into(),
            text => text,
        },
        "Duration" if name.starts_with("io.k8s.apimachinery") => {
            let nanos = take("duration").as_i64().unwrap_or(0);
            format!("{}s", nanos / 1_000_000_000).into()
        }
        "IntOrString" if take("type") == 1 => take("strVal"),
        "IntOrString" => take("intVal"),
        "RawExtension" | "JSON" | "FieldsV1" => raw(bytes)?,
        "ExtraValue" | "Verbs" => take("items"),
        "JSONSchemaPropsOrBool" => match take("schema") {
            Value::Null => take("allows"),
            schema => schema,
        },
        "JSONSchemaPropsOrArray" => match take("schema") {
            Value::Null => take("jSONSchemas"),
            schema => schema,
        },
        "JSONSchemaPropsOrStringArray" => match take("schema") {
            Value::Null => take("property"),
            schema => schema,
        },
        _ => fields.into(),
    })
}

/// JSON inside of the message.
fn raw(bytes: &[u8]) -> Result<Value, ProtobufError> {
    for field in Reader::new(bytes) {
        if let (1, Wire::Bytes(json)) = field? {
            return Ok(serde_json::from_slice(json).unwrap_or_default());
        }
    }
    Ok(Value::Null)
}

fn time(seconds: &Value, nanos: &Value, micro: bool) -> Value {
    if seconds.is_null() && nanos.is_null() {
        return Value::Null;
    }
    let nanos = nanos.as_i64().and_then(|nanos| i32::try_from(nanos).ok());
    let seconds = seconds.as_i64().unwrap_or(0);
    let Ok(time) = Timestamp::new(seconds, nanos.unwrap_or(0)) else {
        return Value::Null;
    };
    let format = if micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    time.strftime(format).to_string().into()
}

/// The name in JSON, which differs where it is none in Go: `xListType` of a schema is
/// `x-kubernetes-list-type`.
fn json_name(message: &Message, name: &'static str) -> Cow<'static, str> {
    if !message.name.ends_with(".JSONSchemaProps") {
        return name.into();
    }
    let extension = name
        .strip_prefix('x')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    match (name, extension) {
        ("ref", _) => "$ref".into(),
        ("schema", _) => "$schema".into(),
        (_, Some(rest)) => {
            let mut kebab = String::from("x-kubernetes");
            for c in rest.chars() {
                if c.is_ascii_uppercase() {
                    kebab.push('-');
                }
                kebab.push(c.to_ascii_lowercase());
            }
            kebab.into()
        }
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests;
