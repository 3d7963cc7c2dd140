//! Defaults in a schema must themselves be valid.

use serde_json::Value;

use super::{Object, flag, keyword, object};
use crate::field::{Error, Path};
use crate::schema::Schema;
use crate::{cel, prune, validate};

/// What is wrong with the defaults of a schema that is structural.
pub(super) fn validate(schema: &Object, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    walk(schema, true, false, path, &mut errors);
    errors
}

fn walk(schema: &Object, embedded: bool, inside: bool, path: &Path, errors: &mut Vec<Error>) {
    let embedded = embedded || flag(schema, "x-kubernetes-embedded-resource");
    let inside = inside && !embedded;
    if let Some(default) = keyword(schema, "default") {
        errors.extend(check(default, schema, inside, &path.child("default")));
    }
    if let Some(items) = object(schema, "items") {
        walk(items, false, inside, &path.child("items"), errors);
    }
    for (name, property) in object(schema, "properties").into_iter().flatten() {
        let Value::Object(property) = property else {
            continue;
        };
        let of_object = matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
        let inside = inside || (embedded && of_object);
        walk(
            property,
            false,
            inside,
            &path.child("properties").key(name),
            errors,
        );
    }
}

fn check(default: &Value, schema: &Object, inside: bool, path: &Path) -> Vec<Error> {
    let parsed = Schema::from_openapi(&Value::Object(schema.clone()));
    let mut errors = Vec::new();
    if !inside {
        let mut pruned = default.clone();
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let dropped = if embedded {
            prune::prune(&mut pruned, &parsed)
        } else {
            prune::prune_value(&mut pruned, &parsed)
        };
        if !dropped.is_empty() {
            errors.push(Error::invalid(
                path,
                default.clone(),
                "must not have unknown fields",
            ));
        }
    }
    let invalid = validate::validate(default, None, &parsed, path);
    let sound = invalid.is_empty();
    errors.extend(invalid);
    if sound && let Some(rules) = cel::Rules::compile(&parsed, false) {
        errors.extend(rules.validate_at(default, Some(default), path));
    }
    errors
}
