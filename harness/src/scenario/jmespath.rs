//! JMESPath in its community edition, which is what chainsaw's expressions are: with bindings (`$name`),
//! `let`, arithmetic, slices of text.
//!
//! Pure: an expression sees a value, bindings, and answers of the cluster that were asked for before. A
//! function that needs another answer says so in its error ([`Problem::Asks`]); whoever may ask the cluster
//! does, and evaluates again. What chainsaw has and this has not: see [`functions::MISSING`].
//!
//! | module | its one job |
//! |---|---|
//! | [`lexer`] | from text to tokens |
//! | [`parser`] | from tokens to an [`Node`] |
//! | [`evaluate`](mod@evaluate) | the value of a [`Node`] on an input |
//! | [`functions`] | what stands before a parenthesis |

pub mod evaluate;
pub mod functions;
pub mod lexer;
pub mod parser;

use std::collections::BTreeMap;

use serde_json::Value;

pub use evaluate::evaluate;
pub use parser::{Node, parse};

/// What an expression sees beside its input.
pub trait Surroundings {
    /// The value of `$name`.
    fn binding(&self, name: &str) -> Option<&Value>;

    /// The names that there are, for messages.
    fn names(&self) -> Vec<String>;

    /// What the cluster said, if it was asked; an error of the cluster is its message.
    fn answer(&self, question: &Question) -> Option<&Result<Value, String>>;
}

/// Nothing but values by name; for tests and for what is known beforehand.
impl Surroundings for BTreeMap<String, Value> {
    fn binding(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn answer(&self, _: &Question) -> Option<&Result<Value, String>> {
        None
    }
}

/// What an expression wants to know of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// An object; it is an error if it is not there.
    Get(Which),
    /// All objects of a kind, in one namespace or in all.
    List(Which),
    /// Whether an object is there.
    Exists(Which),
    /// Whether the cluster knows a kind.
    KindExists(Which),
    /// The version that the API server tells.
    ServerVersion,
}

/// Which objects a [`Question`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Empty for all, and for kinds without namespaces.
    pub namespace: String,
    /// Empty for all.
    pub name: String,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It cannot be read, or speaks of something that is nowhere: no input would help.
    Wrong(String),
    /// This input does not fit; another one may.
    NoValue(String),
    /// The cluster has to be asked first.
    Asks(Question),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wrong(text) | Self::NoValue(text) => f.write_str(text),
            Self::Asks(question) => write!(
                f,
                "the cluster would have to be asked ({question:?}), which is not done here; give it a name \
                 in `bindings` and use that"
            ),
        }
    }
}

/// A number as JSON writes it: `2`, not `2.0`.
fn number(float: f64) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only whole numbers are cast"
    )]
    if float.fract() == 0.0 && float.abs() < 9e15 {
        Value::from(float as i64)
    } else {
        Value::from(float)
    }
}

/// Whether JMESPath takes a value for false: false, null, and what is empty.
fn is_false(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}

/// Equal as JSON, where `1` and `1.0` are one number.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(key, x)| y.get(key).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}
