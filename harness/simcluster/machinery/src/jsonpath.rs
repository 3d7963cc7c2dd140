//! JSONPath as printer columns and selectable fields use it: `.status.conditions[?(@.type=="x")]`.
//!
//! One expression, with or without its braces. Templates of several expressions and `range` are
//! the command line's and are not read here.

mod parse;

use std::cmp::Ordering;

use serde_json::Value;

use crate::go;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

/// Why an expression cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    Union(Vec<Step>),
    Filter {
        left: Operand,
        operator: Comparison,
        right: Operand,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Value(Value),
    /// The other side of a filter that only asks for existence.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Exists,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads an expression: `.spec.x`, `spec.x` or `{.spec.x}`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::expression(text)
    }

    /// All values it leads to; what is missing leads nowhere.
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut current = vec![root];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in current {
                step.walk(value, &mut next);
            }
            current = next;
        }
        current
    }

    /// The first value it leads to.
    pub fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.find(root).into_iter().next()
    }

    /// The names, when the expression is nothing but fields: `.spec.x` is `spec`, `x`.
    pub fn fields(&self) -> Option<Vec<&str>> {
        let name = |step: &'_ Step| match step {
            Step::Field(name) => Some(name.clone()),
            _ => None,
        };
        self.steps.iter().all(|step| name(step).is_some()).then(|| {
            let names = self.steps.iter().filter_map(|step| match step {
                Step::Field(name) => Some(name.as_str()),
                _ => None,
            });
            names.collect()
        })
    }
}

impl Step {
    fn walk<'a>(&self, value: &'a Value, found: &mut Vec<&'a Value>) {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => found.extend(fields.get(name)),
            (Self::Wildcard, Value::Object(fields)) => found.extend(fields.values()),
            (Self::Wildcard, Value::Array(items)) => found.extend(items),
            (Self::Recursive, _) => descend(value, found),
            (Self::Slice { start, end, step }, Value::Array(items)) => {
                slice(items, *start, *end, *step, found);
            }
            (Self::Union(steps), _) => steps.iter().for_each(|step| step.walk(value, found)),
            (
                Self::Filter {
                    left,
                    operator,
                    right,
                },
                Value::Array(items),
            ) => {
                found.extend(
                    items
                        .iter()
                        .filter(|item| holds(left, *operator, right, item)),
                );
            }
            _ => {}
        }
    }
}

fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|value| descend(value, found)),
        Value::Array(items) => items.iter().for_each(|value| descend(value, found)),
        _ => {}
    }
}

fn slice<'a>(
    items: &'a [Value],
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
    found: &mut Vec<&'a Value>,
) {
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = |index: i64| if index < 0 { index + length } else { index }.clamp(0, length);
    let (mut index, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(length)));
    while index < end {
        found.extend(
            usize::try_from(index)
                .ok()
                .and_then(|index| items.get(index)),
        );
        index += step.max(1);
    }
}

fn holds(left: &Operand, operator: Comparison, right: &Operand, item: &Value) -> bool {
    let value = |operand: &'_ Operand| match operand {
        Operand::Path(path) => path.first(item).cloned(),
        Operand::Value(value) => Some(value.clone()),
        Operand::Nothing => None,
    };
    let left = value(left);
    if operator == Comparison::Exists {
        return left.is_some();
    }
    let (Some(left), Some(right)) = (left, value(right)) else {
        return false;
    };
    let order = match (&left, &right) {
        (Value::Number(left), Value::Number(right)) => left
            .as_f64()
            .zip(right.as_f64())
            .and_then(|(left, right)| left.partial_cmp(&right)),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match operator {
        Comparison::Exists => true,
        Comparison::Equal => left == right || order == Some(Ordering::Equal),
        Comparison::NotEqual => left != right && order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    }
}

/// A value as it is printed: strings bare, objects and lists as JSON.
pub fn print(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => value.to_string(),
        Value::Null => String::new(),
        other => go::verb_v(other),
    }
}

/// The cell of a printer column for the object's value, which may be missing. Dates are left to
/// the caller, who knows what time it is: they come out as they stand in the object.
pub fn cell(column_type: &str, value: Option<&Value>) -> Value {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Value::Null;
    };
    match (column_type, value) {
        ("string", value) => Value::String(print(value)),
        ("integer", Value::Number(number)) => number
            .as_i64()
            .or_else(|| {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a column shows whole numbers"
                )]
                number.as_f64().map(|float| float as i64)
            })
            .map_or(Value::Null, Value::from),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) | ("date", Value::String(_)) => {
            value.clone()
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(path: &str, value: &Value) -> Vec<Value> {
        JsonPath::parse(path)
            .unwrap()
            .find(value)
            .into_iter()
            .cloned()
            .collect()
    }

    #[test]
    fn each_kind_of_step_leads_where_it_should() {
        let value = json!({
            "spec": {"names": ["x", "y", "z"], "a.b": 1},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1},
                {"type": "Other", "status": "False", "n": 5},
            ]}
        });
        for (path, expected) in [
            (".spec.names[0]", json!(["x"])),
            ("{.spec.names[*]}", json!(["x", "y", "z"])),
            ("spec.names[-1]", json!(["z"])),
            (".spec.names[0:2]", json!(["x", "y"])),
            (".spec.names[::2]", json!(["x", "z"])),
            (".spec.names[0,2]", json!(["x", "z"])),
            (".spec['a.b']", json!([1])),
            (r".spec.a\.b", json!([1])),
            (".spec.absent.deeper", json!([])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (".status.conditions[?(@.type=='Other')].n", json!([5])),
            (".status.conditions[?(@.n>1)].type", json!(["Other"])),
            (".status.conditions[?(@.n)].type", json!(["Ready", "Other"])),
            ("$.status..type", json!(["Ready", "Other"])),
        ] {
            assert_eq!(Value::Array(found(path, &value)), expected, "{path}");
        }
    }

    #[test]
    fn cells_have_the_type_of_their_column() {
        assert_eq!(cell("integer", Some(&json!(2.0))), json!(2));
        assert_eq!(cell("integer", Some(&json!("2"))), Value::Null);
        assert_eq!(cell("string", Some(&json!({"a": 1}))), json!("{\"a\":1}"));
        assert_eq!(cell("string", Some(&json!(5))), json!("5"));
        assert_eq!(cell("boolean", None), Value::Null);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["{.a", ".a[", ".a[?(@.b=]", ".a[x]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[.a\\[\\]0-9*?()@='\":,{}\\-\\\\é]{0,20}") {
            if let Ok(path) = JsonPath::parse(&text) {
                path.find(&json!({"a": [{"a": 1}, {"a": [1, 2]}]}));
            }
        }
    }
}
