//! Strategic merge patches: merge patches that know which lists are merged, and by what.
//!
//! Directives: `$patch: delete | replace | merge`, `$retainKeys`, `$setElementOrder/x`,
//! `$deleteFromPrimitiveList/x`. Custom resources have no such patches; the caller refuses them.

use serde_json::{Map, Value};

use super::{PatchError, read_object};
use crate::decode::Problem;
use crate::go;
use crate::schema::{Schema, SchemaRef};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const ELEMENT_ORDER: &str = "$setElementOrder";

type Result<T, E = PatchError> = std::result::Result<T, E>;
type Object = Map<String, Value>;

/// Reads the body of a strategic merge patch.
pub fn parse(body: &[u8]) -> Result<(Value, Vec<Problem>)> {
    read_object(body, "")
}

/// Applies a patch to an object of a built-in kind.
pub fn apply(target: Value, patch: &Value, schema: &SchemaRef) -> Result<Value> {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(PatchError::Malformed("invalid JSON document".to_owned()));
    };
    merge_object(target, patch.clone(), Some(schema)).map(Value::Object)
}

fn unexpected(message: String) -> PatchError {
    PatchError::Unexpected(message)
}

fn malformed_order() -> PatchError {
    PatchError::Malformed("invalid patch format of setElementOrder list".to_owned())
}

fn no_merge_key(entry: &Object, key: &str) -> PatchError {
    let entry = go::verb_v(&Value::Object(entry.clone()));
    unexpected(format!(
        "map: {entry} does not contain declared merge key: {key}"
    ))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn wrong_type(expected: &str, found: &Value) -> PatchError {
    unexpected(format!(
        "expected a {expected}, but received a {}",
        go_type(found)
    ))
}

/// What the schema says about a field: the schema of the field itself.
fn lookup<'a>(schema: Option<&'a Schema>, name: &str) -> Result<Option<&'a SchemaRef>> {
    let Some(schema) = schema else {
        return Ok(None);
    };
    if schema.is_free_form() {
        return Ok(None);
    }
    match schema.field(name) {
        Some(field) => Ok(Some(field)),
        None => Err(unexpected(format!(
            "unable to find api field in struct {} for the json field {name:?}",
            schema.type_name().unwrap_or_default()
        ))),
    }
}

fn merge_object(mut target: Object, mut patch: Object, schema: Option<&Schema>) -> Result<Object> {
    if let Some(directive) = patch.get(PATCH) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(PATCH);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => {
                let directive = go::verb_v(directive);
                let patch = go::verb_v(&Value::Object(patch));
                Err(unexpected(format!(
                    "unknown patch type: {directive} in map: {patch}"
                )))
            }
        };
    }
    retain_keys(&mut target, &mut patch)?;
    order_lists(&mut target, &mut patch, schema)?;
    // Entries to delete go first, so that a patch which also adds them wins.
    let (deletions, rest): (Vec<_>, Vec<_>) = patch
        .into_iter()
        .partition(|(name, _)| name.starts_with(DELETE_FROM_LIST));
    for (name, entries) in deletions {
        let name = directive_target(&name, DELETE_FROM_LIST).ok_or_else(|| {
            PatchError::Malformed("invalid patch format of primitive list".to_owned())
        })?;
        if let (Some(Value::Array(list)), Value::Array(entries)) = (target.get_mut(name), &entries)
        {
            list.retain(|entry| !entries.contains(entry));
        }
    }
    for (name, value) in rest {
        merge_field(&mut target, name, value, schema)?;
    }
    Ok(target)
}

