//! Functions about lists and objects.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::{ANY, Call, Function, as_text, kind_of};
use crate::scenario::jmespath::{Problem, evaluate::at, number, same};

pub(super) const FUNCTIONS: &[Function] = &[
    ("at", 2, 2, |call| {
        call.list(0)?;
        Ok(at(call.value(0)?, call.whole(1)?.unwrap_or_default()))
    }),
    ("contains", 2, 2, |call| {
        let wanted = call.value(1)?;
        Ok(Value::from(match call.value(0)? {
            Value::Array(items) => items.iter().any(|item| same(item, wanted)),
            Value::String(text) => wanted.as_str().is_some_and(|part| text.contains(part)),
            other => {
                return Err(call.problem(&format!(
                    "argument 1 must be a list or a string, but is {}",
                    kind_of(other)
                )));
            }
        }))
    }),
    ("from_items", 1, 1, |call| {
        let pair = |item: &Value| Some((item.get(0)?.as_str()?.to_owned(), item.get(1)?.clone()));
        let pairs = call.list(0)?.iter().map(|item| {
            pair(item).ok_or_else(|| call.problem("each item must be a key and a value"))
        });
        pairs.collect::<Result<Map<_, _>, _>>().map(Value::Object)
    }),
    ("group_by", 2, 2, |call| {
        let mut groups = Map::new();
        for item in call.list(0)? {
            let key = call.apply(1, item)?;
            let Some(key) = key.as_str() else {
                return Err(call.problem("the expression must give strings"));
            };
            if let Value::Array(group) = groups.entry(key).or_insert_with(|| json!([])) {
                group.push(item.clone());
            }
        }
        Ok(groups.into())
    }),
    ("items", 1, 3, items),
    ("keys", 1, 1, |call| {
        Ok(call.object(0)?.keys().cloned().collect())
    }),
    ("length", 1, 1, |call| {
        Ok(Value::from(match call.value(0)? {
            Value::String(text) => text.chars().count(),
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            other => {
                return Err(call.problem(&format!(
                    "argument 1 must be a string, a list or an object, but is {}",
                    kind_of(other)
                )));
            }
        }))
    }),
    ("lookup", 2, 2, |call| {
        Ok(match (call.value(0)?, call.value(1)?) {
            (Value::Object(map), Value::String(key)) => map.get(key).cloned().unwrap_or_default(),
            (list @ Value::Array(_), Value::Number(_)) => {
                match call.whole(1)?.unwrap_or_default() {
                    index if index < 0 => Value::Null,
                    index => at(list, index),
                }
            }
            _ => return Err(call.problem("it takes an object and a key, or a list and an index")),
        })
    }),
    ("map", 2, 2, |call| {
        call.list(1)?
            .iter()
            .map(|item| call.apply(0, item))
            .collect()
    }),
    ("max", 1, 1, |call| extreme(call, Ordering::Greater)),
    ("max_by", 2, 2, |call| extreme_by(call, Ordering::Greater)),
    ("merge", 1, ANY, |call| {
        let mut merged = Map::new();
        for index in 0..call.count() {
            merged.extend(call.object(index)?.clone());
        }
        Ok(merged.into())
    }),
    ("min", 1, 1, |call| extreme(call, Ordering::Less)),
    ("min_by", 2, 2, |call| extreme_by(call, Ordering::Less)),
    ("not_null", 1, ANY, |call| {
        let values = call.values()?;
        Ok(values
            .into_iter()
            .find(|value| !value.is_null())
            .cloned()
            .unwrap_or_default())
    }),
    ("object_from_lists", 2, 2, |call| {
        let keys = call.list(0)?;
        let values = call
            .list(1)?
            .iter()
            .cloned()
            .chain(std::iter::repeat(Value::Null));
        Ok(keys
            .iter()
            .map(as_text)
            .zip(values)
            .collect::<Map<_, _>>()
            .into())
    }),
    ("reverse", 1, 1, |call| {
        Ok(match call.value(0)? {
            Value::String(text) => text.chars().rev().collect::<String>().into(),
            Value::Array(items) => items.iter().rev().cloned().collect(),
            other => {
                return Err(call.problem(&format!(
                    "argument 1 must be a string or a list, but is {}",
                    kind_of(other)
                )));
            }
        })
    }),
    ("sort", 1, 1, |call| {
        let items = call
            .list(0)?
            .iter()
            .map(|item| (item.clone(), item.clone()));
        sorted(call, items.collect())
    }),
    ("sort_by", 2, 2, |call| {
        let keyed = |item: &Value| Ok((call.apply(1, item)?, item.clone()));
        sorted(
            call,
            call.list(0)?
                .iter()
                .map(keyed)
                .collect::<Result<_, Problem>>()?,
        )
    }),
    ("to_array", 1, 1, |call| {
        Ok(match call.value(0)? {
            list @ Value::Array(_) => list.clone(),
            other => json!([other]),
        })
    }),
    ("to_boolean", 1, 1, |call| {
        match call.text(0)?.to_lowercase().as_str() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            other => Err(call.problem(&format!("{other:?} is neither true nor false"))),
        }
    }),
    ("to_number", 1, 1, |call| {
        Ok(match call.value(0)? {
            number @ Value::Number(_) => number.clone(),
            Value::String(text) => text.trim().parse().map_or(Value::Null, number),
            _ => Value::Null,
        })
    }),
    ("type", 1, 1, |call| Ok(kind_of(call.value(0)?).into())),
    ("values", 1, 1, |call| {
        Ok(call.object(0)?.values().cloned().collect())
    }),
    ("zip", 1, ANY, |call| {
        let lists = (0..call.count()).map(|index| call.list(index));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let shortest = lists
            .iter()
            .map(|list| list.len())
            .min()
            .unwrap_or_default();
        let row = |at: usize| {
            lists
                .iter()
                .filter_map(|list| list.get(at).cloned())
                .collect()
        };
        Ok((0..shortest).map(row).collect::<Vec<Value>>().into())
    }),
    ("label_match", 2, 2, |call| {
        let (wanted, labels) = (call.object(0)?, call.object(1)?);
        let is_there = |(key, value): (&String, &Value)| {
            labels.get(key).is_some_and(|label| same(label, value))
        };
        Ok(wanted.iter().all(is_there).into())
    }),
];

