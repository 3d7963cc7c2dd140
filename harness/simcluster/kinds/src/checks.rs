//! Checks that several kinds share: numbers in a range, one of several words, names of things that
//! are referred to, selectors.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::{complain, in_order, validate_labels};
use crate::read::Read;

/// What is said of a number below zero.
pub(crate) const NEGATIVE: &str = "must be greater than or equal to 0";
/// What is said of a number that must be at least one.
pub(crate) const NOT_POSITIVE: &str = "must be greater than 0";
/// What is said of a field that may not change.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// The integer fields `fields` of `value` are not negative.
pub(crate) fn non_negative(value: &Value, fields: &[&str], path: &Path, errors: &mut Vec<Error>) {
    for field in fields {
        if let Some(number) = value.integer(field).filter(|number| *number < 0) {
            errors.push(Error::invalid(&path.child(field), number, NEGATIVE));
        }
    }
}

/// The text field `field` of `value` is one of `supported`; absent is fine.
pub(crate) fn one_of(
    value: &Value,
    field: &str,
    supported: &[&str],
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let text = value.text(field);
    if !text.is_empty() && !supported.contains(&text) {
        errors.push(Error::not_supported(&path.child(field), text, supported));
    }
}

/// The text field `field` is there and is one of `supported`.
pub(crate) fn required_one_of(
    value: &Value,
    field: &str,
    supported: &[&str],
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if value.text(field).is_empty() {
        errors.push(Error::required(&path.child(field), ""));
    } else {
        one_of(value, field, supported, path, errors);
    }
}

/// The field `field` is there and not empty.
pub(crate) fn required(value: &Value, field: &str, path: &Path, errors: &mut Vec<Error>) {
    if value.lacks(field) {
        errors.push(Error::required(&path.child(field), ""));
    }
}

/// The fields `fields` are as they were.
pub(crate) fn immutable(
    new: &Value,
    old: &Value,
    fields: &[&str],
    path: &Path,
    errors: &mut Vec<Error>,
) {
    for field in fields {
        if new.at(field) != old.at(field) {
            let value = new.at(field).cloned().unwrap_or(Value::Null);
            errors.push(Error::invalid(&path.child(field), value, IMMUTABLE));
        }
    }
}

/// A port by number or by name.
pub(crate) fn port_number_or_name(
    value: &Value,
    field: &str,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let place = path.child(field);
    match value.at(field) {
        Some(Value::String(port)) => complain(errors, &place, port, name::port_name(port)),
        other => port_number(other.and_then(Value::as_i64).unwrap_or(0), &place, errors),
    }
}

/// A port by number.
pub(crate) fn port_number(number: i64, path: &Path, errors: &mut Vec<Error>) {
    let complaints = name::port_number(number);
    errors.extend(
        complaints
            .into_iter()
            .map(|detail| Error::invalid(path, number, detail)),
    );
}

