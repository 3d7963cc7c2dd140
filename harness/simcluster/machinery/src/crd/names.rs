//! The names of a custom resource.

use serde_json::Value;

use super::{strings, text};
use crate::field::{Error, Path};
use crate::name;

/// Names that must be given.
pub(super) fn validate_required(names: Option<&Value>, path: &Path) -> Vec<Error> {
    let given = |field: &str| {
        let value = names
            .and_then(|names| names.get(field))
            .and_then(Value::as_str);
        !value.unwrap_or_default().is_empty()
    };
    let fields = ["plural", "singular", "kind", "listKind"].into_iter();
    fields
        .filter(|field| !given(field))
        .map(|field| Error::required(&path.child(field), ""))
        .collect()
}

/// Names that are given must be such as names are.
pub(super) fn validate(names: Option<&Value>, path: &Path) -> Vec<Error> {
    let Some(names) = names else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    for field in ["plural", "singular"] {
        let value = text(names, &format!("/{field}"));
        let complaints = name::dns1035_label(value);
        if !value.is_empty() && !complaints.is_empty() {
            errors.push(Error::invalid(
                &path.child(field),
                value,
                complaints.join(","),
            ));
        }
    }
    for field in ["kind", "listKind"] {
        let value = text(names, &format!("/{field}"));
        let complaints = name::dns1035_label(&value.to_lowercase());
        if !value.is_empty() && !complaints.is_empty() {
            let complaints = complaints.join(",");
            let why = format!("may have mixed case, but should otherwise match: {complaints}");
            errors.push(Error::invalid(&path.child(field), value, why));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, value) in strings(names.get(field)).into_iter().enumerate() {
            let complaints = name::dns1035_label(value);
            if !complaints.is_empty() {
                let path = path.child(field).index(index);
                errors.push(Error::invalid(&path, value, complaints.join(",")));
            }
        }
    }
    let kind = text(names, "/kind");
    if !kind.is_empty() && kind == text(names, "/listKind") {
        let why = "kind and listKind may not be the same";
        errors.push(Error::invalid(&path.child("listKind"), kind, why));
    }
    errors
}
