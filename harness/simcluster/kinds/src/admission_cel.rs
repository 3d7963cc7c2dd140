//! The variables of CEL expressions in webhooks and admission policies, and what is said of an
//! expression that may not be used. Evaluating them is the server's business.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Value, json};
use simcluster_machinery::cel::{Expression, Gives, Known};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::complain;
use crate::read::Read;

/// As many conditions as one webhook or policy may have.
const MAX_CONDITIONS: usize = 64;

static REQUEST: LazyLock<Value> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let object = |names: &[&str]| {
        let fields = names.iter().map(|name| ((*name).to_owned(), text.clone()));
        let properties: serde_json::Map<String, Value> = fields.collect();
        json!({"type": "object", "properties": properties})
    };
    let (kind, resource) = (
        object(&["group", "version", "kind"]),
        object(&["group", "version", "resource"]),
    );
    let texts = json!({"type": "array", "items": text});
    json!({"type": "object", "properties": {
        "kind": kind, "resource": resource, "subResource": text,
        "requestKind": kind, "requestResource": resource, "requestSubResource": text,
        "name": text, "namespace": text, "operation": text, "dryRun": {"type": "boolean"},
        "options": {"x-kubernetes-preserve-unknown-fields": true},
        "userInfo": {"type": "object", "properties": {
            "username": text, "uid": text, "groups": texts,
            "extra": {"type": "object", "additionalProperties": texts},
        }},
    }})
});

static NAMESPACE: LazyLock<Value> = LazyLock::new(|| {
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    let time = json!({"type": "string", "format": "date-time"});
    let (texts, map) = (
        json!({"type": "array", "items": text}),
        json!({"type": "object", "additionalProperties": text}),
    );
    json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": text, "generateName": text, "namespace": text, "labels": map,
            "annotations": map, "UID": text, "creationTimestamp": time, "deletionGracePeriodSeconds": number,
            "deletionTimestamp": time, "generation": number, "resourceVersion": text, "finalizers": texts,
        }},
        "spec": {"type": "object", "properties": {"finalizers": texts}},
        "status": {"type": "object", "properties": {
            "phase": text,
            "conditions": {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}},
        }},
    }})
});

/// What expressions may use besides `variables`.
pub fn known(has_params: bool) -> BTreeMap<String, Known> {
    let mut known = BTreeMap::from([
        ("object".to_owned(), Known::Anything),
        ("oldObject".to_owned(), Known::Anything),
        ("request".to_owned(), Known::Fields(REQUEST.clone())),
        (
            "namespaceObject".to_owned(),
            Known::Fields(NAMESPACE.clone()),
        ),
        ("authorizer".to_owned(), Known::Authorizer),
    ]);
    if has_params {
        known.insert("params".to_owned(), Known::Anything);
    }
    known
}

/// Compiles an expression, or says what is wrong with it.
pub(crate) fn check(
    text: &str,
    known: &BTreeMap<String, Known>,
    gives: Gives,
    path: &Path,
    errors: &mut Vec<Error>,
) -> Option<Expression> {
    match Expression::compile(text, known, gives) {
        Ok(expression) => Some(expression),
        Err(why) => {
            errors.push(Error::invalid(path, text, why));
            None
        }
    }
}

/// Checks `matchConditions`.
pub(crate) fn match_conditions(
    conditions: &[Value],
    has_params: bool,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if conditions.len() > MAX_CONDITIONS {
        errors.push(Error::too_many(path, conditions.len(), MAX_CONDITIONS));
    }
    let known = known(has_params);
    let mut names: Vec<&str> = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let (place, text) = (
            path.child("expression"),
            condition.text("expression").trim(),
        );
        if text.is_empty() {
            errors.push(Error::required(&place, ""));
        } else {
            check(text, &known, Gives::Condition, &place, errors);
        }
        let (place, own) = (path.child("name"), condition.text("name"));
        if own.is_empty() {
            errors.push(Error::required(&place, ""));
            continue;
        }
        complain(errors, &place, own, name::qualified_name(own));
        if names.contains(&own) {
            errors.push(Error::duplicate(&place, own));
        }
        names.push(own);
    }
}
