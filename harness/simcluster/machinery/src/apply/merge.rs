//! Merging a configuration into a live object.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::atom::{Fields, Kind, List, Type};
use super::path::PathElement;

/// The live object with everything that the configuration says laid over it.
pub(super) fn merge(live: &Value, configuration: &Value, ty: Type<'_>) -> Value {
    both(Some(live), Some(configuration), ty).unwrap_or(Value::Null)
}

fn both(live: Option<&Value>, wanted: Option<&Value>, ty: Type<'_>) -> Option<Value> {
    let (Some(left), Some(right)) = (live, wanted) else {
        return live.or(wanted).cloned();
    };
    // The configuration decides what the value is; where it is null, the live value does.
    let kind = ty.kind(Some(if right.is_null() { left } else { right }));
    match (kind, left, right) {
        (Kind::List(list), left, Value::Array(right)) if !list.atomic => {
            let left = left.as_array().map(Vec::as_slice).unwrap_or_default();
            if left.is_empty() && right.is_empty() {
                return wanted.cloned();
            }
            Some(Value::Array(lists(left, right, list)))
        }
        (Kind::Map(map), left, Value::Object(right)) if !map.atomic => {
            let empty = Map::new();
            let left = left.as_object().unwrap_or(&empty);
            if left.is_empty() && right.is_empty() {
                return wanted.cloned();
            }
            Some(Value::Object(objects(left, right, map)))
        }
        // A null beside a list or an object that is merged says nothing about it.
        (Kind::List(List { atomic: false, .. }), Value::Array(items), Value::Null)
            if !items.is_empty() =>
        {
            live.cloned()
        }
        (Kind::Map(Fields { atomic: false, .. }), Value::Object(fields), Value::Null)
            if !fields.is_empty() =>
        {
            live.cloned()
        }
        _ => wanted.cloned(),
    }
}

fn objects(
    left: &Map<String, Value>,
    right: &Map<String, Value>,
    map: Fields<'_>,
) -> Map<String, Value> {
    let only_right = right.keys().filter(|name| !left.contains_key(*name));
    let names = left.keys().chain(only_right);
    let fields = names.filter_map(|name| {
        let ty = map.field(name).unwrap_or(Type::Deduced);
        Some((name.clone(), both(left.get(name), right.get(name), ty)?))
    });
    fields.collect()
}

/// Entries of both come in the order of the configuration; entries of the live object alone stay
/// where they stand between those.
fn lists(left: &[Value], right: &[Value], list: List<'_>) -> Vec<Value> {
    let elements = |items: &[Value]| -> Vec<Option<PathElement>> {
        items
            .iter()
            .enumerate()
            .map(|(index, item)| list.element(index, item).ok())
            .collect()
    };
    let (left_elements, right_elements) = (elements(left), elements(right));
    let observed = |items: &'_ [Value], elements: &[Option<PathElement>]| {
        let mut observed: BTreeMap<PathElement, Option<usize>> = BTreeMap::new();
        for (index, element) in elements.iter().enumerate().take(items.len()) {
            if let Some(element) = element {
                // Entries that cannot be told apart are not merged with anything.
                observed
                    .entry(element.clone())
                    .and_modify(|place| *place = None)
                    .or_insert(Some(index));
            }
        }
        observed
    };
    let in_left = observed(left, &left_elements);
    let in_right = observed(right, &right_elements);
    let merged = |element: &PathElement| {
        let item = |items: &'_ [Value], places: &BTreeMap<PathElement, Option<usize>>| {
            places
                .get(element)
                .copied()
                .flatten()
                .and_then(|index| items.get(index).cloned())
        };
        both(
            item(left, &in_left).as_ref(),
            item(right, &in_right).as_ref(),
            list.items(),
        )
    };

    let mut shared = right_elements
        .iter()
        .flatten()
        .filter(|one| in_left.contains_key(*one));
    let mut next_shared = shared.next();
    let mut taken: Vec<&PathElement> = Vec::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(Some(ours)), Some(Some(theirs))) =
            (left_elements.get(l), right_elements.get(r))
        {
            if ours == theirs {
                out.extend(merged(ours));
                taken.push(theirs);
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            // Shared, but not the one whose turn it is.
            if in_right.contains_key(ours) && next_shared.is_some_and(|next| next != ours) {
                l += 1;
                continue;
            }
        }
        if let Some(ours) = left_elements.get(l) {
            match ours {
                Some(ours) if in_right.contains_key(ours) => {
                    if taken.contains(&ours) {
                        l += 1;
                    }
                }
                _ => {
                    out.push(left[l].clone());
                    l += 1;
                    continue;
                }
            }
        }
        if let Some(theirs) = right_elements.get(r) {
            if let Some(theirs) = theirs {
                out.extend(merged(theirs));
                taken.push(theirs);
                if next_shared == Some(theirs) {
                    next_shared = shared.next();
                }
            }
            r += 1;
        }
    }
    out
}