/// JMESPath's takes an object and gives pairs; kyverno's takes names for the two parts of a pair.
fn items(call: &Call<'_>) -> Result<Value, Problem> {
    if call.count() == 1 {
        let pair = |(key, value): (&String, &Value)| json!([key, value]);
        return Ok(call.object(0)?.iter().map(pair).collect());
    }
    let (key_name, value_name) = (call.text(1)?, call.text(2)?);
    let pair = |key: Value, value: &Value| json!({key_name: key, value_name: value});
    Ok(match call.value(0)? {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| pair(key.as_str().into(), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| pair(index.into(), value))
            .collect(),
        other => {
            return Err(call.problem(&format!(
                "argument 1 must be an object or a list, but is {}",
                kind_of(other)
            )));
        }
    })
}

/// Numbers among numbers, text among text; nothing else has an order.
fn order(call: &Call<'_>, a: &Value, b: &Value) -> Result<Ordering, Problem> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => Ok(a
            .as_f64()
            .unwrap_or_default()
            .total_cmp(&b.as_f64().unwrap_or_default())),
        _ => Err(call.problem(&format!(
            "only numbers or only strings have an order, not {} and {}",
            kind_of(a),
            kind_of(b)
        ))),
    }
}

fn sorted(call: &Call<'_>, mut keyed: Vec<(Value, Value)>) -> Result<Value, Problem> {
    if let [(only, _)] = keyed.as_slice() {
        order(call, only, only)?;
    }
    let mut trouble = None;
    keyed.sort_by(|(a, _), (b, _)| {
        order(call, a, b).unwrap_or_else(|problem| {
            trouble = Some(problem);
            Ordering::Equal
        })
    });
    match trouble {
        Some(problem) => Err(problem),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

fn extreme(call: &Call<'_>, wanted: Ordering) -> Result<Value, Problem> {
    let items = call
        .list(0)?
        .iter()
        .map(|item| (item.clone(), item.clone()));
    most(call, items.collect(), wanted)
}

fn extreme_by(call: &Call<'_>, wanted: Ordering) -> Result<Value, Problem> {
    let keyed = |item: &Value| Ok((call.apply(1, item)?, item.clone()));
    let items = call
        .list(0)?
        .iter()
        .map(keyed)
        .collect::<Result<_, Problem>>()?;
    most(call, items, wanted)
}

fn most(call: &Call<'_>, keyed: Vec<(Value, Value)>, wanted: Ordering) -> Result<Value, Problem> {
    let mut best: Option<(Value, Value)> = None;
    for (key, item) in keyed {
        let better = match &best {
            None => order(call, &key, &key).map(|_| true)?,
            Some((so_far, _)) => order(call, &key, so_far)? == wanted,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map(|(_, item)| item).unwrap_or_default())
}
