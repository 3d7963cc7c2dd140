//! Validation of custom resources by their schema, with the words of the real API server.
//!
//! An update is forgiven what was wrong before and has not changed. Rules in CEL are checked by
//! [`crate::cel`], and only where the schema has nothing to say against the object.

mod formats;
mod list_types;
mod number;

use serde_json::Value;

use crate::field::{Error, Path};
use crate::schema::{AdditionalProperties, Bounds, ListType, Schema, Type};

pub use formats::is_supported as is_supported_format;
pub use list_types::validate as validate_list_types;

/// All that is wrong with a value. `place` is where it stands, `old` the value before an update.
/// The texts speak of the value as if it were the whole object, as those of the real server do.
pub fn validate(value: &Value, old: Option<&Value>, schema: &Schema, place: &Path) -> Vec<Error> {
    let mut errors = check(value, old, schema, "").errors;
    for error in &mut errors {
        error.path = match error.path.as_str() {
            "" => place.clone(),
            below => place.child(below),
        };
    }
    errors
}

/// Whether the errors are of a kind after which rules in CEL are not even looked at.
pub fn blocks_rules(errors: &[Error]) -> bool {
    use crate::field::ErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    let blocking = [NotSupported, Required, TooLong, TooMany, TypeInvalid];
    errors.iter().any(|error| blocking.contains(&error.kind))
}

/// What says so.
pub fn rules_not_checked() -> Error {
    Error::invalid(
        &Path::root(),
        Value::Null,
        "some validation rules were not checked because the object was invalid; \
         correct the existing errors to complete validation",
    )
}

/// What was found, and how far the value got: of several alternatives that all fail, the one that
/// matched best is told.
#[derive(Default)]
struct Outcome {
    errors: Vec<Error>,
    matches: usize,
}

impl Outcome {
    fn failed(error: Error) -> Self {
        Self {
            errors: vec![error],
            matches: 0,
        }
    }

    fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.matches += other.matches;
    }

    fn step(&mut self, other: Self) {
        self.merge(other);
        self.matches += 1;
    }
}

fn at(path: &str) -> Path {
    Path::new(path.trim_start_matches('.'))
}

fn check(value: &Value, old: Option<&Value>, schema: &Schema, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if value.is_null() {
        outcome.merge(check_type(value, schema, path));
        outcome.merge(check_enum(value, schema, path));
    } else {
        if schema.kind.is_some() || schema.int_or_string || schema.format.is_some() {
            outcome.step(check_type(value, schema, path));
        }
        outcome.step(check_alternatives(value, schema, path));
        match value {
            Value::String(text) => {
                outcome.step(check_string(text, schema, path));
                if let Some(format) = schema
                    .format
                    .as_deref()
                    .filter(|one| is_supported_format(one))
                {
                    outcome.step(check_format(text, format, path));
                }
            }
            Value::Number(number) => outcome.step(number::check(number, schema, path)),
            Value::Array(items) => outcome.step(check_list(items, old, schema, path)),
            _ => {}
        }
        outcome.step(check_enum(value, schema, path));
        if let Value::Object(_) = value {
            outcome.step(check_object(value, old, schema, path));
        }
        outcome.matches += 1;
    }
    if !outcome.errors.is_empty() && old == Some(value) {
        outcome.errors.clear();
    }
    outcome
}

/// The word for a value's type, as errors show it.
fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(path: &str, expected: &str, found: &str) -> Outcome {
    let place = at(path);
    let why = format!("{path} in body must be of type {expected}: {found:?}");
    Outcome::failed(Error::type_invalid(&place, found, why))
}

