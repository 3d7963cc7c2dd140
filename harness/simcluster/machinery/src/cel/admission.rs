//! Expressions of webhooks and admission policies: the variables that they have, and what is said of a
//! policy's expressions when the types of the objects are known.
//!
//! Which objects those are is the caller's business, and so is running the expressions.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Value, json};

use super::{Expression, Gives, Kind, Known};
use crate::{kind::GroupVersionKind, schema::SchemaRef};

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

/// What expressions of webhooks and policies may use besides `variables`.
pub fn variables(has_params: bool) -> BTreeMap<String, Known> {
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

/// What type checks found in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where the expression is: `spec.validations[0].expression`.
    pub field: String,
    /// What is wrong with it, for each kind of object.
    pub text: String,
}

/// Checks the validations of a ValidatingAdmissionPolicy and their messages against the kinds that it
/// is for. `params` is the schema of its parameters, if it is known.
pub fn type_warnings(
    policy: &Value,
    kinds: &[(GroupVersionKind, SchemaRef)],
    params: Option<&SchemaRef>,
) -> Vec<Warning> {
    let spec = &policy["spec"];
    let has_params = !spec["paramKind"].is_null();
    let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let scopes: Vec<_> = kinds
        .iter()
        .map(|(kind, schema)| {
            let mut known = variables(has_params);
            for name in ["object", "oldObject"] {
                known.insert(name.to_owned(), Known::Schema(schema.clone()));
            }
            if let Some(params) = params.filter(|_| has_params) {
                known.insert("params".to_owned(), Known::Schema(params.clone()));
            }
            let mut results = BTreeMap::new();
            for variable in list("variables") {
                known.insert("variables".to_owned(), Known::Results(results.clone()));
                let own =
                    Expression::compile(&text(&variable, "expression"), &known, Gives::Anything);
                let kind = own.map_or_else(|_| Kind::unknown(), |own| own.kind());
                results.insert(text(&variable, "name"), kind);
            }
            known.insert("variables".to_owned(), Known::Results(results));
            (kind, known)
        })
        .collect();
    let check = |expression: &str| -> Option<String> {
        let complaints = scopes.iter().filter_map(|(kind, known)| {
            let why = Expression::check(expression, known).err()?;
            let GroupVersionKind {
                group,
                version,
                kind,
            } = kind;
            Some(format!("{group}/{version}, Kind={kind}: {why}\n"))
        });
        let complaints: Vec<String> = complaints.collect();
        (!complaints.is_empty()).then(|| complaints.join("\n"))
    };
    let mut warnings = Vec::new();
    for (index, validation) in list("validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let expression = text(validation, field);
            if field == "messageExpression" && expression.is_empty() {
                continue;
            }
            if let Some(text) = check(&expression) {
                warnings.push(Warning {
                    field: format!("spec.validations[{index}].{field}"),
                    text,
                });
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::builtin;

    #[test]
    fn expressions_are_checked_against_each_kind_that_a_policy_is_for() {
        let kinds = [("apps", "v1", "Deployment"), ("", "v1", "ConfigMap")].map(
            |(group, version, kind)| {
                let kind = GroupVersionKind::new(group, version, kind);
                let schema = builtin::schema(&kind).unwrap();
                (kind, schema)
            },
        );
        let policy = json!({"spec": {
            "variables": [{"name": "labels", "expression": "object.metadata.labels"},
                          {"name": "odd", "expression": "object.spec.odd"}],
            "validations": [
                {"expression": "object.spec.replicas > 1", "messageExpression": "object.metadata.name"},
                {"expression": "variables.labels.size() > 0 && variables.odd == 1"},
                {"expression": "object.metadata.creationTimestamp < '2020'"},
            ],
        }});
        let warnings = type_warnings(&policy, &kinds[..1], None);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].field, "spec.validations[2].expression");
        let both = type_warnings(&policy, &kinds, None);
        assert_eq!(both[0].field, "spec.validations[0].expression");
        assert_eq!(
            both[0].text,
            "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'spec'\n \
             | object.spec.replicas > 1\n | ......^\n"
        );
    }
}
