//! Entries of sets and of lists with keys must differ.

use serde_json::{Map, Value};

use crate::field::{Error, Path};
use crate::schema::{AdditionalProperties, ListType, Schema};

/// All entries that stand twice.
pub fn validate(value: &Value, schema: &Schema, place: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    walk(value, schema, place, &mut errors);
    errors
}

fn walk(value: &Value, schema: &Schema, place: &Path, errors: &mut Vec<Error>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let AdditionalProperties::Schema(values) = &schema.additional_properties {
                    walk(field, values, &place.key(name), errors);
                }
                if let Some(property) = schema.properties.get(name) {
                    walk(field, property, &place.child(name), errors);
                }
            }
        }
        Value::Array(items) => {
            match schema.list_type {
                Some(ListType::Set) => duplicates(items, place, errors),
                Some(ListType::Map) => keyed(items, schema, place, errors),
                _ => {}
            }
            if let Some(each) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    walk(item, each, &place.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

/// Each value that stands twice is told once, where it stands the second time.
fn duplicates(items: &[Value], place: &Path, errors: &mut Vec<Error>) {
    for (index, item) in items.iter().enumerate() {
        if items[..index].iter().filter(|other| *other == item).count() == 1 {
            errors.push(Error::duplicate(&place.index(index), item.clone()));
        }
    }
}

fn keyed(items: &[Value], schema: &Schema, place: &Path, errors: &mut Vec<Error>) {
    for (index, item) in items.iter().enumerate() {
        if !item.is_object() && !item.is_null() {
            let why = "must be an object for an array of list-type map";
            errors.push(Error::invalid(&place.index(index), item.clone(), why));
            return;
        }
    }
    let key_of = |item: &Value| {
        let keys = schema.list_map_keys.iter();
        let keys = keys.filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        Value::Object(keys.collect::<Map<_, _>>())
    };
    let keys: Vec<Value> = items.iter().map(key_of).collect();
    duplicates(&keys, place, errors);
}