fn check_type(value: &Value, schema: &Schema, path: &str) -> Outcome {
    let matched = Outcome {
        matches: 1,
        ..Outcome::default()
    };
    let expected = match (schema.int_or_string, schema.kind) {
        (true, _) => "integer,string",
        (false, Some(kind)) => kind.as_str(),
        (false, None) => "",
    };
    if value.is_null() {
        return if expected.is_empty() || schema.nullable {
            matched
        } else {
            wrong_type(path, expected, "null")
        };
    }
    let found = type_word(value);
    let numeric = schema.int_or_string || matches!(schema.kind, Some(Type::Integer | Type::Number));
    let contains = |word: &str| expected.split(',').any(|one| one == word);
    let whole = match value {
        Value::Number(number) => number.as_f64().is_some_and(|float| float.fract() == 0.0),
        _ => false,
    };
    let fits = contains(found)
        || (found == "number" && whole && contains("integer"))
        || (found == "integer" && contains("number"));
    let text_or_list = value.is_string() || value.is_array();
    if let Some(format) = schema.format.as_deref().filter(|format| !format.is_empty()) {
        if !text_or_list && !fits {
            // What is wrong with the format is told by the format of the value, which it has not.
            let found = match found {
                "integer" => "int64",
                "number" => "float64",
                _ => "",
            };
            return if format == found {
                matched
            } else {
                wrong_type(path, format, found)
            };
        }
        if text_or_list && !numeric {
            // A format speaks for the type.
            return matched;
        }
    }
    if fits || expected.is_empty() {
        matched
    } else {
        wrong_type(path, expected, found)
    }
}

fn check_enum(value: &Value, schema: &Schema, path: &str) -> Outcome {
    if schema.enumeration.is_empty() || schema.enumeration.contains(value) {
        return Outcome::default();
    }
    let shown = schema.enumeration.iter().map(|one| match one {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let shown: Vec<String> = shown.collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    Outcome::failed(Error::not_supported(&at(path), value.clone(), &shown))
}

fn bounds(schema: &Schema) -> Option<&Bounds> {
    schema.bounds.as_deref()
}

fn as_count(length: usize) -> u64 {
    length as u64
}

fn check_string(text: &str, schema: &Schema, path: &str) -> Outcome {
    let Some(bounds) = bounds(schema) else {
        return Outcome::default();
    };
    let length = as_count(text.chars().count());
    if let Some(limit) = bounds.max_length
        && length > limit
    {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        return Outcome::failed(Error::too_long(&at(path), limit));
    }
    if let Some(limit) = bounds.min_length
        && length < limit
    {
        let why = format!("{path} in body should be at least {limit} chars long");
        return Outcome::failed(Error::invalid(&at(path), text, why));
    }
    match &bounds.pattern {
        Some(pattern)
            if !pattern
                .regex
                .as_ref()
                .is_some_and(|regex| regex.is_match(text)) =>
        {
            let why = format!("{path} in body should match '{}'", pattern.source);
            Outcome::failed(Error::invalid(&at(path), text, why))
        }
        _ => Outcome::default(),
    }
}

fn check_format(text: &str, format: &str, path: &str) -> Outcome {
    if formats::holds(format, text) {
        return Outcome::default();
    }
    wrong_type(path, format, text)
}

fn check_list(items: &[Value], old: Option<&Value>, schema: &Schema, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(each) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            let old = old.and_then(|old| correlated(item, old, schema));
            outcome.merge(check(item, old, each, &format!("{path}[{index}]")));
        }
    }
    if let Some(bounds) = bounds(schema) {
        let length = as_count(items.len());
        if let Some(limit) = bounds.min_items
            && length < limit
        {
            let why = format!("{path} in body should have at least {limit} items");
            outcome.errors.push(Error::invalid(&at(path), length, why));
        }
        if let Some(limit) = bounds.max_items
            && length > limit
        {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            outcome
                .errors
                .push(Error::too_many(&at(path), items.len(), limit));
        }
        let twice = |(index, item): (usize, &Value)| items[..index].contains(item);
        if bounds.unique_items && items.iter().enumerate().any(twice) {
            let why = format!("{path} in body shouldn't contain duplicates");
            outcome.errors.push(Error::invalid(&at(path), "", why));
        }
    }
    outcome.matches += 1;
    outcome
}

/// The entry of the old list that is the same one: only lists with keys tell.
pub(crate) fn correlated<'a>(item: &Value, old: &'a Value, schema: &Schema) -> Option<&'a Value> {
    if schema.list_type != Some(ListType::Map) {
        return None;
    }
    let keys = &schema.list_map_keys;
    let same = |other: &&Value| keys.iter().all(|key| item.get(key) == other.get(key));
    old.as_array()?.iter().find(same)
}

