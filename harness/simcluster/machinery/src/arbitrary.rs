//! Random JSON for the property tests of this crate.

use proptest::prelude::*;
use serde_json::{Map, Value};

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::String),
    ]
}

fn nested(leaf: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            fields(inner),
        ]
    })
    .boxed()
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", value, 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}

/// Any value.
pub(crate) fn value() -> BoxedStrategy<Value> {
    nested(prop_oneof![4 => leaf(), 1 => Just(Value::Null)])
}

/// Any object.
pub(crate) fn object() -> BoxedStrategy<Value> {
    fields(value()).boxed()
}

/// Any object without a null anywhere.
pub(crate) fn object_without_nulls() -> BoxedStrategy<Value> {
    fields(nested(leaf())).boxed()
}

/// Any schema, sensible or not.
pub(crate) fn schema() -> BoxedStrategy<Value> {
    use serde_json::json;
    let kind = prop::sample::select(vec![
        "string", "integer", "number", "boolean", "object", "array",
    ]);
    let leaf = (kind, any::<bool>(), 0..4_u64).prop_map(|(kind, nullable, limit)| {
        json!({
            "type": kind, "nullable": nullable, "maxLength": limit, "minItems": limit,
            "minimum": limit, "pattern": "^[a-c]+$", "minProperties": limit
        })
    });
    leaf.prop_recursive(3, 16, 3, |inner| {
        let properties = prop::collection::btree_map("[a-d]", inner.clone(), 0..3);
        prop_oneof![
            (properties, any::<bool>()).prop_map(|(properties, open)| json!({
                "type": "object", "properties": properties, "required": ["a"],
                "x-kubernetes-preserve-unknown-fields": open
            })),
            inner
                .clone()
                .prop_map(|items| json!({"type": "array", "items": items})),
            inner.clone().prop_map(|values| json!({
                "type": "object", "additionalProperties": values
            })),
            prop::collection::vec(inner, 1..3).prop_map(|schemas| json!({
                "oneOf": schemas, "anyOf": schemas, "not": schemas[0]
            })),
        ]
    })
    .boxed()
}