fn merge_field(
    target: &mut Object,
    name: String,
    value: Value,
    schema: Option<&Schema>,
) -> Result<()> {
    if value.is_null() {
        target.remove(&name);
        return Ok(());
    }
    let merged = match (target.remove(&name), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let field = lookup(schema, &name)?;
            if field.is_some_and(|field| field.patch_strategy.replace) {
                Value::Object(new)
            } else {
                Value::Object(merge_object(old, new, field.map(|field| &**field))?)
            }
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let field = lookup(schema, &name)?;
            if field.is_some_and(|field| field.patch_strategy.merge) {
                Value::Array(merge_list(old, new, field)?)
            } else {
                Value::Array(new)
            }
        }
        // A value that is new, or of another type: as it is, without what was meant for merging.
        (_, mut new) => {
            discard_nulls(&mut new);
            match without_directives(new) {
                Some(new) => new,
                None => return Ok(()),
            }
        }
    };
    target.insert(name, merged);
    Ok(())
}

fn directive_target<'a>(name: &'a str, directive: &str) -> Option<&'a str> {
    name.strip_prefix(directive)?.strip_prefix('/')
}

fn retain_keys(target: &mut Object, patch: &mut Object) -> Result<()> {
    let malformed = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = keys.as_array().ok_or_else(malformed)?;
    let retained = |name: &str| keys.iter().any(|key| key == name);
    for (name, value) in patch.iter() {
        let directive = name.starts_with(DELETE_FROM_LIST) || name.starts_with(ELEMENT_ORDER);
        if !value.is_null() && !directive && !retained(name) {
            return Err(malformed());
        }
    }
    target.retain(|name, _| retained(name));
    Ok(())
}

/// Merges the lists whose order the patch also says, and puts them into that order.
fn order_lists(target: &mut Object, patch: &mut Object, schema: Option<&Schema>) -> Result<()> {
    let names: Vec<String> = patch
        .keys()
        .filter(|name| name.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in names {
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            other => return Err(wrong_type("[]interface {}", &other.unwrap_or_default())),
        };
        let name = directive_target(&directive, ELEMENT_ORDER).ok_or_else(malformed_order)?;
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong_type("[]interface {}", &other)),
        };
        let old = list(target.get(name).cloned())?;
        let new = list(patch.remove(name))?;
        let field = lookup(schema, name)?;
        let key = merge_key(field);
        check_order(new.as_deref().unwrap_or_default(), &order, key)?;
        let merged = match (&old, new) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => match without_directives(Value::Array(new)) {
                Some(Value::Array(new)) => new,
                _ => continue,
            },
            (Some(old), Some(new)) if field.is_some_and(|field| field.patch_strategy.merge) => {
                merge_list(old.clone(), new, field)?
            }
            (Some(_), Some(new)) => new,
        };
        let ordered = in_order(merged, &order, &old.unwrap_or_default(), key)?;
        target.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

/// The entries of the patch must come in the order that the patch says.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<()> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for entry in patch.iter().filter(|entry| entry.get(PATCH).is_none()) {
        let identity = identity(entry, key)?.clone();
        let mut found = false;
        for candidate in rest.by_ref() {
            if *self::identity(candidate, key)? == identity {
                found = true;
                break;
            }
        }
        if !found {
            let (patch, order) = (Value::from(patch), Value::from(order));
            return Err(unexpected(format!(
                "The order in patch list:\n{}\n doesn't match {ELEMENT_ORDER} list:\n{}\n",
                go::verb_v(&patch),
                go::verb_v(&order)
            )));
        }
    }
    Ok(())
}

fn merge_key(field: Option<&SchemaRef>) -> &str {
    field
        .and_then(|field| field.patch_merge_key.as_deref())
        .unwrap_or_default()
}

/// What tells an entry from the others: itself, or the value of its merge key.
fn identity<'a>(entry: &'a Value, key: &str) -> Result<&'a Value> {
    if key.is_empty() {
        return Ok(entry);
    }
    match entry {
        Value::Object(fields) => fields.get(key).ok_or_else(|| no_merge_key(fields, key)),
        other => Err(wrong_type("map[string]interface {}", other)),
    }
}