fn check_object(value: &Value, old: Option<&Value>, schema: &Schema, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let Value::Object(fields) = value else {
        return outcome;
    };
    if let Some(bounds) = bounds(schema) {
        let count = as_count(fields.len());
        if let Some(limit) = bounds.min_properties
            && count < limit
        {
            let why = format!("{path} in body should have at least {limit} properties");
            outcome.errors.push(Error::invalid(&at(path), count, why));
        }
        if let Some(limit) = bounds.max_properties
            && count > limit
        {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            outcome
                .errors
                .push(Error::too_many(&at(path), fields.len(), limit));
        }
    }
    for (name, field) in fields {
        let below = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let old = old.and_then(|old| old.get(name));
        if let Some(property) = schema.properties.get(name) {
            outcome.merge(check(field, old, property, &below));
            continue;
        }
        match &schema.additional_properties {
            AdditionalProperties::Schema(values) => {
                // Even of the object itself, the path of such a field begins with a dot.
                outcome.merge(check(field, old, values, &format!("{path}.{name}")));
            }
            AdditionalProperties::Allowed(false) => {
                let why = format!("{path}.{name} in body is a forbidden property");
                outcome.errors.push(Error::invalid(&at(path), "", why));
            }
            _ => {}
        }
    }
    for name in schema
        .required
        .iter()
        .filter(|name| !fields.contains_key(*name))
    {
        outcome
            .errors
            .push(Error::required(&at(&format!("{path}.{name}")), ""));
    }
    outcome
}

/// Errors of alternatives name their place in the text only.
fn nowhere(why: String) -> Error {
    Error::invalid(&Path::root(), "", why)
}

fn check_alternatives(value: &Value, schema: &Schema, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if !schema.any_of.is_empty() {
        match one_of(value, &schema.any_of, path, true) {
            Ok((_, first)) => outcome.merge(first),
            Err(best) => {
                let why = format!("{path:?} must validate at least one schema (anyOf)");
                outcome.errors.push(nowhere(why));
                outcome.merge(best);
            }
        }
    }
    if !schema.one_of.is_empty() {
        let (found, rest) = match one_of(value, &schema.one_of, path, false) {
            Ok((1, first)) => ("", first),
            Ok((count, _)) => (
                &*format!("Found {count} valid alternatives"),
                Outcome::default(),
            ),
            Err(best) => ("Found none valid", best),
        };
        if !found.is_empty() {
            let why = format!("{path:?} must validate one and only one schema (oneOf). {found}");
            outcome.errors.push(nowhere(why));
        }
        outcome.merge(rest);
    }
    if !schema.all_of.is_empty() {
        let mut held = 0;
        for schema in &schema.all_of {
            let result = check(value, None, schema, path);
            held += usize::from(result.errors.is_empty());
            outcome.merge(result);
        }
        if held != schema.all_of.len() {
            let none = if held == 0 { ". None validated" } else { "" };
            let why = format!("{path:?} must validate all the schemas (allOf){none}");
            outcome.errors.push(nowhere(why));
        }
    }
    if let Some(not) = &schema.not
        && check(value, None, not, path).errors.is_empty()
    {
        outcome.errors.push(nowhere(format!(
            "{path:?} must not validate the schema (not)"
        )));
    }
    outcome.matches += 1;
    outcome
}

/// How many alternatives hold, with the first that does; or the one that fails least.
fn one_of(
    value: &Value,
    schemas: &[crate::schema::SchemaRef],
    path: &str,
    any: bool,
) -> Result<(usize, Outcome), Outcome> {
    let mut best: Option<Outcome> = None;
    let mut first = None;
    let mut held = 0;
    for schema in schemas {
        let result = check(value, None, schema, path);
        if result.errors.is_empty() {
            held += 1;
            first.get_or_insert(result);
            if any {
                break;
            }
        } else if best
            .as_ref()
            .is_none_or(|best| result.matches > best.matches)
        {
            best = Some(result);
        }
    }
    match first {
        Some(first) => Ok((held, first)),
        None => Err(best.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
