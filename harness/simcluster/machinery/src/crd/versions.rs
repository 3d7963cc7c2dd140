//! The versions of a definition: names, schemas, columns, subresources, selectable fields.
//!
//! What all versions say alike is told as if the definition said it once, at `spec.validation` and
//! its like, because that is where the real API server keeps it.

use serde_json::{Value, json};

use super::{openapi, text};
use crate::field::{Error, Path};
use crate::schema::{Schema, SchemaRef, Type};
use crate::{cel, name};

const MAX_SELECTABLE_FIELDS: usize = 8;

fn versions(crd: &Value) -> Vec<&Value> {
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    versions.into_iter().flatten().collect()
}

/// What all versions say alike under this name.
fn shared<'a>(versions: &[&'a Value], field: &str) -> Option<&'a Value> {
    let said = |version: &'a Value| version.get(field).filter(|value| !is_empty(value));
    let first = said(versions.first()?)?;
    versions
        .iter()
        .all(|version| said(version) == Some(first))
        .then_some(first)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Where errors in the schema of this version are told.
pub fn schema_place(crd: &Value, index: usize) -> Path {
    let spec = Path::new("spec");
    if shared(&versions(crd), "schema").is_some() {
        spec.child("validation").child("openAPIV3Schema")
    } else {
        spec.child("versions")
            .index(index)
            .child("schema")
            .child("openAPIV3Schema")
    }
}

fn has_status(subresources: Option<&Value>) -> bool {
    subresources
        .and_then(|one| one.get("status"))
        .is_some_and(|status| !status.is_null())
}

pub(super) fn validate(crd: &Value, path: &Path) -> Vec<Error> {
    let versions = versions(crd);
    let all = path.child("versions");
    let mut errors = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let schema = version
            .pointer("/schema/openAPIV3Schema")
            .filter(|one| !one.is_null());
        if schema.is_none() {
            let path = all.index(index).child("schema").child("openAPIV3Schema");
            errors.push(Error::required(&path, ""));
        }
    }
    let preserve = crd.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true));
    if preserve {
        let path = path.child("preserveUnknownFields");
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        errors.push(Error::invalid(&path, true, why));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = all.index(index);
        let name = text(version, "/name");
        let complaints = name::dns1035_label(name);
        if !complaints.is_empty() {
            errors.push(Error::invalid(
                &path.child("name"),
                name,
                complaints.join(","),
            ));
        }
        errors.extend(deprecation_warning(version, &path));
        let own = |field: &str| {
            let value = version.get(field).filter(|value| !is_empty(value));
            value.filter(|_| shared(&versions, field).is_none())
        };
        let schema = version.pointer("/schema/openAPIV3Schema");
        if own("schema").is_some() {
            let status = has_status(version.get("subresources"));
            errors.extend(schema_errors(schema, status, &path.child("schema")));
        }
        errors.extend(subresources(
            own("subresources"),
            &path.child("subresources"),
        ));
        errors.extend(columns(
            own("additionalPrinterColumns"),
            &path.child("additionalPrinterColumns"),
        ));
        errors.extend(selectable(
            own("selectableFields"),
            schema,
            &path.child("selectableFields"),
        ));
    }
    let names: Vec<&str> = versions
        .iter()
        .map(|version| text(version, "/name"))
        .collect();
    let twice = |(index, name): (usize, &&str)| names[..index].contains(name);
    if names.iter().enumerate().any(twice) {
        let why = "must contain unique version names";
        errors.push(Error::invalid_shown(&all, shown(&versions), why));
    }
    let storage = |version: &&&Value| version.get("storage") == Some(&Value::Bool(true));
    if versions.iter().filter(storage).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(Error::invalid_shown(&all, shown(&versions), why));
    }
    if let Some(schema) = shared(&versions, "schema") {
        let status = versions
            .iter()
            .any(|version| has_status(version.get("subresources")));
        let schema = schema.get("openAPIV3Schema");
        errors.extend(schema_errors(schema, status, &path.child("validation")));
    }
    let place = path.child("subresources");
    errors.extend(subresources(shared(&versions, "subresources"), &place));
    let place = path.child("additionalPrinterColumns");
    errors.extend(columns(
        shared(&versions, "additionalPrinterColumns"),
        &place,
    ));
    let schema = versions
        .first()
        .and_then(|version| version.pointer("/schema/openAPIV3Schema"));
    let place = path.child("selectableFields");
    errors.extend(selectable(
        shared(&versions, "selectableFields"),
        schema,
        &place,
    ));
    errors
}

fn schema_errors(schema: Option<&Value>, status: bool, path: &Path) -> Vec<Error> {
    match schema.and_then(Value::as_object) {
        Some(schema) => openapi::validate(schema, status, path),
        None => Vec::new(),
    }
}

/// The versions as the real server shows them, in the form that it keeps them in.
fn shown(all: &[&Value]) -> String {
    let own = |version: &Value, field: &str| match shared(all, field) {
        Some(_) => Value::Null,
        None => version.get(field).cloned().unwrap_or_default(),
    };
    let version = |version: &&Value| {
        let flag = |field: &str| version.get(field).and_then(Value::as_bool).unwrap_or(false);
        let fields = [
            ("Name", json!(text(version, "/name"))),
            ("Served", json!(flag("served"))),
            ("Storage", json!(flag("storage"))),
            ("Deprecated", json!(flag("deprecated"))),
            (
                "DeprecationWarning",
                version
                    .get("deprecationWarning")
                    .cloned()
                    .unwrap_or_default(),
            ),
            ("Schema", own(version, "schema")),
            ("Subresources", own(version, "subresources")),
            (
                "AdditionalPrinterColumns",
                own(version, "additionalPrinterColumns"),
            ),
            ("SelectableFields", own(version, "selectableFields")),
        ];
        Ordered(fields.to_vec())
    };
    let texts: Vec<String> = all.iter().map(|one| version(one).to_string()).collect();
    format!("[{}]", texts.join(","))
}

