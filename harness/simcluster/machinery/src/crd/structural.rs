//! Whether a schema is structural: every part of every value has exactly one place that says its
//! type, and alternatives only add to that.

use serde_json::{Value, json};

use super::{Object, flag, keyword, list, object, word};
use crate::field::{Error, Path};
use crate::pattern;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps the schema from being structural.
pub(super) fn validate(schema: &Object, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    invariants(schema, Level::Root, path, &mut errors);
    complete(schema, Some(schema), path, path, &mut errors);
    errors.sort_by_key(ToString::to_string);
    errors
}

fn items(schema: &Object) -> Option<&Object> {
    object(schema, "items")
}

fn invariants(schema: &Object, level: Level, path: &Path, errors: &mut Vec<Error>) {
    let kind = word(schema, "type");
    match items(schema) {
        Some(items) => invariants(items, Level::Item, &path.child("items"), errors),
        None if kind == "array" => {
            errors.push(Error::required(&path.child("items"), "must be specified"));
        }
        None => {}
    }
    for (name, property) in object(schema, "properties").into_iter().flatten() {
        if let Value::Object(property) = property {
            invariants(
                property,
                Level::Field,
                &path.child("properties").key(name),
                errors,
            );
        }
    }
    let additional = keyword(schema, "additionalProperties");
    let additional_path = path.child("additionalProperties");
    if additional.is_some() && level == Level::Root {
        errors.push(Error::forbidden(
            &additional_path,
            "must not be used at the root",
        ));
    }
    if let Some(Value::Object(values)) = additional {
        invariants(values, Level::Field, &additional_path, errors);
    }
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
    if int_or_string {
        let why = "must be false if x-kubernetes-int-or-string is true";
        for (set, name) in [
            (preserve, "x-kubernetes-preserve-unknown-fields"),
            (embedded, "x-kubernetes-embedded-resource"),
        ] {
            if set {
                errors.push(Error::invalid(&path.child(name), true, why));
            }
        }
    }
    let skip_any = is_int_or_string(list(schema, "anyOf"));
    let first = list(schema, "allOf").first().and_then(Value::as_object);
    let skip_first = first.is_some_and(|first| is_int_or_string(list(first, "anyOf")));
    value_validation(schema, skip_any, skip_first, level, path, errors);

    let type_path = path.child("type");
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() {
            Error::required(&type_path, why)
        } else {
            Error::invalid(&type_path, kind, why)
        });
    } else if kind.is_empty() && !int_or_string && !preserve {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(Error::required(&type_path, why));
    }
    if embedded && additional.is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(Error::forbidden(&additional_path, why));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(Error::invalid(
            &type_path,
            kind,
            "must be object at the root",
        ));
    }
    metadata(schema, level, embedded, path, errors);
    let properties = object(schema, "properties").is_some_and(|all| !all.is_empty());
    if embedded && !preserve && !properties {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                   x-kubernetes-preserve-unknown-fields";
        errors.push(Error::required(&path.child("properties"), why));
    }
}

