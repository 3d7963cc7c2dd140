//! The fields that a configuration names, and whether it follows its schema.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::atom::{Kind, Scalar, Type};
use super::path::{self, PathElement};
use super::set::FieldSet;
use crate::go;

/// The fields that a configuration names.
pub(super) fn set_of(value: &Value, ty: Type<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    collect(value, ty, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, ty: Type<'_>, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match (ty.kind(Some(value)), value) {
        (Kind::List(list), Value::Array(items)) if !list.atomic => {
            for (index, item) in items.iter().enumerate() {
                let Ok(element) = list.element(index, item) else {
                    continue;
                };
                path.push(element);
                collect(item, list.items(), path, set);
                set.insert(path);
                path.pop();
            }
        }
        (Kind::Map(map), Value::Object(fields)) if !map.atomic => {
            for (name, field) in fields {
                path.push(PathElement::field(name));
                collect(field, map.field(name).unwrap_or(Type::Deduced), path, set);
                let empty = match field {
                    Value::Null => true,
                    Value::Object(fields) => fields.is_empty(),
                    _ => false,
                };
                if empty || !map.declares(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Errors(Vec<String>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [single] => f.write_str(single),
            several => {
                f.write_str("errors:")?;
                several
                    .iter()
                    .try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

/// Checks that a configuration follows its schema.
pub(super) fn validate(value: &Value, ty: Type<'_>) -> Result<(), Errors> {
    let mut errors = Vec::new();
    check(value, ty, &mut Vec::new(), &mut errors);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Errors(errors))
    }
}

fn refuse(errors: &mut Vec<String>, path: &[PathElement], why: &str) {
    let place = path::display(path);
    errors.push(if place.is_empty() {
        why.to_owned()
    } else {
        format!("{place}: {why}")
    });
}

fn check(value: &Value, ty: Type<'_>, path: &mut Vec<PathElement>, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match (ty.kind(Some(value)), value) {
        (Kind::Scalar(scalar), value) => {
            let composite = value.is_array() || value.is_object();
            let expected = match (scalar, value) {
                (Scalar::Untyped, _) if composite => "scalar",
                (Scalar::Numeric, Value::Number(_))
                | (Scalar::String, Value::String(_))
                | (Scalar::Boolean, Value::Bool(_))
                | (Scalar::Untyped, _) => return,
                (Scalar::Numeric, _) => "numeric (int or float)",
                (Scalar::String, _) => "string",
                (Scalar::Boolean, _) => "boolean",
            };
            refuse(
                errors,
                path,
                &format!("expected {expected}, got {}", shown(value)),
            );
        }
        (Kind::List(list), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let element = if list.atomic {
                    Ok(PathElement(path::Element::Index(index)))
                } else {
                    list.element(index, item)
                };
                match element {
                    Ok(element) if seen.contains(&element) => {
                        refuse(
                            errors,
                            path,
                            &format!("duplicate entries for key {element}"),
                        );
                    }
                    Ok(element) => {
                        seen.insert(element.clone());
                        path.push(element);
                        check(item, list.items(), path, errors);
                        path.pop();
                    }
                    Err(why) => refuse(errors, path, &why),
                }
            }
        }
        (Kind::Map(map), Value::Object(fields)) => {
            for (name, field) in fields {
                path.push(PathElement::field(name));
                match map.field(name) {
                    Some(ty) => check(field, ty, path, errors),
                    None => refuse(errors, path, "field not declared in schema"),
                }
                path.pop();
            }
        }
        (kind, value) => {
            let expected = if matches!(kind, Kind::List(_)) {
                "list"
            } else {
                "map"
            };
            refuse(
                errors,
                path,
                &format!("expected {expected}, got {}", shown(value)),
            );
        }
    }
}

/// A value as the real server shows it here, which is not meant for people.
fn shown(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{}}}", go::syntax(value))
}
