//! Removing from a merged object what its applier no longer names.

use serde_json::{Map, Value};

use super::atom::{Kind, Type};
use super::fields;
use super::path::PathElement;
use super::set::FieldSet;

/// `merged` without the fields in `last` that nobody owns any more.
///
/// First everything in `last` goes; then what somebody owns comes back, and what nobody owned in the
/// first place.
pub(super) fn give_up(merged: &Value, last: &FieldSet, owned: &FieldSet, ty: Type<'_>) -> Value {
    let last = last.with_named_fields(ty);
    let there = fields::set_of(merged, ty).with_named_fields(ty);
    let pruned = without(merged, &last, ty);
    let kept = fields::set_of(&pruned, ty).with_named_fields(ty);
    let kept = kept.union(&owned.with_named_fields(ty));
    let pruned = without(merged, &there.difference(&kept), ty);
    let kept = fields::set_of(&pruned, ty).with_named_fields(ty);
    without(merged, &there.difference(&kept).intersection(&last), ty)
}

/// The value without the fields in `gone`; a list or object of which nothing is left is null.
fn without(value: &Value, gone: &FieldSet, ty: Type<'_>) -> Value {
    match (ty.kind(Some(value)), value) {
        (Kind::List(list), Value::Array(items)) if !list.atomic => {
            let mut kept = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let Ok(element) = list.element(index, item) else {
                    kept.push(item.clone());
                    continue;
                };
                if gone.has_element(&element) {
                    continue;
                }
                kept.push(match gone.below(&element) {
                    Some(below) => without(item, below, list.items()),
                    None => item.clone(),
                });
            }
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Array(kept)
            }
        }
        (Kind::Map(map), Value::Object(fields)) if !map.atomic => {
            let mut kept = Map::new();
            for (name, field) in fields {
                let element = PathElement::field(name);
                if gone.has_element(&element) {
                    continue;
                }
                let ty = map.field(name).unwrap_or(Type::Deduced);
                let field = match gone.below(&element) {
                    Some(below) => without(field, below, ty),
                    None => field.clone(),
                };
                kept.insert(name.clone(), field);
            }
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Object(kept)
            }
        }
        // Only what lies below is to go, and nothing lies below a value that is one.
        (Kind::List(_) | Kind::Map(_), Value::Array(_) | Value::Object(_)) => Value::Null,
        (_, value) => value.clone(),
    }
}
