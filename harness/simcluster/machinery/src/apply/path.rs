//! Steps of a path to a field, as managed fields write them: `f:name`, `k:{"name":"x"}`, `v:"x"`.

use std::fmt;

use serde_json::{Map, Value};

use super::order::Ordered;
use crate::go;

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathElement(pub(super) Element);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// A field of an object.
    Field(String),
    /// The entry of a list whose keys have these values, in the order of the keys' names.
    Key(Vec<(String, Ordered)>),
    /// The entry of a set with this value.
    Value(Ordered),
    /// The entry of a list at this place.
    Index(usize),
}

impl PathElement {
    /// The field `name`.
    pub fn field(name: &str) -> Self {
        Self(Element::Field(name.to_owned()))
    }

    pub(super) fn key(mut keys: Vec<(String, Value)>) -> Self {
        keys.sort_by(|(left, _), (right, _)| left.cmp(right));
        Self(Element::Key(
            keys.into_iter()
                .map(|(name, value)| (name, Ordered(value)))
                .collect(),
        ))
    }

    pub(super) fn value(value: Value) -> Self {
        Self(Element::Value(Ordered(value)))
    }

    /// From `f:name` and its like; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::field(rest),
            "v" => Self::value(serde_json::from_str(rest).ok()?),
            "i" => Self(Element::Index(rest.parse().ok()?)),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Self::key(keys.into_iter().collect())
            }
            _ => return None,
        })
    }

    /// As `f:name` and its like.
    pub(super) fn encode(&self) -> String {
        match &self.0 {
            Element::Field(name) => format!("f:{name}"),
            Element::Value(value) => format!("v:{}", value.0),
            Element::Index(index) => format!("i:{index}"),
            Element::Key(keys) => {
                let pairs: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), value.0))
                    .collect();
                format!("k:{{{}}}", pairs.join(","))
            }
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => go::quote(text),
        other => go::verb_v(other),
    }
}

impl fmt::Display for PathElement {
    /// As errors write it: `.name`, `[name="x"]`, `[="x"]`, `[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Value(value) => write!(f, "[={}]", text(&value.0)),
            Element::Index(index) => write!(f, "[{index}]"),
            Element::Key(keys) => {
                let pairs: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={}", text(&value.0)))
                    .collect();
                write!(f, "[{}]", pairs.join(","))
            }
        }
    }
}

/// A whole path, as errors write it.
pub(super) fn display(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}
