//! Reading request bodies: built-in kinds by their schema, everything else as it stands.
//!
//! A body is read in one pass that also notes fields nobody knows and fields given twice, in the
//! order of the document, because `fieldValidation` reports them. Built-in kinds come out as a
//! round trip through their Go types leaves them: quantities and times in canonical form, empty
//! optional fields gone, required ones there. What the values mean is validated elsewhere.

mod syntax;
mod time;
mod typed;
mod untyped;
mod yaml;

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::schema::SchemaRef;

/// What `fieldValidation` complains about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The path of a field that the schema does not have.
    Unknown(String),
    /// The path of a field that is given twice.
    Duplicate(String),
    /// One of these in a JSON patch, not in the object.
    JsonPatch(Box<Problem>),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field {path:?}"),
            Self::Duplicate(path) => write!(f, "duplicate field {path:?}"),
            Self::JsonPatch(problem) => write!(f, "json patch {problem}"),
        }
    }
}

/// All problems in one message: `strict decoding error: unknown field "a", unknown field "b"`.
pub fn strict_error(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("strict decoding error: {}", problems.join(", "))
}

/// A body that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The value.
    pub value: Value,
    /// What strict decoding complains about, in the order of the document.
    pub problems: Vec<Problem>,
}

/// Why a body cannot be read; the texts are those of Go's decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON.
    #[error("{0}")]
    Syntax(String),
    /// A value of the wrong type.
    #[error("{0}")]
    Type(String),
}

/// Reads JSON without a schema; only duplicate fields are problems.
pub fn untyped(body: &[u8]) -> Result<Decoded, DecodeError> {
    let body = String::from_utf8_lossy(body);
    let problems = untyped::Problems::default();
    let mut deserializer = serde_json::Deserializer::from_str(&body);
    let seed = untyped::Node::root(&problems);
    let value = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| DecodeError::Syntax(syntax::error(&body, &error)))?;
    Ok(Decoded {
        value,
        problems: problems.into_inner(),
    })
}

/// Reads JSON of a built-in kind.
pub fn typed(body: &[u8], schema: &SchemaRef) -> Result<Decoded, DecodeError> {
    let body = String::from_utf8_lossy(body);
    let context = typed::Context::default();
    let mut deserializer = serde_json::Deserializer::from_str(&body);
    let value = typed::root(schema, &context)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| DecodeError::Syntax(syntax::error(&body, &error)))?;
    context.finish(value)
}

/// The same for a value that is there already, for example the result of a patch.
pub fn typed_value(value: Value, schema: &SchemaRef) -> Result<Decoded, DecodeError> {
    let context = typed::Context::default();
    let value = typed::root(schema, &context)
        .deserialize(value)
        .map_err(|error| DecodeError::Syntax(error.to_string()))?;
    context.finish(value)
}

/// The same for the result of a strategic merge patch, which the API server turns into an object
/// without the detour over JSON: values of the wrong type are told in other words.
pub fn converted(value: Value, schema: &SchemaRef) -> Result<Decoded, DecodeError> {
    let context = typed::Context::converting();
    let value = typed::root(schema, &context)
        .deserialize(value)
        .map_err(|error| DecodeError::Syntax(error.to_string()))?;
    context.finish(value)
}

/// YAML as JSON; the error is what Go says, after `error converting YAML to JSON: `.
pub fn yaml(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    yaml::to_json(body).map_err(DecodeError::Syntax)
}

/// `apiVersion` and `kind` of a body, the first thing that is read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeMeta {
    /// `apiVersion`, empty when absent.
    pub api_version: String,
    /// `kind`, empty when absent.
    pub kind: String,
}

/// Reads `apiVersion` and `kind`; the error is what follows `couldn't get version/kind; `.
pub fn type_meta(body: &[u8]) -> Result<TypeMeta, String> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default, rename = "apiVersion")]
        api_version: Value,
        #[serde(default)]
        kind: Value,
    }
    const HEAD: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                        Kind string \"json:\\\"kind,omitempty\\\"\" }";
    let body = String::from_utf8_lossy(body);
    let wrong = |kind: &str, place: &str| {
        format!("json parse error: json: cannot unmarshal {kind} into Go {place}")
    };
    let text = |value: Value, field: &str| match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        other => Err(wrong(
            crate::go::json_kind(&other),
            &format!("struct field .{field} of type string"),
        )),
    };
    // A list would be read as the fields of a struct in their order.
    let is_list = body.trim_start().starts_with('[');
    match serde_json::from_str::<Head>(&body) {
        Ok(head) if !is_list => Ok(TypeMeta {
            api_version: text(head.api_version, "apiVersion")?,
            kind: text(head.kind, "kind")?,
        }),
        // Given twice, the last one counts.
        _ => match untyped(body.as_bytes()) {
            Err(error) => Err(format!("json parse error: {error}")),
            Ok(Decoded {
                value: Value::Null, ..
            }) => Ok(TypeMeta::default()),
            Ok(Decoded {
                value: Value::Object(mut fields),
                ..
            }) => Ok(TypeMeta {
                api_version: text(
                    fields.remove("apiVersion").unwrap_or_default(),
                    "apiVersion",
                )?,
                kind: text(fields.remove("kind").unwrap_or_default(), "kind")?,
            }),
            Ok(Decoded { value, .. }) => Err(wrong(
                crate::go::json_kind(&value),
                &format!("value of type {HEAD}"),
            )),
        },
    }
}

/// A step on the way to a value, kept on the stack so that paths cost nothing until one is told.
#[derive(Clone, Copy)]
struct Frame<'a> {
    parent: Option<&'a Frame<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    /// A declared field; Go's type errors name only these.
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Frame<'a> {
    const ROOT: Self = Self {
        parent: None,
        step: Step::Root,
    };

    fn child(&'a self, step: Step<'a>) -> Self {
        Self {
            parent: Some(self),
            step,
        }
    }

    /// As strict decoding writes it: `spec.containers[0].image`.
    fn path(&self) -> String {
        let mut path = self.parent.map(Frame::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) | Step::Key(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index(index) => {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
        path
    }

    /// As Go's type errors write it: only declared fields.
    fn fields(&self) -> String {
        let mut path = self.parent.map(Frame::fields).unwrap_or_default();
        if let Step::Field(name) = self.step {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        }
        path
    }
}

#[cfg(test)]
mod tests;