/// What every object has may be said, but not otherwise than it is.
fn metadata(schema: &Object, level: Level, embedded: bool, path: &Path, errors: &mut Vec<Error>) {
    let property = |name: &str| object(schema, "properties")?.get(name)?.as_object();
    let of_object = level == Level::Root || embedded;
    let place = |name: &str| path.child("properties").key(name);
    for name in ["kind", "apiVersion"] {
        if let Some(property) = property(name)
            && of_object
            && word(property, "type") != "string"
        {
            let path = place(name).child("type");
            errors.push(Error::invalid(
                &path,
                word(property, "type"),
                "must be string",
            ));
        }
    }
    let Some(metadata) = property("metadata") else {
        return;
    };
    if of_object && word(metadata, "type") != "object" {
        let path = place("metadata").child("type");
        errors.push(Error::invalid(
            &path,
            word(metadata, "type"),
            "must be object",
        ));
    }
    if level != Level::Root {
        return;
    }
    let only_names = object(metadata, "properties").is_none_or(|properties| {
        properties
            .keys()
            .all(|name| matches!(name.as_str(), "name" | "generateName"))
    });
    let allowed = ["type", "properties", "default"];
    let nothing_else = metadata
        .iter()
        .all(|(name, value)| allowed.contains(&name.as_str()) || is_zero(value));
    if !only_names || !nothing_else {
        let why = "must not specify anything other than name and generateName, but metadata is \
                   implicitly specified";
        errors.push(Error::forbidden(&place("metadata"), why));
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The one form of alternatives that may say types: integer or string.
fn is_int_or_string(any_of: &[Value]) -> bool {
    any_of == [json!({"type": "integer"}), json!({"type": "string"})]
}

fn value_validation(
    schema: &Object,
    skip_any: bool,
    skip_first: bool,
    level: Level,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if !skip_any {
        nested_list(schema, "anyOf", false, level, path, errors);
    }
    nested_list(schema, "allOf", skip_first, level, path, errors);
    nested_list(schema, "oneOf", false, level, path, errors);
    if let Some(not) = object(schema, "not") {
        nested(not, false, level, &path.child("not"), errors);
    }
    let source = word(schema, "pattern");
    if !source.is_empty()
        && let Err(why) = pattern::compile(source)
    {
        let why =
            format!("must be a valid regular expression, but isn't: error parsing regexp: {why}");
        errors.push(Error::invalid(&path.child("pattern"), source, why));
    }
}

fn nested_list(
    schema: &Object,
    name: &str,
    skip_first: bool,
    level: Level,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    for (index, one) in list(schema, name).iter().enumerate() {
        if let Value::Object(one) = one {
            let skip = skip_first && index == 0;
            nested(one, skip, level, &path.child(name).index(index), errors);
        }
    }
}

/// Inside of alternatives only values are restricted; nothing is said about types.
fn nested(schema: &Object, skip_any: bool, level: Level, path: &Path, errors: &mut Vec<Error>) {
    value_validation(schema, skip_any, false, level, path, errors);
    if let Some(items) = items(schema) {
        nested(items, false, level, &path.child("items"), errors);
    }
    let properties = object(schema, "properties");
    for (name, property) in properties.into_iter().flatten() {
        if let Value::Object(property) = property {
            nested(
                property,
                false,
                Level::Field,
                &path.child("properties").key(name),
                errors,
            );
        }
    }
    for (name, must) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-embedded-resource",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-int-or-string",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-list-map-keys",
            "must be empty to be structural",
        ),
        (
            "x-kubernetes-list-type",
            "must be undefined to be structural",
        ),
        (
            "x-kubernetes-map-type",
            "must be undefined to be structural",
        ),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        let undefined = must.contains("undefined");
        if keyword(schema, name).is_some_and(|value| undefined || !is_zero(value)) {
            errors.push(Error::forbidden(&path.child(name), must));
        }
    }
    if properties.is_some_and(|properties| properties.contains_key("metadata")) {
        let path = path.child("properties").key("metadata");
        errors.push(Error::forbidden(
            &path,
            "must not be specified in a nested context",
        ));
    }
}

/// What alternatives speak of must be there outside of them.
fn complete(
    schema: &Object,
    skeleton: Option<&Object>,
    here: &Path,
    said_in: &Path,
    errors: &mut Vec<Error>,
) {
    if let Some(not) = object(schema, "not") {
        complete_nested(not, skeleton, here, &said_in.child("not"), errors);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (index, one) in list(schema, name).iter().enumerate() {
            if let Value::Object(one) = one {
                let said_in = said_in.child(name).index(index);
                complete_nested(one, skeleton, here, &said_in, errors);
            }
        }
    }
}

fn complete_nested(
    schema: &Object,
    skeleton: Option<&Object>,
    here: &Path,
    said_in: &Path,
    errors: &mut Vec<Error>,
) {
    let Some(skeleton) = skeleton else {
        errors.push(Error::required(
            here,
            format!("because it is defined in {said_in}"),
        ));
        return;
    };
    complete(schema, Some(skeleton), here, said_in, errors);
    if let Some(nested) = items(schema) {
        let (here, said_in) = (here.child("items"), said_in.child("items"));
        complete_nested(nested, items(skeleton), &here, &said_in, errors);
    }
    for (name, nested) in object(schema, "properties").into_iter().flatten() {
        let Value::Object(nested) = nested else {
            continue;
        };
        let step = |path: &Path| path.child("properties").key(name);
        let property = object(skeleton, "properties").and_then(|all| all.get(name));
        let property = property.and_then(Value::as_object);
        complete_nested(nested, property, &step(here), &step(said_in), errors);
    }
}