/// Fields in the order of their declaration, which JSON objects here do not keep.
struct Ordered(Vec<(&'static str, Value)>);

impl std::fmt::Display for Ordered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        write!(f, "{{{}}}", fields.join(","))
    }
}

fn deprecation_warning(version: &Value, path: &Path) -> Vec<Error> {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else {
        return Vec::new();
    };
    let deprecated = version.get("deprecated") == Some(&Value::Bool(true));
    let path = path.child("deprecationWarning");
    if !deprecated {
        let why = "can only be set for deprecated versions";
        return vec![Error::invalid(&path, warning, why)];
    }
    let mut complaints = Vec::new();
    if warning.len() > 256 {
        complaints.push("must be <= 256 characters long".to_owned());
    }
    if warning.is_empty() {
        complaints.push("must not be an empty string".to_owned());
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, char)| char.is_control()) {
        complaints.push(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index \
             {index}"
        ));
    }
    complaints
        .into_iter()
        .map(|why| Error::invalid(&path, warning, why))
        .collect()
}

/// A path of plain fields, as columns and scale have it.
fn simple_path(value: &str, path: &Path) -> Option<Error> {
    if value.is_empty() {
        Some(Error::invalid(path, value, "must not be empty"))
    } else if !value.starts_with('.') {
        Some(Error::invalid(
            path,
            value,
            "must be a simple json path starting with .",
        ))
    } else {
        None
    }
}

fn subresources(subresources: Option<&Value>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let scale = subresources
        .and_then(|one| one.get("scale"))
        .filter(|scale| !scale.is_null());
    let Some(scale) = scale else {
        return errors;
    };
    for (field, prefix) in [
        ("specReplicasPath", ".spec"),
        ("statusReplicasPath", ".status"),
    ] {
        let path = path.child(&format!("scale.{field}"));
        let value = text(scale, &format!("/{field}"));
        if value.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if let Some(error) = simple_path(value, &path) {
            errors.push(error);
        } else if !value.starts_with(&format!("{prefix}.")) {
            let why = format!("should be a json path under {prefix}");
            errors.push(Error::invalid(&path, value, why));
        }
    }
    let value = text(scale, "/labelSelectorPath");
    if !value.is_empty() {
        let path = path.child("scale.labelSelectorPath");
        if let Some(error) = simple_path(value, &path) {
            errors.push(error);
        } else if !value.starts_with(".spec.") && !value.starts_with(".status.") {
            let why = "should be a json path under either .spec or .status";
            errors.push(Error::invalid(&path, value, why));
        }
    }
    errors
}

fn columns(columns: Option<&Value>, path: &Path) -> Vec<Error> {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 9] = [
        "byte",
        "date",
        "date-time",
        "double",
        "float",
        "int32",
        "int64",
        "name",
        "password",
    ];
    let mut errors = Vec::new();
    let columns = columns.and_then(Value::as_array);
    for (index, column) in columns.into_iter().flatten().enumerate() {
        let path = path.index(index);
        if text(column, "/name").is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        let types = format!("must be one of {}", TYPES.join(","));
        match text(column, "/type") {
            "" => errors.push(Error::required(&path.child("type"), types)),
            known if TYPES.contains(&known) => {}
            other => errors.push(Error::invalid(&path.child("type"), other, types)),
        }
        let format = text(column, "/format");
        if !format.is_empty() && !FORMATS.contains(&format) {
            let why = format!("must be one of {}", FORMATS.join(","));
            errors.push(Error::invalid(&path.child("format"), format, why));
        }
        let place = path.child("JSONPath");
        match text(column, "/jsonPath") {
            "" => errors.push(Error::required(&place, "")),
            value => errors.extend(simple_path(value, &place)),
        }
    }
    errors
}

fn selectable(fields: Option<&Value>, schema: Option<&Value>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let schema: Option<SchemaRef> = schema.map(Schema::from_openapi);
    for (index, field) in fields
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let path = path.index(index).child("jsonPath");
        let value = text(field, "/jsonPath");
        if value.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        let Some(schema) = &schema else {
            continue;
        };
        let (place, found) = match cel::field_path(value, schema, false) {
            Ok(found) => found,
            Err(why) => {
                let why = format!("is an invalid path: {why}");
                errors.push(Error::invalid(&path, value, why));
                continue;
            }
        };
        let place = place.to_string();
        if place.split('.').next() == Some("metadata") {
            errors.push(Error::invalid(
                &path,
                value,
                "must not point to fields in metadata",
            ));
        }
        if !matches!(
            found.kind,
            Some(Type::String | Type::Boolean | Type::Integer)
        ) {
            let why = "must point to a field of type string, boolean or integer. Enum string \
                       fields and strings with formats are allowed.";
            errors.push(Error::invalid(&path, value, why));
        }
        if seen.contains(&place) {
            errors.push(Error::duplicate(&path, value));
        } else {
            seen.push(place);
        }
    }
    if seen.len() > MAX_SELECTABLE_FIELDS {
        errors.push(Error::too_many(path, seen.len(), MAX_SELECTABLE_FIELDS));
    }
    errors
}
