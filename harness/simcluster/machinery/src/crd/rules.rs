//! `x-kubernetes-validations` of a definition: their form, and whether they compile.

use serde_json::{Value, json};

use super::{Object, list};
use crate::cel;
use crate::field::{Error, Path};
use crate::schema::{AdditionalProperties, ListType, Schema, SchemaRef, ValidationRule};

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// What is wrong with the rules of one schema before they are compiled.
pub(super) fn validate_form(schema: &Object, path: &Path, errors: &mut Vec<Error>) {
    let rules = list(schema, "x-kubernetes-validations");
    let parsed = || Schema::from_openapi(&Value::Object(schema.clone()));
    for (index, rule) in rules.iter().enumerate() {
        let path = path.child("x-kubernetes-validations").index(index);
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        let (message, trimmed) = (text("message"), text("message").trim());
        let source = text("rule").trim();
        if source.is_empty() {
            errors.push(Error::required(
                &path.child("rule"),
                "rule is not specified",
            ));
        } else if !message.is_empty() && trimmed.is_empty() {
            let why = "must be non-empty if specified";
            errors.push(Error::invalid(&path.child("message"), message, why));
        } else if has_newlines(trimmed) {
            let why = "must not contain line breaks";
            errors.push(Error::invalid(&path.child("message"), message, why));
        } else if has_newlines(source) && trimmed.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(Error::required(&path.child("message"), why));
        }
        let expression = text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            errors.push(Error::required(&path.child("messageExpression"), why));
        }
        if let Some(Value::String(reason)) = rule.get("reason")
            && !REASONS.contains(&reason.as_str())
        {
            let path = path.child("reason");
            errors.push(Error::not_supported(&path, reason.as_str(), &REASONS));
        }
        let field_path = text("fieldPath");
        let place = path.child("fieldPath");
        if !field_path.is_empty() {
            if field_path.trim().is_empty() {
                let why = "must be non-empty if specified";
                errors.push(Error::invalid(&place, field_path, why));
            }
            if has_newlines(field_path) {
                let why = "must not contain line breaks";
                errors.push(Error::invalid(&place, field_path, why));
            }
            if cel::field_path(field_path, &parsed(), true).is_err() {
                errors.push(Error::invalid(&place, field_path, "must be a valid path"));
            }
        }
    }
}

/// What is wrong with the rules of a sound schema: those that do not compile, and those that look
/// at an old value which cannot be told.
pub(super) fn validate(schema: &SchemaRef, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    walk(schema, true, None, path, &mut errors);
    errors
}

fn walk(
    schema: &SchemaRef,
    root: bool,
    uncorrelatable: Option<&Path>,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    for (name, property) in schema.properties.iter() {
        let of_object = matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
        if !(root && of_object) {
            let path = path.child("properties").key(name);
            walk(property, false, uncorrelatable, &path, errors);
        }
    }
    if let AdditionalProperties::Schema(values) = &schema.additional_properties {
        let path = path.child("additionalProperties");
        walk(values, false, uncorrelatable, &path, errors);
    }
    if let Some(items) = &schema.items {
        let correlatable = schema.list_type == Some(ListType::Map);
        let own = (!correlatable).then_some(path);
        walk(
            items,
            false,
            uncorrelatable.or(own),
            &path.child("items"),
            errors,
        );
    }
    for (index, rule) in schema.validations.iter().enumerate() {
        let path = path.child("x-kubernetes-validations").index(index);
        match cel::check(rule, schema, root) {
            Err(cel::CheckError::Rule(why)) => {
                let path = path.child("rule");
                errors.push(Error::invalid_shown(&path, shown(rule), why));
            }
            Err(cel::CheckError::Message(why)) => {
                let path = path.child("messageExpression");
                errors.push(Error::invalid_shown(&path, shown(rule), why));
            }
            Ok(checked) if checked.uses_old_self => {
                if let Some(place) = uncorrelatable {
                    let why = format!(
                        "oldSelf cannot be used on the uncorrelatable portion of the schema within \
                         {place}"
                    );
                    errors.push(Error::invalid(&path.child("rule"), rule.rule.as_str(), why));
                }
            }
            Ok(_) => {
                if let Some(optional) = rule.optional_old_self {
                    let why = "may not be set if oldSelf is not used in rule";
                    errors.push(Error::invalid(
                        &path.child("optionalOldSelf"),
                        optional,
                        why,
                    ));
                }
            }
        }
    }
}

/// A rule as the real server shows it: in the order of its declaration.
fn shown(rule: &ValidationRule) -> String {
    let text = |value: &str| json!(value).to_string();
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\
         \"OptionalOldSelf\":{}}}",
        text(&rule.rule),
        text(&rule.message),
        text(&rule.message_expression),
        json!(rule.reason),
        text(&rule.field_path),
        json!(rule.optional_old_self),
    )
}