/// A label selector's expressions and labels.
pub(crate) fn label_selector(selector: Option<&Value>, path: &Path, errors: &mut Vec<Error>) {
    let Some(selector) = selector else { return };
    validate_labels(selector, "matchLabels", &path.child("matchLabels"), errors);
    for (index, expression) in selector.list("matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let operator = expression.text("operator");
        let values = expression.list("values");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.push(Error::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(Error::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(Error::invalid(
                &path.child("operator"),
                operator,
                "not a valid selector operator",
            )),
        }
        let key = expression.text("key");
        complain(errors, &path.child("key"), key, name::qualified_name(key));
        for (index, value) in expression.texts("values").iter().enumerate() {
            let place = path.child("values").index(index);
            complain(errors, &place, value, name::label_value(value));
        }
    }
}

/// Conditions as most kinds have them (`metav1.Condition`), a list at `path`.
pub(crate) fn conditions(value: &Value, path: &Path, errors: &mut Vec<Error>) {
    const LONGEST_REASON: usize = 1024;
    const LONGEST_MESSAGE: usize = 32 * 1024;
    let mut types: Vec<&str> = Vec::new();
    for (index, condition) in value.list("conditions").iter().enumerate() {
        let path = path.index(index);
        let kind = condition.text("type");
        if types.contains(&kind) {
            errors.push(Error::duplicate(&path.child("type"), kind));
        } else {
            types.push(kind);
        }
        complain(
            errors,
            &path.child("type"),
            kind,
            name::qualified_name(kind),
        );
        let (status, known) = (condition.text("status"), ["False", "True", "Unknown"]);
        if !known.contains(&status) {
            errors.push(Error::not_supported(&path.child("status"), status, &known));
        }
        let generation = condition.integer("observedGeneration");
        if let Some(number) = generation.filter(|number| *number < 0) {
            let detail = "must be greater than or equal to zero";
            let place = path.child("observedGeneration");
            errors.push(Error::invalid(&place, number, detail));
        }
        required(condition, "lastTransitionTime", &path, errors);
        let reason = condition.text("reason");
        let place = path.child("reason");
        if reason.is_empty() {
            errors.push(Error::required(&place, ""));
        } else if !is_reason(reason) {
            let detail = name::mismatch(
                "a condition reason must start with alphabetic character, optionally followed by \
                 a string of alphanumeric characters or '_,:', and must end with an alphanumeric \
                 character or '_'",
                "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
                &[
                    "my_name",
                    "MY_NAME",
                    "MyName",
                    "ReasonA,ReasonB",
                    "ReasonA:ReasonB",
                ],
            );
            errors.push(Error::invalid(&place, reason, detail));
        }
        if reason.len() > LONGEST_REASON {
            errors.push(Error::too_long(&place, LONGEST_REASON));
        }
        if condition.text("message").len() > LONGEST_MESSAGE {
            errors.push(Error::too_long(&path.child("message"), LONGEST_MESSAGE));
        }
    }
}

fn is_reason(reason: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = reason.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(|last| word(*last))
        && bytes
            .iter()
            .all(|byte| word(*byte) || matches!(byte, b',' | b':'))
}

/// A label selector as JSON with its fields in Go's order.
pub(crate) fn selector_json(selector: Option<&Value>) -> String {
    selector.map_or_else(
        || "null".to_owned(),
        |selector| in_order(selector, &["matchLabels", "matchExpressions"]),
    )
}

/// An integer that may be a percentage: `None` when it is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntOrPercent {
    /// A number.
    Int(i64),
    /// A percentage.
    Percent(i64),
}

/// Reads an `IntOrString` field.
pub(crate) fn int_or_percent(value: &Value, field: &str) -> Option<IntOrPercent> {
    match value.at(field)? {
        Value::Number(number) => number.as_i64().map(IntOrPercent::Int),
        Value::String(text) => {
            let digits = text.strip_suffix('%')?;
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain
                .then(|| digits.parse().ok())
                .flatten()
                .map(IntOrPercent::Percent)
        }
        _ => None,
    }
}

/// An `IntOrString` field is a non-negative number or a percentage.
pub(crate) fn non_negative_int_or_percent(
    value: &Value,
    field: &str,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let Some(given) = value.at(field) else { return };
    let place = path.child(field);
    match int_or_percent(value, field) {
        Some(IntOrPercent::Int(number)) if number < 0 => {
            errors.push(Error::invalid(&place, number, NEGATIVE));
        }
        Some(_) => {}
        None => errors.push(Error::invalid(
            &place,
            given.clone(),
            name::mismatch(
                "a valid percent string must be a numeric string followed by an ending '%'",
                "[0-9]+%",
                &["1%", "93%"],
            ),
        )),
    }
}

/// A percentage is not above one hundred.
pub(crate) fn not_more_than_all(value: &Value, field: &str, path: &Path, errors: &mut Vec<Error>) {
    if let Some(IntOrPercent::Percent(101..)) = int_or_percent(value, field) {
        let given = value[field].clone();
        errors.push(Error::invalid(
            &path.child(field),
            given,
            "must not be greater than 100%",
        ));
    }
}

/// The name of an object of another kind that a field refers to.
pub(crate) fn object_name(value: &Value, field: &str, path: &Path, errors: &mut Vec<Error>) {
    let text = value.text(field);
    complain(
        errors,
        &path.child(field),
        text,
        name::dns1123_subdomain(text),
    );
}

/// A selector's labels are all among `labels`.
pub(crate) fn selector_matches(selector: Option<&Value>, template: &Value) -> bool {
    use simcluster_machinery::selector::LabelSelector;
    match LabelSelector::from_object(selector) {
        Ok(selector) => selector.matches_object(template),
        Err(_) => true,
    }
}
