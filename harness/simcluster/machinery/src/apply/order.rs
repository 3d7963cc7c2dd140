//! An order over JSON values, so that they can be keys of sets.

use std::cmp::Ordering;

use serde_json::Value;

/// A value that can be compared with any other.
#[derive(Clone, Debug)]
pub(super) struct Ordered(pub(super) Value);

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => {
            if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
                return left.cmp(&right);
            }
            let float = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::NAN);
            float(left).total_cmp(&float(right))
        }
        (Value::Array(left), Value::Array(right)) => {
            let pairs = left
                .iter()
                .zip(right)
                .map(|(left, right)| compare(left, right));
            pairs
                .fold(Ordering::Equal, Ordering::then)
                .then(left.len().cmp(&right.len()))
        }
        (Value::Object(left), Value::Object(right)) => {
            let mut left: Vec<_> = left.iter().collect();
            let mut right: Vec<_> = right.iter().collect();
            left.sort_by_key(|(name, _)| *name);
            right.sort_by_key(|(name, _)| *name);
            let pairs = left
                .iter()
                .zip(&right)
                .map(|((name, value), (other, other_value))| {
                    name.cmp(other).then_with(|| compare(value, other_value))
                });
            pairs
                .fold(Ordering::Equal, Ordering::then)
                .then(left.len().cmp(&right.len()))
        }
        _ => rank(left).cmp(&rank(right)),
    }
}