fn merge_list(old: Vec<Value>, new: Vec<Value>, field: Option<&SchemaRef>) -> Result<Vec<Value>> {
    let Some(first) = old.first().or(new.first()) else {
        return Ok(old);
    };
    let kind = std::mem::discriminant(first);
    if let Some(other) = old
        .iter()
        .chain(&new)
        .find(|entry| std::mem::discriminant(*entry) != kind)
    {
        return Err(unexpected(format!(
            "list element types are not identical: {} and {}",
            go_type(first),
            go_type(other)
        )));
    }
    if first.is_array() {
        return Err(PatchError::DoesNotFit(
            "lists of lists are not supported".to_owned(),
        ));
    }
    if !first.is_object() {
        let mut merged: Vec<Value> = Vec::new();
        for entry in old.iter().chain(&new) {
            if !merged.contains(entry) {
                merged.push(entry.clone());
            }
        }
        return in_order(merged, &new, &old, "");
    }
    let key = merge_key(field);
    if key.is_empty() {
        return Err(unexpected(
            "cannot merge lists without merge key for struct".to_owned(),
        ));
    }
    let (mut merged, new) = apply_entry_directives(old, new, key)?;
    let before = merged.clone();
    let items = field.and_then(|field| field.items.as_ref());
    for entry in &new {
        let wanted = identity(entry, key)?;
        let found = merged.iter().position(|old| old.get(key) == Some(wanted));
        match (found, entry) {
            (Some(index), Value::Object(entry)) => {
                let Value::Object(old) = std::mem::take(&mut merged[index]) else {
                    continue;
                };
                let entry = merge_object(old, entry.clone(), items.map(|items| &**items))?;
                merged[index] = Value::Object(entry);
            }
            _ => merged.push(entry.clone()),
        }
    }
    in_order(merged, &new, &before, key)
}

/// Entries that say `$patch` act on the list before the others are merged.
fn apply_entry_directives(
    mut old: Vec<Value>,
    new: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut plain = Vec::new();
    let mut replace = false;
    for entry in new {
        let Some(directive) = entry.get(PATCH) else {
            plain.push(entry);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let gone = identity(&entry, key)?;
                old.retain(|entry| entry.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                let why = "merging lists cannot yet be specified in the patch";
                return Err(unexpected(why.to_owned()));
            }
            _ => {
                let (directive, entry) = (go::verb_v(directive), go::verb_v(&entry));
                return Err(unexpected(format!(
                    "unknown patch type: {directive} in map: {entry}"
                )));
            }
        }
    }
    Ok(if replace {
        (plain, Vec::new())
    } else {
        (old, plain)
    })
}

/// Entries that `wanted` names come in its order, the others in the order they had; where the two
/// meet, an entry keeps its place before one that stood behind it in `before`.
fn in_order(
    merged: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    key: &str,
) -> Result<Vec<Value>> {
    let place = |list: &[Value], entry: &Value| -> Result<Option<usize>> {
        let entry = identity(entry, key)?;
        for (index, candidate) in list.iter().enumerate() {
            if identity(candidate, key)? == entry {
                return Ok(Some(index));
            }
        }
        Ok(None)
    };
    let mut named = Vec::new();
    let mut others = Vec::new();
    for entry in merged {
        let (now, then) = (place(wanted, &entry)?, place(before, &entry)?);
        match now {
            Some(now) => named.push((now, then, entry)),
            None => others.push((then, entry)),
        }
    }
    named.sort_by_key(|(now, ..)| *now);
    others.sort_by_key(|(then, _)| then.unwrap_or(usize::MAX));
    let mut named = named
        .into_iter()
        .map(|(_, then, entry)| (then, entry))
        .peekable();
    let mut others = others.into_iter().peekable();
    let mut ordered = Vec::new();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (Some((Some(left), _)), Some((Some(right), _))) => left < right,
            (Some(_), None) => true,
            (None, None) => return Ok(ordered),
            _ => false,
        };
        let next = if other_first {
            others.next()
        } else {
            named.next()
        };
        ordered.extend(next.map(|(_, entry)| entry));
    }
}

fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(discard_nulls);
        }
        Value::Array(entries) => entries.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// The value without what says how to merge; nothing when it says so itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(PATCH) => None,
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let kept = fields.filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(entries) => Some(Value::Array(
            entries.into_iter().filter_map(without_directives).collect(),
        )),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
